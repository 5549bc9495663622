//go:build unix

package sshagent

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"encoding/binary"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// shortDir is a directory for a socket, whose path may have 104 bytes at most.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "agent")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// madeUpAgent is a socket behind which each connection is given to handle; what it
// has to wait for is over when end is closed.
func madeUpAgent(t *testing.T, handle func(conn net.Conn, end <-chan struct{})) {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(shortDir(t), "socket"))
	if err != nil {
		t.Fatal(err)
	}
	end := make(chan struct{})
	t.Cleanup(func() { close(end); _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				handle(conn, end)
			}()
		}
	}()
	t.Setenv(variable, l.Addr().String())
}

// request reads one message from a client.
func request(conn io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return nil, err
	}
	message := make([]byte, binary.BigEndian.Uint32(head[:]))
	_, err := io.ReadFull(conn, message)
	return message, err
}

// answering makes an agent out of a function from messages to what is sent back.
func answering(answer func(message []byte) string) func(net.Conn, <-chan struct{}) {
	return func(conn net.Conn, _ <-chan struct{}) {
		for {
			message, err := request(conn)
			if err != nil {
				return
			}
			if _, err := io.WriteString(conn, answer(message)); err != nil {
				return
			}
		}
	}
}

// always says the same.
func always(answer string) func(net.Conn, <-chan struct{}) {
	return answering(func([]byte) string { return answer })
}

// flood sends for as long as anybody reads.
func flood(conn net.Conn, start string) {
	if _, err := io.WriteString(conn, start); err != nil {
		return
	}
	chunk := make([]byte, 64<<10)
	for {
		if _, err := conn.Write(chunk); err != nil {
			return
		}
	}
}

func drip(conn net.Conn, end <-chan struct{}) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for _, b := range []byte(frame(keyList() + strings.Repeat("x", 100_000))) {
		select {
		case <-tick.C:
		case <-end:
			return
		}
		if _, err := conn.Write([]byte{b}); err != nil {
			return
		}
	}
}

// case K11, case K12: whatever the agent does, it costs at most the limit and an error;
// nothing panics and little is allocated.
func TestHostileAgents(t *testing.T) {
	key := newP256(t)
	e := login(t, newEd25519(t), "gate", "root", "alice")
	ours := keyList(string(e.Cert.Marshal()), "teleport:gate:root:alice")
	for what, handle := range map[string]func(net.Conn, <-chan struct{}){
		"says nothing": func(_ net.Conn, end <-chan struct{}) { <-end },
		"stops in the length": func(conn net.Conn, end <-chan struct{}) {
			_, _ = io.WriteString(conn, "\x00\x00")
			<-end
		},
		"stops in the answer": func(conn net.Conn, end <-chan struct{}) {
			_, _ = io.WriteString(conn, frame(ours)[:50])
			<-end
		},
		"sends a byte at a time": drip,
		"hangs up":               func(net.Conn, <-chan struct{}) {},
		"hangs up in the answer": func(conn net.Conn, _ <-chan struct{}) {
			_, _ = request(conn)
			_, _ = io.WriteString(conn, frame(ours)[:50])
		},
		"is a web server":            always("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"),
		"SUCCESS for data":           always(frame("\x06")),
		"FAILURE":                    always(frame("\x05")),
		"FAILURE of an extension":    always(frame("\x1c")),
		"an empty answer":            always(frame("")),
		"an unknown answer":          always(frame("\x4d\x00\x00\x00\x01")),
		"an answer of version 1":     always(frame("\x02\x00\x00\x00\x01")),
		"a signature for a list":     always(frame("\x0e" + str("x"))),
		"a list without a number":    always(frame("\x0c\x00")),
		"a list that ends early":     always(frame("\x0c\x00\x00\x00\x05")),
		"a key that ends early":      always(frame("\x0c\x00\x00\x00\x01\x00\x00\xff\xff" + "x")),
		"a key of 4 GB":              always(frame("\x0c\x00\x00\x00\x01\xff\xff\xff\xff" + "x")),
		"a comment that ends early":  always(frame("\x0c\x00\x00\x00\x01" + str(str("x")) + "\x00\x00\x00\x09x")),
		"a key without a type":       always(frame(keyList("", "teleport:gate:root:alice"))),
		"a million keys, as it says": always(frame("\x0c\x00\x0f\x42\x40")),
		"4 billion keys, as it says": always(frame("\x0c\xff\xff\xff\xff")),
		"a million keys": func(conn net.Conn, _ <-chan struct{}) {
			_, _ = request(conn)
			flood(conn, "\x00\xff\xff\xff\x0c\x00\x0f\x42\x40"+strings.Repeat(str(str("x"))+str(""), 1000))
		},
		"16 MB": func(conn net.Conn, _ <-chan struct{}) {
			_, _ = request(conn)
			flood(conn, "\x01\x00\x00\x00\x0c\x00\x00\x00\x01\x00\xff\xff\x00")
		},
		"4 GB": func(conn net.Conn, _ <-chan struct{}) { flood(conn, "\xff\xff\xff\xff\x0c") },
	} {
		t.Run(what, func(t *testing.T) {
			madeUpAgent(t, handle)
			const limit = 60 * time.Millisecond
			for job, do := range map[string]func(*Agent) error{
				"put":    func(a *Agent) error { return a.Put(e) },
				"list":   func(a *Agent) error { _, err := a.List(); return err },
				"remove": func(a *Agent) error { _, err := a.Remove("gate", "alice"); return err },
				"find":   func(a *Agent) error { _, err := a.find(sshKey(t, key.Public())); return err },
			} {
				costsLittle(t, job, func() error {
					a, err := Dial(limit)
					if err != nil {
						return err
					}
					defer a.Close()
					return do(a)
				})
			}
			costsLittle(t, "open", func() error { _, err := openKey(key.Public(), limit); return err })
			k := &Key{&key.PublicKey, sshKey(t, key.Public()), limit}
			costsLittle(t, "sign", func() error { _, err := k.SignMessage(nil, []byte("x"), crypto.SHA256); return err })
		})
	}
}

