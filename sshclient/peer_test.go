package sshclient_test

import (
	"bufio"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/seed-087d674e/tsh/sshclient"
)

// peer is an SSH server of 200 lines that can do what x/crypto/ssh never would:
// it works on packets (RFC 4253), and every test decides what to send. Only
// curve25519-sha256 and aes128-gcm@openssh.com, and nothing is verified. An
// error ends the peer's goroutine with a panic that play turns into a return.
type peer struct {
	conn     net.Conn
	r        *bufio.Reader
	host     ssh.Signer
	lists    lists
	version  string
	in, out  *gcmState // nil before the keys are agreed
	theirs   uint32    // the client's channel number
	window   uint32    // what the client may still be sent
	attempts int       // authentication requests
}

// peerGone ends a script when the client hangs up.
type peerGone struct{ error }

// play returns a dialer's serve function that runs script with a peer.
func play(c *cluster, script func(p *peer)) func(net.Conn) {
	return func(conn net.Conn) {
		defer func() {
			if r := recover(); r != nil {
				if _, ok := r.(peerGone); !ok {
					panic(r)
				}
			}
		}()
		script(&peer{conn: conn, r: bufio.NewReader(conn), host: c.hostKey, lists: goodLists(), version: "SSH-2.0-hostile"})
	}
}

func (p *peer) check(err error) {
	if err != nil {
		panic(peerGone{err})
	}
}

// message encodes an SSH message: a byte, and string, []byte (as string), uint32, bool.
func message(kind byte, fields ...any) []byte {
	b := []byte{kind}
	for _, f := range fields {
		switch v := f.(type) {
		case string:
			b = append(binary.BigEndian.AppendUint32(b, uint32(len(v))), v...)
		case []byte:
			b = append(binary.BigEndian.AppendUint32(b, uint32(len(v))), v...)
		case uint32:
			b = binary.BigEndian.AppendUint32(b, v)
		case bool:
			b = append(b, map[bool]byte{true: 1}[v])
		default:
			panic(fmt.Sprintf("message field %T", f))
		}
	}
	return b
}

// gcmState is one direction of aes128-gcm@openssh.com, RFC 5647.
type gcmState struct {
	aead cipher.AEAD
	iv   []byte
}

func (g *gcmState) next() []byte {
	iv := append([]byte(nil), g.iv...)
	binary.BigEndian.PutUint64(g.iv[4:], binary.BigEndian.Uint64(g.iv[4:])+1)
	return iv
}

// pack is the packet of a payload, encrypted once there are keys.
func (p *peer) pack(payload []byte) []byte {
	block, covered := 8, 5+len(payload)
	if p.out != nil {
		block, covered = 16, 1+len(payload)
	}
	pad := block - covered%block
	if pad < 4 {
		pad += block
	}
	packet := binary.BigEndian.AppendUint32(nil, uint32(1+len(payload)+pad))
	packet = append(packet, byte(pad))
	packet = append(packet, payload...)
	packet = append(packet, make([]byte, pad)...)
	if p.out == nil {
		return packet
	}
	return p.out.aead.Seal(packet[:4:4], p.out.next(), packet[4:], packet[:4])
}

func (p *peer) raw(b []byte) {
	_, err := p.conn.Write(b)
	p.check(err)
}

func (p *peer) send(kind byte, fields ...any) { p.raw(p.pack(message(kind, fields...))) }

func (p *peer) recv() []byte {
	var head [4]byte
	_, err := io.ReadFull(p.r, head[:])
	p.check(err)
	size := int(binary.BigEndian.Uint32(head[:]))
	if p.in != nil {
		size += p.in.aead.Overhead()
	}
	body := make([]byte, size)
	_, err = io.ReadFull(p.r, body)
	p.check(err)
	if p.in != nil {
		body, err = p.in.aead.Open(nil, p.in.next(), body, head[:])
		p.check(err)
	}
	return body[1 : len(body)-int(body[0])]
}

// expect returns the next packet of a kind; others are dropped.
func (p *peer) expect(kind byte) []byte {
	for {
		if packet := p.recv(); packet[0] == kind {
			return packet
		}
	}
}

