package resume

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"strings"
)

const (
	// prefix begins every SSH connection, and is sent before it is known which this is.
	prefix = "SSH-2.0-"
	// identification is what the node's SSH server says inside.
	identification = "SSH-2.0-Teleport\r\n"
	offer          = "SSH-2.0-Teleport resume-v1 "
	// tag follows prefix where resumption is wanted, and cannot begin an SSH version.
	tag = "\x00teleport-resume-v1"
	// maxLine bounds an identification line (RFC 4253, section 4.2).
	maxLine = 255

	newConnection, oldConnection = 0, 1
	accepted, unknownToken       = 0, 1
	addressRefused               = 2
)

// hello is what a node's first line says.
type hello struct {
	key    *ecdh.PublicKey
	hostID string
}

// readLine reads the first line of a node with its end, or as much of it as a line of
// SSH may have.
func readLine(r io.Reader) ([]byte, error) {
	line := make([]byte, 0, maxLine)
	for len(line) < maxLine {
		if _, err := io.ReadFull(r, line[len(line):len(line)+1]); err != nil {
			return line, err
		}
		line = line[:len(line)+1]
		if line[len(line)-1] == '\n' {
			break
		}
	}
	return line, nil
}

// parseHello reads a node's first line. A line that offers nothing is nil; one that
// offers resumption and is wrong is an error.
func parseHello(line []byte) (*hello, error) {
	rest, found := strings.CutPrefix(string(line), offer)
	if !found {
		return nil, nil
	}
	rest, ended := strings.CutSuffix(rest, "\r\n")
	encoded, hostID, two := strings.Cut(rest, " ")
	if !ended || !two || hostID == "" || strings.Trim(hostID, "0123456789abcdefghijklmnopqrstuvwxyz-") != "" || hostID[0] == '-' {
		return nil, violation("the node's offer is malformed")
	}
	raw, err := base64.RawStdEncoding.Strict().DecodeString(encoded)
	if err != nil || strings.ContainsAny(encoded, "\r\n") {
		return nil, violation("the node's key is malformed")
	}
	key, err := ecdh.P256().NewPublicKey(raw)
	if err != nil || raw[0] != 4 {
		return nil, violation("the node's key is no point of the curve")
	}
	return &hello{key, hostID}, nil
}

// agree is the answer to a hello, and the secret that both ends then know.
func (h *hello) agree(kind byte) (answer []byte, secret [16]byte, err error) {
	ours, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		return nil, secret, err
	}
	shared, err := ours.ECDH(h.key)
	if err != nil {
		return nil, secret, violation("the node's key cannot be used")
	}
	sum := sha256.Sum256(shared)
	copy(secret[:], sum[:])
	answer = append([]byte(tag), ours.PublicKey().Bytes()...)
	return append(answer, kind), secret, nil
}

// plain is a connection to a node that offers nothing. Its first line was read already,
// and our first bytes were sent.
type plain struct {
	net.Conn
	line []byte // still to be read
	sent int    // bytes of prefix that are still to come from the writer
}

func (p *plain) Read(b []byte) (int, error) {
	if len(p.line) > 0 {
		n := copy(b, p.line)
		p.line = p.line[n:]
		return n, nil
	}
	return p.Conn.Read(b)
}

func (p *plain) Write(b []byte) (int, error) {
	skipped, err := skipPrefix(&p.sent, b)
	if err != nil || skipped == len(b) {
		return skipped, err
	}
	n, err := p.Conn.Write(b[skipped:])
	return skipped + n, err
}

// CloseWrite says that nothing more comes, where the connection has a way to.
func (p *plain) CloseWrite() error {
	if half, ok := p.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// skipPrefix says how many bytes of b were sent already, of which left are still to come.
func skipPrefix(left *int, b []byte) (int, error) {
	n := min(*left, len(b))
	from := len(prefix) - *left
	if !bytes.Equal(b[:n], []byte(prefix)[from:from+n]) {
		return 0, errors.New("what is to be sent does not begin with " + prefix)
	}
	*left -= n
	return n, nil
}
