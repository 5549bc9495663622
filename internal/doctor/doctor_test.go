package doctor

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/internal/durable"
	"github.com/seed-087d674e/tsh/internal/keyring"
	"github.com/seed-087d674e/tsh/internal/testenv"
	"github.com/seed-087d674e/tsh/profile"
)

// damage is something that is wrong, and what is said about it.
type damage struct {
	name string
	do   func(t *testing.T, w *world)
	want []string // "status check message"
	// fixed says that --fix puts it right; loads that the login works then.
	fixed, loads bool
}

func damages() []damage {
	const key = "keys/example.com/alice"
	return []damage{
		// case F15
		{"current-profile leads out of the directory", put("current-profile", "../../x"), []string{"problem current-profile may not"}, true, true},
		{"current-profile is binary", put("current-profile", "a\x00\x1b[2J"), []string{"problem current-profile may not"}, true, true},
		{"current-profile is 1 MB", put("current-profile", strings.Repeat("x", 1<<20)), []string{"problem current-profile bytes"}, true, true},
		{"current-profile dangles", put("current-profile", "gone.example\n"), []string{`problem current-profile names the profile "gone.example"`}, true, true},
		{"current-profile is empty", put("current-profile", ""), []string{"warning current-profile no current profile"}, true, true},
		{"current-profile is missing", remove("current-profile"), []string{"warning current-profile no current profile"}, true, true},
		// case F10
		{"a profile is binary", put("example.com.yaml", "\x00\x01\xff"), []string{"problem profile not a text file"}, false, false},
		{"a profile is a bomb", put("example.com.yaml", "a: &a [x,x]\nb: *a\n"), []string{"problem profile "}, false, false},
		{"a profile is 100 MB", huge("example.com.yaml"), []string{"problem profile more than"}, false, false},
		{"a profile without address", put("example.com.yaml", "user: alice\n"), []string{"problem profile no web_proxy_addr"}, false, false},
		{"a profile of another proxy", renamed, []string{"problem current-profile does not exist", `warning profile is for the proxy "example.com"`}, true, false},
		{"a file that is named like a profile", put("not a proxy.yaml", "x"), []string{"warning profile is no profile"}, false, true},
		// case F20, case F07
		{"the SSH key is junk", put(key, "-----BEGIN nothing"), []string{"problem login PEM"}, false, false},
		{"the SSH key is 100 MB", huge(key), []string{"problem login more than"}, false, false},
		{"the TLS key is gone", remove(key + ".key"), []string{"problem login alice.key is missing"}, false, false},
		{"the SSH certificate is gone", remove(key + "-ssh/harbor-cert.pub"), []string{"problem login harbor-cert.pub is missing"}, false, false},
		{"keys and certificates of two logins", mixed, []string{"problem login is not for the key"}, false, false},
		{"another public key", put(key+".pub", "ssh-ed25519 AAAA x\n"), []string{"warning login not the public half"}, false, true},
		{"the login has expired", func(_ *testing.T, w *world) { w.now = w.now.Add(12 * time.Hour) }, []string{"warning expiry certificate expired at 2027-01-01T12:00:00Z"}, false, false},
		// case L19
		{"the login is of the future", func(_ *testing.T, w *world) { w.now = w.now.Add(-2 * time.Hour) }, []string{"warning clock the clock here is 1h0m0s behind"}, false, false},
		{"the clock is late", func(_ *testing.T, w *world) { w.skew = 61*time.Second + time.Second }, []string{"warning clock the clock here is 1m2s behind that of example.com"}, false, true},
		{"the clock is early", func(_ *testing.T, w *world) { w.skew = -time.Hour }, []string{"warning clock the clock here is 1h0m0s ahead of that of example.com"}, false, true},
		// case F08
		{"known_hosts with lines of others", addTo("known_hosts", "what is\x00this\nhalf a\n@cert-authority gate,x,*.x ssh-new AAAA type=host\n"),
			[]string{"warning authorities lines that cannot be read (2, 3, 4)"}, false, true},
		{"a key that is not revoked", addTo("known_hosts", "@revoked * ssh-ed25519 AAA!\n@REVOKED x\n"), []string{"problem authorities lines that should revoke a key and cannot be read (2, 3)"}, false, true},
		{"known_hosts is 100 MB", huge("known_hosts"), []string{"problem login more than", "problem authorities more than"}, false, false},
		{"known_hosts is empty", put("known_hosts", ""), []string{"problem authorities nodes cannot be verified"}, false, false},
		{"the authority is missing", remove("keys/example.com/cas/harbor.pem"), []string{"problem authorities servers cannot be verified"}, false, false},
		{"the authority is garbage", put("keys/example.com/cas/harbor.pem", "junk"), []string{"warning authorities holds no certificate", "problem authorities servers cannot be verified"}, false, false},
		{"the authority has another name", renamedCA, []string{"warning authorities not where other clients look"}, false, true},
		{"an empty file among the authorities", empty("keys/example.com/cas/other.pem"), []string{"warning authorities is empty"}, true, true},
		{"a foreign file among the authorities", put("keys/example.com/cas/README", "hello"), []string{"warning authorities holds no certificate"}, false, true},
		{"two proxies claim a cluster", func(t *testing.T, w *world) {
			w.logIn(t, "127.0.0.1", "bob", "pier", profile.KeysInFiles)
			hosts := testenv.Read(t, w.path("known_hosts"))
			addTo("known_hosts", strings.NewReplacer("127.0.0.1,", "example.com,").Replace(
				strings.Split(hosts, "\n")[0])+"\n")(t, w)
			put("known_hosts", strings.NewReplacer("pier", "harbor").Replace(hosts))(t, w)
		}, []string{`problem authorities both claim to be cluster "harbor"`, "problem authorities nodes cannot be verified"}, false, false},
		// case F21
		{"a staging directory was left", func(t *testing.T, w *world) {
			testenv.Write(t, w.path("config/tsh/tx-AAAA/001"), "secret")
		}, []string{"warning leftovers left by a killed process"}, true, true},
		{"a journal was left", put("config/tsh/journal", "half a jour"), []string{"warning leftovers has not finished"}, true, true},
		// case F25
		{"another client left an empty key", empty("keys/example.com/bob.key"), []string{"warning leftovers is empty"}, true, true},
		{"another client was stopped", empty("keys/example.com/kube_credentials.lock"), []string{"warning leftovers Kubernetes"}, false, true},
		{"an entry in the keyring was left", orphan, []string{"warning leftovers no login needs it"}, true, true},
		{"the proxy does not answer", func(_ *testing.T, w *world) { w.dial = errNobody }, []string{"warning proxy refused"}, false, true},
		// case N01
		{"the proxy is not the proxy", func(_ *testing.T, w *world) { w.untrusted = true }, []string{"problem proxy cannot be trusted"}, false, true},
	}
}

