package sshclient

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/crypto/ssh"
)

const (
	// maxPreamble bounds what a node sends before and with its version line; RFC 4253
	// section 4.2 allows lines there and sets no limit.
	maxPreamble = 8 << 10
	// maxKexInit bounds the node's list of algorithms; they take about 1.5 KiB.
	maxKexInit = 64 << 10
)

// algorithms lists what is good enough, best first. No SHA-1, no CBC, no group
// below 2048 bits (RFC 9142).
func algorithms() (kex, ciphers, macs []string) {
	return []string{
			ssh.KeyExchangeMLKEM768X25519, ssh.KeyExchangeCurve25519,
			ssh.KeyExchangeECDHP256, ssh.KeyExchangeECDHP384, ssh.KeyExchangeECDHP521,
			ssh.KeyExchangeDH16SHA512, ssh.KeyExchangeDH14SHA256,
		}, []string{
			ssh.CipherAES128GCM, ssh.CipherAES256GCM, ssh.CipherChaCha20Poly1305,
			ssh.CipherAES128CTR, ssh.CipherAES192CTR, ssh.CipherAES256CTR,
		}, []string{
			ssh.HMACSHA256ETM, ssh.HMACSHA512ETM, ssh.HMACSHA256, ssh.HMACSHA512,
		}
}

// hostKeyAlgorithms are certificates only: a plain key would be trust on first use.
func hostKeyAlgorithms() []string {
	return []string{
		ssh.CertAlgoED25519v01, ssh.CertAlgoECDSA256v01, ssh.CertAlgoECDSA384v01, ssh.CertAlgoECDSA521v01,
		ssh.CertAlgoRSASHA512v01, ssh.CertAlgoRSASHA256v01,
	}
}

// guardConn watches the part of a connection that is not yet encrypted, for two
// things the transport does not care about: how much text comes before the
// version line, and whether the node can prevent that packets are taken out of
// the stream at the start (strict key exchange, the answer to CVE-2023-48795).
type guardConn struct {
	net.Conn
	heard    atomic.Uint64 // reads that brought something
	received int           // bytes, counted until the algorithms are known
	preamble int           // bytes up to the end of the version line
	line     []byte        // start of the current line; nil once the version was seen
	versions bool          // the version line is complete
	packet   []byte        // the node's first packet as far as it came
	complete bool          // nothing more to watch
	bad      error         // why the connection is not to be used
	init     kexInit
}

// kexInit is SSH_MSG_KEXINIT, RFC 4253 section 7.1.
type kexInit struct {
	Cookie                  [16]byte `sshtype:"20"`
	KexAlgos                []string
	HostKeyAlgos            []string
	CiphersClientServer     []string
	CiphersServerClient     []string
	MACsClientServer        []string
	MACsServerClient        []string
	CompressionClientServer []string
	CompressionServerClient []string
	LanguagesClientServer   []string
	LanguagesServerClient   []string
	FirstKexFollows         bool
	Reserved                uint32
}

func (g *guardConn) Read(p []byte) (int, error) {
	n, err := g.Conn.Read(p)
	if n > 0 {
		g.heard.Add(1)
	}
	if g.bad == nil && (g.complete || n == 0) {
		return n, err
	}
	if g.bad == nil {
		g.received += n
		g.bad = g.watch(p[:n])
	}
	if g.bad != nil {
		return 0, g.bad
	}
	return n, err
}

func (g *guardConn) watch(p []byte) error {
	for len(p) > 0 && !g.versions {
		const prefix = "SSH-"
		end := bytes.IndexByte(p, '\n')
		part := p
		if end >= 0 {
			part = p[:end]
		}
		g.line = append(g.line, part[:min(len(part), len(prefix)-len(g.line))]...)
		if end < 0 {
			g.preamble += len(p)
			p = nil
		} else {
			g.preamble += end + 1
			p = p[end+1:]
			g.versions = string(g.line) == prefix
			g.line = g.line[:0]
		}
		if g.preamble > maxPreamble {
			return fmt.Errorf("more than %d bytes before the version line: not an SSH server", maxPreamble)
		}
	}
	if !g.versions {
		return nil
	}
	g.packet = append(g.packet, p...)
	return g.parse()
}

// parse reads the node's algorithms once they are complete. They must be the
// first packet: another one before them is what somebody on the way puts there
// to take a later one out unseen, and hides what weakness looks for.
func (g *guardConn) parse() error {
	const head = 5 // packet length, padding length; RFC 4253 section 6
	if len(g.packet) < head {
		return nil
	}
	size := binary.BigEndian.Uint32(g.packet)
	if size > maxKexInit {
		return errors.New("the node's list of algorithms is too long")
	}
	if len(g.packet) < 4+int(size) {
		return nil
	}
	g.complete = true
	const msgKexInit = 20
	payload := int(size) - 1 - int(g.packet[4])
	if payload < 1 || g.packet[head] != msgKexInit {
		return errors.New("the node's first packet is not its list of algorithms (CVE-2023-48795)")
	}
	err := ssh.Unmarshal(g.packet[head:head+payload], &g.init)
	g.packet = nil
	if err != nil {
		return errors.New("the node's list of algorithms cannot be read")
	}
	return nil
}

// weakness says why what will be agreed on is open to packets being taken out
// of the stream: a node without strict key exchange must at least not use the
// modes that do not notice.
func (g *guardConn) weakness() error {
	const strict = "kex-strict-s-v00@openssh.com"
	switch {
	case g.bad != nil:
		return g.bad
	case !g.complete:
		return errors.New("the node has no list of algorithms")
	}
	if slices.Contains(g.init.KexAlgos, strict) {
		return nil
	}
	_, ciphers, macs := algorithms()
	for _, direction := range [][2][]string{
		{g.init.CiphersClientServer, g.init.MACsClientServer},
		{g.init.CiphersServerClient, g.init.MACsServerClient},
	} {
		mode := agreed(ciphers, direction[0])
		if !strings.Contains(mode, "-gcm@") && mode != ssh.CipherChaCha20Poly1305 {
			mode = agreed(macs, direction[1])
		}
		if mode == ssh.CipherChaCha20Poly1305 || strings.Contains(mode, "-etm@") {
			return fmt.Errorf("the node uses %s without strict key exchange (CVE-2023-48795)", mode)
		}
	}
	return nil
}

// agreed is what two lists settle on: the first of ours that is among theirs.
func agreed(ours, theirs []string) string {
	i := slices.IndexFunc(ours, func(s string) bool { return slices.Contains(theirs, s) })
	if i < 0 {
		return ""
	}
	return ours[i]
}