func (p *peer) kexInit() []byte {
	names := func(l []string) string { return strings.Join(l, ",") }
	init := append([]byte{20}, make([]byte, 16)...)
	return append(init, message(0, names(p.lists.kex), names(p.lists.hostKeys), names(p.lists.ciphers), names(p.lists.ciphers),
		names(p.lists.macs), names(p.lists.macs), "none", "none", "", "", p.lists.guess != nil, uint32(0))[1:]...)
}

// exchangeVersions does RFC 4253 section 4.2.
func (p *peer) exchangeVersions() (theirs string) {
	p.raw([]byte(p.version + "\r\n"))
	line, err := p.r.ReadString('\n')
	p.check(err)
	return strings.TrimRight(line, "\r\n")
}

// exchangeKeys does the first key exchange: RFC 4253 section 7, RFC 8731.
func (p *peer) exchangeKeys() {
	clientVersion := p.exchangeVersions()
	ours := p.kexInit()
	p.raw(append(p.pack(ours), p.lists.guess...))
	theirs := p.recv()
	init := p.expect(30)
	clientPoint := init[5:]
	curve := ecdh.X25519()
	key, err := curve.GenerateKey(rand.Reader)
	p.check(err)
	public, err := curve.NewPublicKey(clientPoint)
	p.check(err)
	secret, err := key.ECDH(public)
	p.check(err)
	k := ssh.Marshal(struct{ K *big.Int }{new(big.Int).SetBytes(secret)})
	hostKey := p.host.PublicKey().Marshal()
	hash := sha256.New()
	hash.Write(message(0, clientVersion, p.version, theirs, ours, hostKey, clientPoint, key.PublicKey().Bytes())[1:])
	hash.Write(k)
	h := hash.Sum(nil)
	sig, err := p.host.Sign(rand.Reader, h)
	p.check(err)
	p.send(31, hostKey, key.PublicKey().Bytes(), ssh.Marshal(sig))
	p.send(21)
	p.expect(21)
	derive := func(iv, key byte) *gcmState {
		material := func(letter byte) []byte {
			sum := sha256.Sum256(append(append(append(append([]byte(nil), k...), h...), letter), h...))
			return sum[:]
		}
		block, err := aes.NewCipher(material(key)[:16])
		p.check(err)
		aead, err := cipher.NewGCM(block)
		p.check(err)
		return &gcmState{aead: aead, iv: material(iv)[:12]}
	}
	p.in, p.out = derive('A', 'C'), derive('B', 'D')
}

// acceptService answers the request for the authentication service.
func (p *peer) acceptService() {
	p.expect(5)
	p.send(6, "ssh-userauth")
}

// authenticate lets anybody in who comes with a key, without a look at it.
func (p *peer) authenticate() {
	for {
		request := p.authRequest()
		switch {
		case request.method != "publickey":
			p.send(51, "publickey", false)
		case !request.signed:
			p.send(60, request.algo, request.key)
		default:
			p.send(52)
			return
		}
	}
}

// authRequest is SSH_MSG_USERAUTH_REQUEST, RFC 4252 sections 5 and 7.
type authRequest struct {
	method string
	signed bool
	algo   string
	key    []byte
}

func (p *peer) authRequest() authRequest {
	packet := p.expect(50)
	p.attempts++
	var head struct {
		User, Service, Method string
		Rest                  []byte `ssh:"rest"`
	}
	p.check(ssh.Unmarshal(packet[1:], &head))
	request := authRequest{method: head.Method}
	if head.Method == "publickey" {
		var body struct {
			Signed bool
			Algo   string
			Key    []byte
			Rest   []byte `ssh:"rest"`
		}
		p.check(ssh.Unmarshal(head.Rest, &body))
		request.signed, request.algo, request.key = body.Signed, body.Algo, body.Key
	}
	return request
}

// logIn does everything up to the authenticated connection.
func (p *peer) logIn() {
	p.exchangeKeys()
	p.acceptService()
	p.authenticate()
}

