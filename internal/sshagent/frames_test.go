package sshagent

import (
	"bytes"
	"crypto"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

// canned is an agent that says the same whatever it is asked.
type canned struct{ io.Reader }

func (canned) Write(p []byte) (int, error) { return len(p), nil }
func (canned) Close() error                { return nil }

func cannedAgent(answers string) *Agent {
	return newAgent("/canned", time.Second, canned{strings.NewReader(answers)})
}

// case K12: an agent that answers little by little, and what it may send in all.
func TestOneConnectionHasALimit(t *testing.T) {
	big := frame(keyList() + strings.Repeat("x", maxReply-5))
	a := cannedAgent(strings.Repeat(big, 100))
	for i := range 100 {
		if _, err := a.List(); err != nil {
			if i != maxTotal/maxReply || !strings.Contains(err.Error(), "more than 1048576 bytes") {
				t.Errorf("list %d: %v", i, err)
			}
			if _, again := a.Remove("", ""); again == nil {
				t.Error("it goes on after that")
			}
			return
		}
	}
	t.Error("100 answers of the greatest size are taken")
}

// case K12: one answer has a limit, too, before anything of it is there.
func TestOneAnswerHasALimit(t *testing.T) {
	longest := string(binary.BigEndian.AppendUint32(nil, maxReply))
	if _, err := cannedAgent(longest).List(); err == nil || !strings.Contains(err.Error(), "hung up") {
		t.Errorf("the longest: %v", err)
	}
	tooLong := string(binary.BigEndian.AppendUint32(nil, maxReply+1))
	if _, err := cannedAgent(tooLong).List(); err == nil || !strings.Contains(err.Error(), "an answer of 262145 bytes, more than 262144") {
		t.Errorf("one longer: %v", err)
	}
}

// A connection that is never made costs the limit, and is closed once it is made.
//
// case K11
func TestWithin(t *testing.T) {
	free, closed := make(chan bool), make(chan bool)
	start := time.Now()
	_, err := within(20*time.Millisecond, func() (connection, error) {
		<-free
		return closer{closed: closed}, nil
	})
	if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) > 5*time.Second {
		t.Errorf("%v after %v", err, time.Since(start))
	}
	close(free)
	<-closed
}

type closer struct {
	connection
	closed chan bool
}

func (c closer) Close() error {
	close(c.closed)
	return nil
}

// case K12: any answer at all is a result or an error.
func FuzzReplies(f *testing.F) {
	key := newP256(f)
	pub := sshKey(f, key.Public())
	blob := string(pub.Marshal())
	cert := string(certify(f, newAuthority(f), key.Public(), "alice").Marshal())
	const comment = "teleport:gate:root:alice"
	for _, s := range []string{
		"", frame("\x06"), frame("\x05"), frame(keyList(blob, comment)), frame(keyList(cert, comment, blob, "x")) + frame("\x06"),
		frame(keyList(str("ssh-ed25519")+str("short"), comment)), frame(keyList(str("ssh-rsa"), comment)), "\x00\x10\x00\x00\x0c",
		frame(keyList(blob, comment)) + frame("\x0e"+str(str("ecdsa-sha2-nistp256")+str(string(sshSignature(key.X, key.Y))))),
		frame("\x02"), frame("\x0c\x00\x0f\x42\x40"),
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, answers string) {
		held, err := cannedAgent(answers).List()
		if err == nil {
			for _, h := range held {
				_ = h.Expired(time.Now())
			}
		}
		_, _ = cannedAgent(answers).Remove("", "")
		a := cannedAgent(answers)
		if k, err := a.find(pub); err == nil {
			if !bytes.Contains(k.Blob, pub.Marshal()[len(pub.Marshal())-65:]) {
				t.Fatal("found another key")
			}
			if sig, err := a.sign(k, []byte("x")); err == nil {
				_, _ = asn1Signature(sig.Blob)
			}
		}
		if f := a.frames; f.left < 0 {
			t.Fatalf("%d bytes over the limit", -f.left)
		}
	})
}