// case F08, case F10, case F15, case F20, case F21: each damage is found, and nothing else; looking changes
// nothing; what can be repaired is, and is in order afterwards.
func TestEachDamage(t *testing.T) {
	for _, d := range append(damages(), platformDamages()...) {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.logIn(t, gate, "alice", "harbor", profile.KeysInFiles)
			d.do(t, w)
			before := contents(t, w.home)
			w.expect(t, w.look(t, false), d.want)
			if !maps.Equal(before, contents(t, w.home)) {
				t.Error("looking changed something")
			}
			left := 0
			for _, f := range w.look(t, true) {
				if f.Left() {
					left++
				}
			}
			if d.fixed != (left < len(d.want)) {
				t.Errorf("%d findings are left of %d", left, len(d.want))
			}
			if again := w.look(t, false); len(again) != left {
				t.Errorf("%d findings were left, then there are %v", left, again)
			}
			if !d.fixed && !maps.Equal(before, contents(t, w.home)) {
				t.Error("nothing was fixed, and something is different")
			}
			if d.loads {
				w.loads(t, gate)
			}
		})
	}
}

// expect compares findings with "status check part of the message".
func (w *world) expect(t *testing.T, got []Finding, want []string) {
	t.Helper()
	ok := len(got) == len(want)
	for i := 0; ok && i < len(got); i++ {
		parts := strings.SplitN(want[i], " ", 3)
		ok = string(got[i].Status) == parts[0] && got[i].Check == parts[1] && strings.Contains(got[i].Message, parts[2]) &&
			got[i].Subject != "" && !got[i].Fixed
	}
	if !ok {
		t.Errorf("found\n%v\nwant\n%s", lines(got), strings.Join(want, "\n"))
	}
}

