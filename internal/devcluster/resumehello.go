package devcluster

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"time"
)

const (
	resumeTag  = "\x00teleport-resume-v1"
	sshVersion = "SSH-2.0-"
	// resumeHelloTimeout is how long a client may take to say what it wants.
	resumeHelloTimeout = 10 * time.Second
)

// What a client that resumes is told.
const (
	resumeGranted = iota
	resumeUnknown
	resumeWrongAddress
)

// offerResumption greets a client with a line that offers resumption, and does what the
// client makes of it: a plain connection, one that can be resumed, or one resumed.
func (c *Cluster) offerResumption(n *node, conn net.Conn) {
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		return
	}
	line := nodeVersionLine + " resume-v1 " + base64.RawStdEncoding.EncodeToString(key.PublicKey().Bytes()) + " " + n.id
	_ = conn.SetDeadline(time.Now().Add(resumeHelloTimeout))
	if _, err := io.WriteString(conn, line+"\r\n"); err != nil {
		return
	}
	start := make([]byte, len(sshVersion)+1)
	if _, err := io.ReadFull(conn, start); err != nil {
		return
	}
	if start[len(start)-1] != resumeTag[0] {
		_ = conn.SetDeadline(time.Time{})
		c.serveSSH(n, &greeted{Conn: conn, read: start, greeting: len(line) + 2}, line)
		return
	}
	secret, kind, err := readResumeHello(conn, key)
	if err != nil {
		c.log.Info("resumption refused", "node", n.hostname, "from", conn.RemoteAddr(), "reason", err)
		return
	}
	token := [16]byte(secret[:16])
	if kind == 1 {
		c.resumeOn(n, conn, token)
		return
	}
	r := newResumable(c, n, conn, token)
	_ = conn.SetDeadline(time.Time{})
	c.goFunc(func() {
		defer r.Close()
		if c.conns.add(r) {
			defer c.conns.remove(r)
			c.serveSSH(n, r, nodeVersionLine)
		}
	})
	r.carry(conn, conn, 0)
}

// readResumeHello reads what follows the first byte of the tag.
func readResumeHello(conn net.Conn, key *ecdh.PrivateKey) (secret [sha256.Size]byte, kind byte, err error) {
	rest := make([]byte, len(resumeTag)-1+65+1)
	if _, err := io.ReadFull(conn, rest); err != nil {
		return secret, 0, err
	}
	if !bytes.HasPrefix(rest, []byte(resumeTag[1:])) {
		return secret, 0, errors.New("neither SSH nor resumption")
	}
	peer, err := ecdh.P256().NewPublicKey(rest[len(resumeTag)-1 : len(rest)-1])
	if err != nil {
		return secret, 0, err
	}
	shared, err := key.ECDH(peer)
	if err != nil {
		return secret, 0, err
	}
	kind = rest[len(rest)-1]
	if kind > 1 {
		return secret, 0, errors.New("an unknown kind of connection")
	}
	return sha256.Sum256(shared), kind, nil
}

// resumeOn takes a connection up again, if there is one that the client may have.
func (c *Cluster) resumeOn(n *node, conn net.Conn, mask [16]byte) {
	var token [16]byte
	if _, err := io.ReadFull(conn, token[:]); err != nil {
		return
	}
	subtle.XORBytes(token[:], token[:], mask[:])
	r := c.resumables.find(token)
	verdict := byte(resumeGranted)
	switch {
	case r == nil || r.node != n:
		verdict = resumeUnknown
	case !sameHost(r.remote, conn.RemoteAddr()):
		verdict = resumeWrongAddress
	}
	c.log.Info("resumption", "node", n.hostname, "from", conn.RemoteAddr(), "verdict", verdict)
	if verdict != resumeGranted {
		_, _ = conn.Write([]byte{verdict})
		return
	}
	r.takeUp(conn)
}

func sameHost(a, b net.Addr) bool {
	one, _, err := net.SplitHostPort(a.String())
	other, _, err2 := net.SplitHostPort(b.String())
	return err == nil && err2 == nil && one == other
}

// greeted is a connection on which both sides have begun: the server's first line was
// written, and the client's first bytes were read.
type greeted struct {
	net.Conn
	read     []byte
	greeting int // bytes that were written already
}

func (g *greeted) Read(p []byte) (int, error) {
	if len(g.read) > 0 {
		n := copy(p, g.read)
		g.read = g.read[n:]
		return n, nil
	}
	return g.Conn.Read(p)
}

func (g *greeted) Write(p []byte) (int, error) {
	skip := min(g.greeting, len(p))
	g.greeting -= skip
	if skip == len(p) {
		return skip, nil
	}
	n, err := g.Conn.Write(p[skip:])
	return n + skip, err
}