// What was said about the answer is said safely.
func TestErrorsShowNoTextOfTheAgent(t *testing.T) {
	evil := "\x1b[2J\u202eevil"
	for _, answer := range []string{
		evil, frame(evil), frame("\x05" + evil), frame("\x0c" + evil), frame("\x0e" + evil), frame(keyList(evil, evil)),
		frame(keyList(str(evil), evil)), frame("\x02" + evil), frame(keyList(str(evil), "teleport:"+evil+":c:u")),
		string(binary.BigEndian.AppendUint32(nil, 1<<31)) + evil,
	} {
		for range 2 {
			_, err := cannedAgent(answer+frame("\x05"+evil)).Remove("", "")
			if err != nil && strings.ContainsAny(err.Error(), "\x1b\u202e") {
				t.Errorf("%q gives %q", answer, err)
			}
			held, err := cannedAgent(answer).List()
			if err != nil && strings.ContainsAny(err.Error(), "\x1b\u202e") {
				t.Errorf("%q gives %q", answer, err)
			}
			for _, h := range held {
				if strings.ContainsAny(h.Proxy+h.Cluster+h.User, "\x1b\u202e") {
					t.Errorf("%q gives %+v", answer, h)
				}
			}
		}
	}
	held, err := cannedAgent(frame(keyList(str("x"), "teleport:\u202egate:c:u"))).List()
	if err != nil || len(held) != 1 || held[0].Proxy != `\u202egate` || !held[0].Of("\u202egate", "u") {
		t.Errorf("%+v, %v", held, err)
	}
}

// case K12, case K14: what cannot be put there is refused before the agent hears of it.
func TestPutRefuses(t *testing.T) {
	for what, change := range map[string]func(*Entry){
		"K13: no lifetime":           func(e *Entry) { e.Lifetime = 0 },
		"K13: expired":               func(e *Entry) { e.Lifetime = -time.Hour },
		"K13: less than a second":    func(e *Entry) { e.Lifetime = 999 * time.Millisecond },
		"K13: more than fits":        func(e *Entry) { e.Lifetime = (1 << 32) * time.Second },
		"K13: for ever":              func(e *Entry) { e.Lifetime = 1<<63 - 1 },
		"no proxy":                   func(e *Entry) { e.Proxy = "" },
		"a proxy with its port":      func(e *Entry) { e.Proxy = "gate:3080" },
		"a proxy on one link":        func(e *Entry) { e.Proxy = "fe80::1%eth0" },
		"no cluster":                 func(e *Entry) { e.Cluster = "" },
		"a cluster with a colon":     func(e *Entry) { e.Cluster = "a:b" },
		"no user":                    func(e *Entry) { e.User = "" },
		"a user of two lines":        func(e *Entry) { e.User = "a\nb" },
		"no certificate":             func(e *Entry) { e.Cert = nil },
		"a certificate of nothing":   func(e *Entry) { e.Cert.Key = nil },
		"another key's certificate":  func(e *Entry) { e.Key = newP256(t) },
		"no key":                     func(e *Entry) { e.Key = nil },
		"a key that is in the agent": func(e *Entry) { e.Key = &Key{} },
		"a key that hides":           func(e *Entry) { e.Key = struct{ crypto.Signer }{newEd25519(t)} },
		"a short key":                func(e *Entry) { e.Key = newEd25519(t)[:31] },
	} {
		e := login(t, newEd25519(t), "gate", "root", "alice")
		change(&e)
		a := cannedAgent(frame(keyList()) + frame("\x06"))
		if err := a.Put(e); err == nil || a.frames.left != maxTotal {
			t.Errorf("%s: %v, asked: %v", what, err, a.frames.left != maxTotal)
		}
	}
	if _, err := cannedAgent(frame(keyList())).Remove("", "alice"); err == nil {
		t.Error("removes a user without a proxy")
	}
}