// costsLittle expects an error, soon, and no great allocations.
func costsLittle(t *testing.T, job string, do func() error) {
	t.Helper()
	quickly(t, job, func() {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := do()
		runtime.ReadMemStats(&after)
		if err == nil || strings.ContainsAny(err.Error(), "\r\n\x00") {
			t.Errorf("%s: %v", job, err)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > 4<<20 {
			t.Errorf("%s: %d bytes allocated", job, used)
		}
	})
}

// quickly expects do to take no longer than a command gives an agent. A busy machine
// may stop us for longer, so the best of some tries counts.
func quickly(t *testing.T, what string, do func()) {
	t.Helper()
	var took time.Duration
	for range 5 {
		start := time.Now()
		do()
		if took = time.Since(start); took <= inUse {
			return
		}
	}
	t.Errorf("%s took %v", what, took)
}

// An agent that stops reading holds up nobody, either.
//
// case K11
func TestAgentThatStopsReading(t *testing.T) {
	key := newP256(t)
	pub := sshKey(t, key.Public())
	madeUpAgent(t, func(conn net.Conn, end <-chan struct{}) {
		_, _ = request(conn)
		_, _ = io.WriteString(conn, frame(keyList(string(pub.Marshal()), "x")))
		<-end
	})
	k := &Key{&key.PublicKey, pub, 60 * time.Millisecond}
	message := make([]byte, 8<<20)
	quickly(t, "signing", func() {
		if _, err := k.SignMessage(nil, message, crypto.SHA256); err == nil || !strings.Contains(err.Error(), "did not answer within 60ms") {
			t.Errorf("sign: %v", err)
		}
	})
}

// case K12: keys under our comment that are none. They are listed and removed like
// others, so that the doctor can.
func TestOddKeys(t *testing.T) {
	const comment = "teleport:gate:root:alice"
	good := login(t, newEd25519(t), "gate", "root", "alice")
	cert := func(inner string) string {
		return str(ssh.CertAlgoED25519v01) + str("nonce") + inner + string(good.Cert.Marshal()[len(str(ssh.CertAlgoED25519v01))+4+32+4+32:])
	}
	if _, err := ssh.ParsePublicKey([]byte(cert(str(strings.Repeat("x", 32))))); err != nil {
		t.Fatalf("the right size is wrong: %v", err)
	}
	blobs := []string{
		str("ssh-ed25519"), str("ssh-ed25519") + str(""), str("ssh-ed25519") + str("31 bytes"), str("ssh-ed25519") + str(strings.Repeat("x", 33)),
		str("ssh-rsa") + str("") + str(""), str("ssh-rsa") + str("\x01\x00\x01") + str("\x80"), str("ecdsa-sha2-nistp256") + str("nistp256") + str("\x04"),
		str("ecdsa-sha2-nistp256") + str("nistp521") + str(""), str("ssh-dss"), str("no such type"), cert(str("short")), cert(str(strings.Repeat("x", 64))),
		str(ssh.CertAlgoED25519v01), str(ssh.CertAlgoRSAv01) + str(""), str("sk-ssh-ed25519@openssh.com") + str("x") + str(""),
	}
	var list []string
	for _, b := range blobs {
		list = append(list, b, comment)
	}
	var removed int
	madeUpAgent(t, answering(func(message []byte) string {
		switch message[0] {
		case 11:
			return frame(keyList(list...))
		case 18:
			removed++
		}
		return frame("\x06")
	}))
	held, err := dial(t).List()
	if err != nil || len(held) != len(blobs) {
		t.Fatalf("%d of %d keys: %v", len(held), len(blobs), err)
	}
	for i, h := range held {
		if h.Certificate || string(h.Blob) != blobs[i] || h.Expired(time.Now()) {
			t.Errorf("listed as %+v", h)
		}
	}
	if n, err := dial(t).Remove("gate", ""); n != len(blobs) || removed != n || err != nil {
		t.Errorf("removed %d, %v", n, err)
	}
	put(t, good)
	if removed != 2*len(blobs) {
		t.Errorf("%d removed", removed)
	}
}

// case K12: what an agent may call a signature.
func TestWrongSignatures(t *testing.T) {
	key, other := newP256(t), newP256(t)
	pub := sshKey(t, key.Public())
	signer, err := ssh.NewSignerFromSigner(key)
	if err != nil {
		t.Fatal(err)
	}
	good, err := signer.Sign(rand.Reader, []byte("message"))
	if err != nil {
		t.Fatal(err)
	}
	otherSigner, err := ssh.NewSignerFromSigner(other)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := otherSigner.Sign(rand.Reader, []byte("message"))
	if err != nil {
		t.Fatal(err)
	}
	one, name := big.NewInt(1), str("ecdsa-sha2-nistp256")
	sig := func(s string) string { return "\x0e" + str(s) }
	for what, tc := range map[string]struct{ answer, want string }{
		"the right one":          {sig(name + str(string(good.Blob))), ""},
		"another key's":          {sig(name + str(string(foreign.Blob))), "is wrong"},
		"another kind":           {sig(str("ssh-rsa") + str(string(good.Blob))), "is wrong"},
		"with more to it":        {sig(name + str(string(good.Blob)) + "\x01\x00\x00\x00\x00"), "is wrong"},
		"zeros":                  {sig(name + str(string(sshSignature(new(big.Int), new(big.Int))))), "is wrong"},
		"negative":               {sig(name + str(string(sshSignature(big.NewInt(-1), one)))), "is wrong"},
		"huge":                   {sig(name + str(string(sshSignature(new(big.Int).Lsh(one, 1<<20), one)))), "is wrong"},
		"one number":             {sig(name + str(str("\x01"))), "is wrong"},
		"nothing":                {sig(name + str("")), "is wrong"},
		"no signature":           {sig(""), "was to sign"},
		"an escape for its kind": {sig(str("\x1b[2J") + str("")), "is wrong"},
		"SUCCESS":                {"\x06", "was to sign"},
		"FAILURE":                {"\x05", "refused to sign"},
		"a list":                 {keyList(), "was to sign"},
		"a blob that is cut":     {"\x0e\xff\xff\xff\xff", "was to sign"},
	} {
		madeUpAgent(t, answering(func(message []byte) string {
			if message[0] == 11 {
				return frame(keyList(string(pub.Marshal()), "x"))
			}
			if !bytes.Contains(message, []byte("message")) {
				return frame("\x05")
			}
			return frame(tc.answer)
		}))
		k, err := OpenKey(key.Public())
		if err != nil {
			t.Fatal(err)
		}
		_, err = k.SignMessage(nil, []byte("message"), crypto.SHA256)
		_, sshErr := k.SSHSigner().Sign(nil, []byte("message"))
		for _, err := range []error{err, sshErr} {
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) || err != nil && strings.Contains(err.Error(), "\x1b") {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
}
