//go:build unix

package sshagent

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/seed-087d674e/tsh/internal/testenv"
)

// inUse is the limit that commands give.
const inUse = 500 * time.Millisecond

// realAgent starts an ssh-agent and makes it the person's.
func realAgent(t *testing.T) (stop func()) {
	t.Helper()
	socket, stop := testenv.Agent(t)
	t.Setenv(variable, socket)
	return stop
}

func dial(t testing.TB) *Agent {
	t.Helper()
	a, err := Dial(30 * time.Second) // a busy machine is no failure
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	return a
}

func put(t testing.TB, e Entry) {
	t.Helper()
	if err := dial(t).Put(e); err != nil {
		t.Fatal(err)
	}
}

// sshAdd runs the person's own tool and returns the lines it prints. Flags are
// followed by what is typed.
func sshAdd(t testing.TB, flag, typed string) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), testenv.Program(t, "ssh-add"), flag)
	cmd.Stdin = strings.NewReader(typed)
	cmd.Env = append(os.Environ(), "SSH_ASKPASS_REQUIRE=never", "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

// comments is what "ssh-add -l" lists, sorted, without sizes and fingerprints.
func comments(t testing.TB) []string {
	t.Helper()
	var all []string
	for _, line := range sshAdd(t, "-l", "") {
		words := strings.SplitN(line, " ", 3)
		if len(words) != 3 || strings.HasPrefix(line, "The agent") {
			continue
		}
		all = append(all, words[2])
	}
	slices.Sort(all)
	return all
}

func expectComments(t testing.TB, when string, want ...string) {
	t.Helper()
	slices.Sort(want)
	if got := comments(t); !slices.Equal(got, want) {
		t.Errorf("%s the agent has\n  %s\nwant\n  %s", when, strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

// addAs puts a key there as another program would, without a limit.
func addAs(t testing.TB, comment string, key any, cert *ssh.Certificate) {
	t.Helper()
	conn, err := net.Dial("unix", os.Getenv(variable))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := agent.NewClient(conn).Add(agent.AddedKey{PrivateKey: key, Comment: comment, Certificate: cert}); err != nil {
		t.Fatal(err)
	}
}

// case K15: one entry for each user of a proxy, whatever the clusters and however
// often one logs in; what is not of Teleport stays. case K13: logout removes it.
func TestLoginsComeAndGo(t *testing.T) {
	realAgent(t)
	addAs(t, "alice@laptop", newEd25519(t), nil)
	addAs(t, "teleport:notes", newEd25519(t), nil)
	own := []string{"alice@laptop (ED25519)", "teleport:notes (ED25519)"}
	expect := func(when string, ours ...string) {
		t.Helper()
		expectComments(t, when, slices.Concat(own, ours)...)
	}

	put(t, login(t, newP256(t), "gate.example.net", "root", "alice"))
	expect("after a login", "teleport:gate.example.net:root:alice (ECDSA-CERT)")
	again := login(t, newP256(t), "gate.example.net", "root", "alice")
	put(t, again)
	put(t, again)
	expect("after it again", "teleport:gate.example.net:root:alice (ECDSA-CERT)")
	put(t, login(t, newEd25519(t), "gate.example.net", "leaf", "alice"))
	expect("in another cluster", "teleport:gate.example.net:leaf:alice (ED25519-CERT)")
	put(t, login(t, newP256(t), "gate.example.net", "leaf", "bob"))
	put(t, login(t, newRSA(t), "gate", "leaf", "alice"))
	put(t, login(t, newEd25519(t), "2001:db8::1", "leaf", "svc:ci"))
	put(t, login(t, newP256(t), "2001:db8::1", "root", "svc:ci"))
	expect("with others", "teleport:gate.example.net:leaf:alice (ED25519-CERT)", "teleport:gate.example.net:leaf:bob (ECDSA-CERT)",
		"teleport:gate:leaf:alice (RSA-CERT)", "teleport:2001:db8::1:root:svc:ci (ECDSA-CERT)")

	// Another client adds the key alone besides; all of it is replaced.
	bare := newP256(t)
	addAs(t, "teleport:gate:root:alice", bare, nil)
	addAs(t, "teleport:gate:root:alice", bare, certify(t, newAuthority(t), bare.Public(), "alice"))
	put(t, login(t, newP384(t), "gate", "root", "alice"))
	rest := []string{"teleport:gate.example.net:leaf:alice (ED25519-CERT)", "teleport:gate.example.net:leaf:bob (ECDSA-CERT)", "teleport:2001:db8::1:root:svc:ci (ECDSA-CERT)"}
	expect("after another client", append(rest, "teleport:gate:root:alice (ECDSA-CERT)")...)

	remove := func(proxy, user string, want int) {
		t.Helper()
		if n, err := dial(t).Remove(proxy, user); n != want || err != nil {
			t.Errorf("Remove(%q, %q) = %d, %v; want %d", proxy, user, n, err, want)
		}
	}
	remove("gate", "nobody", 0)
	remove("gate", "alice", 1)
	remove("gate", "alice", 0)
	expect("after a logout", rest...)
	remove("gate.example.net", "", 2)
	expect("after one of all users", "teleport:2001:db8::1:root:svc:ci (ECDSA-CERT)")
	put(t, login(t, newP256(t), "gate", "root", "alice"))
	remove("", "", 2)
	expect("after one of all proxies")
	remove("", "", 0)
}

func newP384(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Keys of all kinds arrive with their certificates: "ssh-add -L" prints these, and
// the doctor lists them.
func TestEveryKindOfKey(t *testing.T) {
	for kind, key := range map[string]crypto.Signer{"RSA": newRSA(t), "P-256": newP256(t), "P-384": newP384(t), "Ed25519": newEd25519(t)} {
		t.Run(kind, func(t *testing.T) {
			realAgent(t)
			e := login(t, key, "gate", "root", "alice")
			put(t, e)
			want := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(e.Cert))) + " teleport:gate:root:alice"
			if got := sshAdd(t, "-L", ""); len(got) != 1 || got[0] != want {
				t.Errorf("the agent has %q\nwant %q", got, want)
			}
			held, err := dial(t).List()
			if err != nil || len(held) != 1 {
				t.Fatalf("%+v, %v", held, err)
			}
			h, end := held[0], time.Unix(int64(e.Cert.ValidBefore), 0)
			if h.Proxy != "gate" || h.Cluster != "root" || h.User != "alice" || !bytes.Equal(h.Blob, e.Cert.Marshal()) || !h.Certificate {
				t.Errorf("listed as %+v", h)
			}
			if h.Expired(end.Add(-time.Second)) || !h.Expired(end) || !h.Of("gate", "alice") || h.Of("gate", "bob") {
				t.Errorf("it ends %v, want %v", h.ValidBefore, end)
			}
		})
	}
}

// The doctor sees what other clients left there, bare keys too.
func TestListOfOthers(t *testing.T) {
	realAgent(t)
	key := newEd25519(t)
	cert := certify(t, newAuthority(t), key.Public(), "x:y")
	cert.ValidBefore = ssh.CertTimeInfinity
	if err := cert.SignCert(rand.Reader, newAuthority(t)); err != nil {
		t.Fatal(err)
	}
	addAs(t, "teleport:1::2:beef:x:y", key, cert)
	addAs(t, "teleport:gate:root:alice", key, nil)
	addAs(t, "alice@laptop", newEd25519(t), nil)
	held, err := dial(t).List()
	if err != nil || len(held) != 2 {
		t.Fatalf("%+v, %v", held, err)
	}
	if h := held[0]; h.Proxy != "1::2" || h.User != "x:y" || !h.Certificate || h.Expired(time.Now().AddDate(9999, 0, 0)) {
		t.Errorf("listed as %+v", h)
	}
	if h := held[1]; h.Proxy != "gate" || h.Certificate || h.Expired(time.Now()) || !bytes.Equal(h.Blob, sshKey(t, key.Public()).Marshal()) {
		t.Errorf("listed as %+v", h)
	}
	// The certificate tells whose it is where the comment does not.
	for proxy, want := range map[string]int{"1::2:beef": 0, "1::2": 1} {
		if n, err := dial(t).Remove(proxy, ""); n != want || err != nil {
			t.Errorf("Remove(%q) = %d, %v", proxy, n, err)
		}
	}
}

// case K13: the agent forgets a key when its time is over.
func TestLifetimeEnds(t *testing.T) {
	realAgent(t)
	e := login(t, newP256(t), "gate", "root", "alice")
	e.Lifetime = 1999 * time.Millisecond
	put(t, e)
	expectComments(t, "at first", "teleport:gate:root:alice (ECDSA-CERT)")
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	late := time.After(20 * time.Second)
	for len(comments(t)) > 0 {
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("it is still there after 20s")
		}
	}
}

// An agent that is locked takes nothing and shows nothing.
func TestLockedAgent(t *testing.T) {
	realAgent(t)
	key := newP256(t)
	put(t, login(t, key, "gate", "root", "alice"))
	held, err := OpenKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	lock := func(typed string) error {
		conn, err := net.Dial("unix", os.Getenv(variable))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if typed == "lock" {
			return agent.NewClient(conn).Lock([]byte("secret"))
		}
		return agent.NewClient(conn).Unlock([]byte("secret"))
	}
	// What "ssh-add -x" does after asking for the password on a terminal.
	if err := lock("lock"); err != nil {
		t.Fatal(err)
	}
	if err := dial(t).Put(login(t, newP256(t), "gate", "root", "alice")); err == nil || errors.Is(err, ErrStale) || !strings.Contains(err.Error(), "refused to take a key") {
		t.Errorf("put: %v", err)
	}
	if n, err := dial(t).Remove("gate", "alice"); n != 0 || err != nil {
		t.Errorf("removed %d, %v", n, err)
	}
	if all, err := dial(t).List(); len(all) != 0 || err != nil {
		t.Errorf("listed %+v, %v", all, err)
	}
	if _, err := OpenKey(key.Public()); !errors.Is(err, ErrMissing) {
		t.Errorf("open: %v", err)
	}
	if _, err := crypto.SignMessage(held, rand.Reader, []byte("x"), crypto.SHA256); !errors.Is(err, ErrMissing) {
		t.Errorf("sign: %v", err)
	}
	if err := lock("unlock"); err != nil {
		t.Fatal(err)
	}
	if _, err := crypto.SignMessage(held, rand.Reader, []byte("x"), crypto.SHA256); err != nil {
		t.Errorf("sign after that: %v", err)
	}
	expectComments(t, "in the end", "teleport:gate:root:alice (ECDSA-CERT)")
}

// case K11: an agent that died leaves its socket behind.
func TestKilledAgent(t *testing.T) {
	stop := realAgent(t)
	key := newP256(t)
	put(t, login(t, key, "gate", "root", "alice"))
	held, err := OpenKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	a := dial(t)
	stop()
	if err := a.Put(login(t, newEd25519(t), "gate", "root", "alice")); err == nil {
		t.Error("put into an agent that was killed")
	}
	if _, err := held.SignMessage(rand.Reader, []byte("x"), crypto.SHA256); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("sign: %v", err)
	}
	quickly(t, "dial", func() {
		if _, err := Dial(10 * time.Second); err == nil || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("dial: %v", err)
		}
	})
}