// openChannel accepts the client's session with this window and packet size; ours is number 7.
func (p *peer) openChannel(window, maxPacket uint32) {
	packet := p.expect(90)
	var open struct {
		Type                   string
		Sender, Window, Packet uint32
	}
	p.check(ssh.Unmarshal(packet[1:], &open))
	p.theirs, p.window = open.Sender, open.Window
	p.send(91, open.Sender, uint32(7), window, maxPacket)
}

// startCommand answers requests up to the one that starts something.
func (p *peer) startCommand() {
	for {
		var req struct {
			Channel   uint32
			Name      string
			WantReply bool
			Rest      []byte `ssh:"rest"`
		}
		p.check(ssh.Unmarshal(p.expect(98)[1:], &req))
		if req.WantReply {
			p.send(99, p.theirs)
		}
		if req.Name == "exec" || req.Name == "shell" {
			return
		}
	}
}

// session does everything up to the running command.
func (p *peer) session() {
	p.logIn()
	p.openChannel(1<<20, 1<<15)
	p.startCommand()
}

func (p *peer) exitStatus(status uint32) { p.send(98, p.theirs, "exit-status", false, status) }
func (p *peer) closeChannel()            { p.send(97, p.theirs) }
func (p *peer) data(s string)            { p.send(94, p.theirs, s) }

// bannersEverySecond is busy without getting anywhere.
func (p *peer) bannersEverySecond() {
	for {
		p.send(53, "please wait", "")
		time.Sleep(time.Second) // in a bubble
	}
}

// bulk sends size bytes of the pattern as the client makes room, and at the
// same time takes what the client sends, keeping its window as small as it was
// opened. It returns the hash of what came.
func (p *peer) bulk(size int64, window, packet uint32) string {
	var mu sync.Mutex // guards sending and the window
	room := sync.NewCond(&mu)
	gone := false
	sent := make(chan struct{})
	defer func() {
		mu.Lock()
		gone = true
		room.Broadcast()
		mu.Unlock()
		<-sent
	}()
	go func() {
		defer close(sent)
		defer func() { recover() }() // the receiving side notices, too
		src, buf := &pattern{left: size}, make([]byte, 32<<10)
		for src.left > 0 {
			mu.Lock()
			for p.window == 0 && !gone {
				room.Wait()
			}
			if gone {
				mu.Unlock()
				return
			}
			n, _ := src.Read(buf[:min(len(buf), int(p.window))])
			p.window -= uint32(n)
			func() {
				defer mu.Unlock()
				p.send(94, p.theirs, buf[:n])
			}()
		}
		mu.Lock()
		defer mu.Unlock()
		p.send(96, p.theirs)
	}()
	h := sha256.New()
	left, used := window, uint32(0)
	for {
		switch msg := p.recv(); msg[0] {
		case 94:
			data := msg[9:]
			if n := uint32(len(data)); n > left || n > packet {
				panic(fmt.Sprintf("client sent %d bytes, room for %d in packets of %d", n, left, packet))
			}
			h.Write(data)
			left -= uint32(len(data))
			if used += uint32(len(data)); used >= window/2 {
				mu.Lock()
				p.send(93, p.theirs, used)
				mu.Unlock()
				left, used = left+used, 0
			}
		case 93:
			mu.Lock()
			p.window += binary.BigEndian.Uint32(msg[5:])
			room.Broadcast()
			mu.Unlock()
		case 96:
			<-sent
			return hex.EncodeToString(h.Sum(nil))
		}
	}
}

// linger reads until the client hangs up.
func (p *peer) linger() { io.Copy(io.Discard, p.r) }

// The peer has to be a good server before it can be a bad one.
func TestPeerIsAServer(t *testing.T) {
	c := newCluster(t)
	client := connectTo(t, newDialer(t, play(c, func(p *peer) {
		p.session()
		p.data("hello")
		p.exitStatus(3)
		p.closeChannel()
		p.linger()
	})), c.client())
	out, err := run(t, client, sshclient.Command{Args: "x"})
	if out != "hello" || as[*sshclient.ExitError](t, err).Status != 3 {
		t.Errorf("got %q, %v", out, err)
	}
}