func lines(findings []Finding) string {
	var b strings.Builder
	for _, f := range findings {
		fmt.Fprintf(&b, "%s %s %s: %s (%s) fixed %v\n", f.Status, f.Check, f.Subject, f.Message, f.Hint, f.Fixed)
	}
	return b.String()
}

// A login that is in order is found to be, with all that belongs to it, and so is a
// directory that does not exist.
func TestNothingIsWrong(t *testing.T) {
	w := newWorld(t)
	if bad := w.look(t, true); len(bad) > 0 {
		t.Errorf("without a directory:\n%s", lines(bad))
	}
	if exists(w.home) {
		t.Error("looking made the directory")
	}
	w.logIn(t, gate, "alice", "harbor", profile.KeysInFiles)
	w.logIn(t, "127.0.0.1", "bob", "pier", profile.KeysInKeyring)
	if bad := w.look(t, true); len(bad) > 0 {
		t.Errorf("with two logins:\n%s", lines(bad))
	}
	if _, err := w.store().Logout(t.Context(), "", ""); err != nil {
		t.Fatal(err)
	}
	if bad := w.look(t, true); len(bad) > 0 {
		t.Errorf("after the logout:\n%s", lines(bad))
	}
}

// What other clients have left behind is in order, too.
func TestDirectoriesOfOtherClients(t *testing.T) {
	for _, version := range []string{"18.3", "14.0"} {
		w := newWorld(t)
		w.home, w.dial = testenv.CopyHome(t, version), errNobody
		for _, f := range w.look(t, true) {
			if f.Check != checkProxy {
				t.Errorf("%s: %s", version, lines([]Finding{f}))
			}
		}
	}
}