// What a key needs to be usable: that the agent has it, with whatever certificate.
func TestOpenKey(t *testing.T) {
	realAgent(t)
	key, other := newP256(t), newP256(t)
	addAs(t, "mine", other, nil)
	addAs(t, "mine too", newEd25519(t), nil)
	if _, err := OpenKey(key.Public()); !errors.Is(err, ErrMissing) {
		t.Errorf("it is missing: %v", err)
	}
	k, err := OpenKey(other.Public())
	if err != nil || !other.PublicKey.Equal(k.Public()) {
		t.Fatalf("a bare key: %v", err)
	}
	put(t, login(t, key, "gate", "root", "alice"))
	if k, err = OpenKey(key.Public()); err != nil {
		t.Fatal(err)
	}
	// A new certificate for the same key takes the old one's place.
	put(t, login(t, key, "gate", "leaf", "alice"))
	if _, err := k.SignMessage(nil, []byte("x"), crypto.SHA256); err != nil {
		t.Errorf("after a reissue: %v", err)
	}
	if _, err := dial(t).Remove("gate", "alice"); err != nil {
		t.Fatal(err)
	}
	if _, err := k.SignMessage(nil, []byte("x"), crypto.SHA256); !errors.Is(err, ErrMissing) {
		t.Errorf("after a logout: %v", err)
	}
	// A certificate of another key that only mentions this one is not it.
	cert := certify(t, newAuthority(t), ed25519.PublicKey(newEd25519(t)[32:]), "alice")
	point, err := key.PublicKey.ECDH()
	if err != nil {
		t.Fatal(err)
	}
	cert.KeyId = string(point.Bytes())
	if _, err := cannedAgent(frame(keyList(string(cert.Marshal()), "x"))).find(sshKey(t, key.Public())); !errors.Is(err, ErrMissing) {
		t.Errorf("found it in another certificate: %v", err)
	}
}
