//go:build unix

package sshagent

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/binary"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// served connects a client of an agent with what serve does.
func served(t *testing.T, serve func(io.ReadWriter)) (agent.ExtendedAgent, net.Conn) {
	t.Helper()
	here, there := net.Pipe()
	_ = here.SetDeadline(time.Now().Add(30 * time.Second))
	done := make(chan struct{})
	go func() {
		defer close(done)
		serve(there)
		_ = there.Close()
	}()
	t.Cleanup(func() {
		_ = here.Close()
		<-done
	})
	return agent.NewClient(struct{ io.ReadWriter }{here}), here
}

// case K16, case K17: the agent with the key of the login lists it, signs with it and
// does nothing else.
func TestServe(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	authority := newAuthority(t)
	for name, key := range map[string]ssh.Signer{
		"ed25519": signerOf(t, authority, newEd25519(t)),
		"p256":    signerOf(t, authority, newP256(t)),
		"rsa":     signerOf(t, authority, rsaKey),
	} {
		t.Run(name, func(t *testing.T) {
			client, conn := served(t, func(peer io.ReadWriter) {
				if err := Serve(peer, key, "a comment"); err != nil {
					t.Error(err)
				}
			})
			keys, err := client.List()
			if err != nil || len(keys) != 1 || keys[0].Comment != "a comment" || !bytes.Equal(keys[0].Blob, key.PublicKey().Marshal()) {
				t.Fatalf("%v, %v", keys, err)
			}
			data := []byte("data")
			for flags, algorithm := range map[agent.SignatureFlags]string{
				0: "", agent.SignatureFlagRsaSha256: ssh.KeyAlgoRSASHA256, agent.SignatureFlagRsaSha512: ssh.KeyAlgoRSASHA512,
			} {
				sig, err := client.SignWithFlags(key.PublicKey(), data, flags)
				if name == "rsa" && flags == 0 {
					if err == nil {
						t.Error("it signs with SHA-1")
					}
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				if err := key.PublicKey().Verify(data, sig); err != nil || name == "rsa" && sig.Format != algorithm {
					t.Errorf("%s: %v", sig.Format, err)
				}
			}
			stranger := signerOf(t, authority, newEd25519(t))
			if _, err := client.Sign(stranger.PublicKey(), data); err == nil {
				t.Error("it signs with a key it does not have")
			}
			if _, err := client.Extension("session-bind@openssh.com", []byte("x")); err == nil {
				t.Error("it takes extensions")
			}
			for _, err := range []error{
				client.Add(agent.AddedKey{PrivateKey: newEd25519(t)}), client.Remove(key.PublicKey()), client.RemoveAll(), client.Lock([]byte("x")), client.Unlock([]byte("x")),
			} {
				if err == nil {
					t.Error("it can be changed")
				}
			}
			for _, request := range forbidden() {
				if answer := ask(t, conn, request); !bytes.Equal(answer, []byte{replyFailure}) {
					t.Errorf("request %d is answered with %q", request[0], answer)
				}
			}
			if keys, err := client.List(); err != nil || len(keys) != 1 {
				t.Errorf("%v, %v", keys, err)
			}
		})
	}
}

// forbidden are requests that no forwarded agent may act on.
func forbidden() [][]byte {
	library := ssh.Marshal(struct{ Path, PIN string }{"/usr/lib/x.so", ""})
	extension := ssh.Marshal(struct{ Name string }{"session-bind@openssh.com"})
	return [][]byte{
		append([]byte{askCard}, library...), append([]byte{askCardWith}, library...), append([]byte{askCardGone}, library...),
		append([]byte{askExtension}, extension...), {askExtension},
		append([]byte{askAdding}, addWithLibrary()...),
	}
}

// addWithLibrary adds a key of a FIDO device that a library signs with.
func addWithLibrary() []byte {
	return ssh.Marshal(struct {
		Kind, Curve, Point, Application string
		Flags                           byte
		Handle, Reserved, Comment       string
		Confirm, Extension              byte
		Name, Library                   string
	}{"sk-ecdsa-sha2-nistp256@openssh.com", "nistp256", "\x04", "ssh:", 1, "h", "", "", 2, 255, "sk-provider@openssh.com", "/usr/lib/x.so"})
}

func signerOf(t *testing.T, authority ssh.Signer, key any) ssh.Signer {
	t.Helper()
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := &ssh.Certificate{Key: signer.PublicKey(), CertType: ssh.UserCert, KeyId: "alice", ValidPrincipals: []string{"root"}, ValidBefore: ssh.CertTimeInfinity}
	if err := cert.SignCert(rand.Reader, authority); err != nil {
		t.Fatal(err)
	}
	certified, err := ssh.NewCertSigner(cert, signer)
	if err != nil {
		t.Fatal(err)
	}
	return certified
}

// ask sends a message as it is and returns the answer.
func ask(t *testing.T, conn net.Conn, request []byte) []byte {
	t.Helper()
	if err := writeFrame(conn, request); err != nil {
		t.Fatal(err)
	}
	answer, err := readFrame(conn, maxReply)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// recordingAgent is an agent that notes what it is asked and answers what it is told to.
func recordingAgent(t *testing.T, answer []byte) (asked func() []byte) {
	t.Helper()
	path := filepath.Join(shortDir(t), "socket")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	t.Setenv(variable, path)
	kinds := make(chan byte, 100)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				for {
					request, err := readFrame(conn, maxRequest)
					if err != nil {
						return
					}
					kinds <- request[0]
					if answer == nil {
						continue
					}
					if _, err := conn.Write(answer); err != nil {
						return
					}
				}
			}()
		}
	}()
	return func() (all []byte) {
		for len(kinds) > 0 {
			all = append(all, <-kinds)
		}
		return all
	}
}