// The document is for programs: names and fields do not change.
func TestDocument(t *testing.T) {
	w := newWorld(t)
	w.logIn(t, gate, "alice", "harbor", profile.KeysInFiles)
	w.now = w.now.Add(24 * time.Hour)
	data, err := json.MarshalIndent(Run(t.Context(), w.options()), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	got := strings.ReplaceAll(string(data), w.home, "HOME")
	want := testenv.Read(t, filepath.Join("testdata", "document.json"))
	if got+"\n" != want {
		t.Errorf("the document is\n%s\nwant\n%s", got, want)
	}
}

// Sealed keys are opened, with one question to the keyring for all of a login; a
// keyring that fails is asked once.
func TestKeyring(t *testing.T) {
	w := newWorld(t)
	w.logIn(t, gate, "alice", "harbor", profile.KeysInKeyring)
	w.logIn(t, "127.0.0.1", "bob", "pier", profile.KeysInKeyring)
	w.ring.gets = 0
	w.expect(t, w.look(t, false), nil)
	if w.ring.gets != 2 {
		t.Errorf("two logins asked the keyring %d times", w.ring.gets)
	}
	// case K02, case K01
	for err, want := range map[error]string{
		keyring.ErrLocked:      "warning keyring locked",
		keyring.ErrUnavailable: "problem keyring no usable keyring",
		keyring.ErrNoAnswer:    "problem keyring does not answer",
	} {
		w.ring.err, w.ring.gets = err, 0
		w.expect(t, w.look(t, true), []string{want})
		if w.ring.gets != 1 {
			t.Errorf("%v: asked %d times", err, w.ring.gets)
		}
	}
	w.ring.err = nil
	// case K05: an entry that is gone, or another's.
	for slot := range w.ring.keys {
		w.ring.keys[slot] = bytes.Repeat([]byte{1}, keyring.KeySize)
	}
	w.expect(t, w.look(t, true), []string{"problem login another key", "problem login another key"})
	clear(w.ring.keys)
	w.expect(t, w.look(t, true), []string{"problem login no such key", "problem login no such key"})
	// A slot that cannot be one is the file's fault.
	path := w.path("keys", gate, "alice")
	put("keys/example.com/alice", strings.Replace(testenv.Read(t, path), "Slot: ", "Slot: ../", 1))(t, w)
	w.expect(t, w.look(t, true), []string{"problem login no such key", "problem login slot"})
}

// case K04: a keyring entry is only freed once nothing needs it.
func TestSlotsOfLoginsStay(t *testing.T) {
	w := newWorld(t)
	w.logIn(t, gate, "alice", "harbor", profile.KeysInKeyring)
	orphan(t, w)
	path := w.path("keys", gate, "alice")
	// While a key cannot be read nobody knows what it needs.
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	before := len(w.ring.keys)
	w.look(t, true)
	if len(w.ring.keys) != before {
		t.Error("entries were removed while it was not known which")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".away", path); err != nil {
		t.Fatal(err)
	}
	w.look(t, true)
	if len(w.ring.keys) != 1 {
		t.Errorf("%d entries are left", len(w.ring.keys))
	}
	w.loads(t, gate)
}

// A profile that is named is looked at alone.
func TestOneProfile(t *testing.T) {
	w := newWorld(t)
	w.logIn(t, gate, "alice", "harbor", profile.KeysInFiles)
	w.logIn(t, "127.0.0.1", "bob", "pier", profile.KeysInFiles)
	put("keys/example.com/alice", "junk")(t, w)
	put("example.com.yaml", "\x00")(t, w)
	if bad := w.look(t, false); len(bad) < 2 {
		t.Errorf("found %s", lines(bad))
	}
	o := w.options()
	o.Name, o.Addr = "127.0.0.1", typed(t, "127.0.0.1:443")
	for _, f := range Run(t.Context(), o) {
		if f.Status != OK {
			t.Errorf("another profile's: %s", lines([]Finding{f}))
		}
	}
	// One that is not there is asked all the same.
	w.dial = errNobody
	o = w.options()
	o.Name, o.Addr = "new.example", typed(t, "new.example:443")
	bad := slices.DeleteFunc(Run(t.Context(), o), func(f Finding) bool { return f.Status == OK })
	w.expect(t, bad, []string{"warning profile there is no profile", "warning proxy refused"})
}

// With two valid logins none is chosen for the person.
func TestNoChoiceIsMade(t *testing.T) {
	w := newWorld(t)
	w.logIn(t, gate, "alice", "harbor", profile.KeysInFiles)
	w.logIn(t, "127.0.0.1", "bob", "pier", profile.KeysInFiles)
	put("current-profile", "gone.example\n")(t, w)
	w.expect(t, w.look(t, true), []string{"problem current-profile does not exist"})
	// An expired or damaged one is no choice.
	put("keys/example.com/alice", "junk")(t, w)
	w.look(t, true)
	if name, err := w.store().Current(); err != nil || name != "127.0.0.1" {
		t.Errorf("%q, %v", name, err)
	}
}

// case F18: a lock that somebody keeps is named with its holder.
func TestHeldLock(t *testing.T) {
	w := newWorld(t)
	w.logIn(t, gate, "alice", "harbor", profile.KeysInFiles)
	tx, err := durable.Begin(t.Context(), w.home)
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("warning locks is locked by process %d", os.Getpid())
	w.expect(t, w.look(t, false), []string{want})
	tx.Close()
	w.expect(t, w.look(t, false), nil)
}

// Hundreds of damages are bounded, in number and in time.
func TestManyDamages(t *testing.T) {
	w := newWorld(t)
	w.logIn(t, gate, "alice", "harbor", profile.KeysInFiles)
	for i := range 200 {
		put(fmt.Sprintf("p%d.example.yaml", i), "\x00")(t, w)
		put(fmt.Sprintf("keys/p%d.example/alice.key", i), "junk")(t, w)
		put(fmt.Sprintf("keys/p%d.example/alice-ssh/x-cert.pub", i), "junk")(t, w)
	}
	started := time.Now()
	bad := w.look(t, true)
	if took := time.Since(started); took > 25*time.Second {
		t.Errorf("it took %v", took)
	}
	if len(bad) != 2*(maxFindings+1) {
		t.Errorf("%d findings:\n%s", len(bad), lines(bad))
	}
	w.loads(t, gate)
}