// relayed is a connection as a program elsewhere has it.
func relayed(t *testing.T, ctx context.Context) (net.Conn, <-chan error) {
	t.Helper()
	system, err := Connect("", time.Second)
	if err != nil {
		t.Fatal(err)
	}
	result := make(chan error, 1)
	_, conn := served(t, func(peer io.ReadWriter) { result <- system.Relay(ctx, peer) })
	return conn, result
}

// case K17: what loads libraries or binds sessions does not get to the agent at all.
func TestRelay(t *testing.T) {
	asked := recordingAgent(t, []byte("\x00\x00\x00\x02\x06!"))
	conn, result := relayed(t, t.Context())
	allowed := []byte{askKeys, askSignature, 17, 18, 19, 22, 23, 25}
	for _, kind := range allowed {
		if answer := ask(t, conn, []byte{kind, 'x'}); string(answer) != "\x06!" {
			t.Errorf("request %d is answered with %q", kind, answer)
		}
	}
	for _, request := range forbidden() {
		if answer := ask(t, conn, request); !bytes.Equal(answer, []byte{replyFailure}) {
			t.Errorf("request %d is answered with %q", request[0], answer)
		}
	}
	if got := asked(); !slices.Equal(got, allowed) {
		t.Errorf("the agent was asked %v", got)
	}
	_ = conn.Close()
	if err := <-result; err != nil {
		t.Error(err)
	}
}

// case K12: nonsense of either side ends the connection, within bounds.
func TestRelayOfNonsense(t *testing.T) {
	big := binary.BigEndian.AppendUint32(nil, maxRequest+1)
	for name, request := range map[string]string{
		"empty":      "\x00\x00\x00\x00",
		"too long":   string(big) + "x",
		"incomplete": "\x00\x00\x00\x09x",
	} {
		asked := recordingAgent(t, []byte("\x00\x00\x00\x01\x06"))
		conn, result := relayed(t, t.Context())
		_, _ = io.WriteString(conn, request)
		if name == "incomplete" {
			_ = conn.Close()
		}
		if err := <-result; err == nil || len(asked()) > 0 {
			t.Errorf("%s: no error, or the agent saw it", name)
		}
	}
	for name, answer := range map[string]string{"empty": "\x00\x00\x00\x00", "too long": "\x7f\xff\xff\xff"} {
		recordingAgent(t, []byte(answer))
		conn, result := relayed(t, t.Context())
		if err := writeFrame(conn, []byte{askKeys}); err != nil {
			t.Fatal(err)
		}
		if err := <-result; err == nil {
			t.Errorf("%s answer: no error", name)
		}
	}
}

// An agent that asks the person, who does not answer, does not outlive the session.
func TestRelayEndsWithItsSession(t *testing.T) {
	recordingAgent(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	conn, result := relayed(t, ctx)
	if err := writeFrame(conn, []byte{askSignature}); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-result; err == nil {
		t.Error("no error")
	}
}

// case K11: the agent to forward is looked at as the others are.
func TestConnectTo(t *testing.T) {
	dir := shortDir(t)
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv(variable, "")
	for path, want := range map[string]string{
		"":                        "SSH_AUTH_SOCK is not set",
		"relative/socket":         "an absolute path is needed",
		file:                      "it is not a socket",
		filepath.Join(dir, "no"):  "no such file",
		"/nowhere\x1b[31m/socket": "no such file",
	} {
		_, err := Connect(path, time.Second)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\x1b") {
			t.Errorf("%q: %v", path, err)
		}
	}
	recordingAgent(t, []byte("\x00\x00\x00\x01\x06"))
	path := os.Getenv(variable)
	t.Setenv(variable, "")
	conn, err := Connect(path, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
}

// What programs on a node send to a forwarded agent is anything.
func FuzzServe(f *testing.F) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	key, err := ssh.NewSignerFromKey(private)
	if err != nil {
		f.Fatal(err)
	}
	blob := key.PublicKey().Marshal()
	signRequest := append([]byte{askSignature}, ssh.Marshal(struct {
		Blob, Data []byte
		Flags      uint32
	}{blob, []byte("data"), 0})...)
	for _, request := range append(forbidden(), signRequest, []byte{askKeys}, []byte{askKeys, 0}, signRequest[:20]) {
		f.Add(request)
	}
	f.Fuzz(func(t *testing.T, request []byte) {
		if len(request) == 0 {
			return
		}
		answer := answerAs(key, "comment", request)
		switch {
		case len(answer) == 1 && answer[0] == replyFailure:
		case answer[0] == replyKeys && len(request) == 1 && request[0] == askKeys:
		case answer[0] == 14 && request[0] == askSignature && bytes.Contains(request, blob):
		default:
			t.Errorf("%q is answered with %q", request, answer)
		}
	})
}
