package devcluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

func TestStateSurvivesRestart(t *testing.T) {
	dir := t.TempDir()
	first := startCluster(t, func(c *Config) { c.Dir, c.Nodes = dir, 2 })
	l := first.login(nil)
	ids := []string{first.nodes[0].id, first.nodes[1].id, first.settings.HostID}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	start := func(change func(*Config)) (*Cluster, error) {
		cfg := Config{Dir: dir, Addr: "127.0.0.1:0", Clock: first.clock.Now, PasswordCost: bcrypt.MinCost, Nodes: 2, NoRateLimit: true}
		if change != nil {
			change(&cfg)
		}
		return Start(context.Background(), cfg)
	}
	again, err := start(nil)
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{Cluster: again, t: t, clock: first.clock, secret: first.secret}
	if got := []string{again.nodes[0].id, again.nodes[1].id, again.settings.HostID}; fmt.Sprint(got) != fmt.Sprint(ids) {
		t.Errorf("IDs %v, before %v", got, ids)
	}
	// What was issued before is good, trust included, and so is the user; a code
	// that was used before is not.
	client, err := f.ssh(l, f.transport(l), "node-2", "alice")
	if err != nil {
		t.Fatal(err)
	}
	client.Close()
	body := finishBody(t, new(login), func(m map[string]any) { m["totp_code"] = f.code() })
	if resp, raw := f.do("POST", "/webapi/mfa/login/finish", body); resp.StatusCode != 403 {
		t.Errorf("reused code: %d %s", resp.StatusCode, raw)
	}
	f.nextLogin()
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Config){
		"name":          func(c *Config) { c.Name = "other.example" },
		"suite":         func(c *Config) { c.Suite = suiteLegacy },
		"second factor": func(c *Config) { c.SecondFactor = "sms" },
		"public":        func(c *Config) { c.PublicAddr = "no-port" },
		"address":       func(c *Config) { c.Addr = "127.0.0.1:x" },
		"nodes":         func(c *Config) { c.Nodes = maxNodes + 1 },
		"cost":          func(c *Config) { c.PasswordCost = 100 },
	} {
		if c, err := start(change); err == nil {
			t.Errorf("%s: started", name)
			c.Close()
		}
	}
	off, err := start(func(c *Config) { c.SecondFactor = factorOff })
	if err != nil {
		t.Fatal(err)
	}
	defer off.Close()
	if off.secondFactor != factorOff {
		t.Error(off.secondFactor)
	}
}

func TestSecondStart(t *testing.T) {
	f := startCluster(t, nil)
	_, err := Start(context.Background(), Config{Dir: f.state.dir, Addr: "127.0.0.1:0"})
	if !errors.Is(err, errInUse) || !strings.Contains(err.Error(), f.state.dir) || !strings.Contains(err.Error(), fmt.Sprintf("pid %d", os.Getpid())) {
		t.Error(err)
	}
	if _, err := Start(context.Background(), Config{}); err == nil {
		t.Error("started without a directory")
	}
}

func TestContextEndsTheCluster(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	c, err := Start(ctx, Config{Dir: t.TempDir(), Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	<-c.ctx.Done()
	if err := c.Close(); err != nil { // waits for the same
		t.Error(err)
	}
}

func TestAdmin(t *testing.T) {
	long := filepath.Join(t.TempDir(), strings.Repeat("long/", 20))
	for name, dir := range map[string]string{"short": t.TempDir(), "long": long} {
		t.Run(name, func(t *testing.T) {
			if _, err := OpenAdmin(dir); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("without a cluster: %v", err)
			}
			f := startCluster(t, func(c *Config) { c.Dir = dir })
			if runtime.GOOS != "windows" {
				if info, err := os.Stat(filepath.Join(dir, socketFile)); err != nil || info.Mode().Perm() != 0o600 {
					t.Errorf("socket %v, %v", info, err)
				}
			}
			exercise(t, dir, false)
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Lstat(filepath.Join(dir, socketFile)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("socket is left: %v", err)
			}
			exercise(t, dir, true)
			// What is left of a process that died is no obstacle.
			for _, name := range []string{socketFile, pidFile} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte("1"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			exercise(t, dir, true)
			c, err := Start(context.Background(), Config{Dir: dir, Addr: "127.0.0.1:0", PasswordCost: bcrypt.MinCost})
			if err != nil {
				t.Fatal(err)
			}
			c.Close()
		})
	}
}

// exercise uses the admin of a cluster that has the user alice.
func exercise(t *testing.T, dir string, local bool) {
	t.Helper()
	a, err := OpenAdmin(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if (a.local != nil) != local {
		t.Errorf("local: %v", a.local != nil)
	}
	en, err := a.AddUser(UserSpec{Name: "bob", Roles: []string{"access", "editor"}, Logins: []string{"bob"}})
	if err != nil || en.Name != "bob" || len(en.Password) < 20 || en.TOTPSecret == "" || !strings.HasPrefix(en.TOTPURL, "otpauth://totp/") {
		t.Fatalf("%+v, %v", en, err)
	}
	if fmt.Sprintf("%v %+v %#v", en, en, en) != "REDACTED REDACTED REDACTED" {
		t.Error("an enrolment prints its secrets")
	}
	again, err := a.ResetUser("bob", "a new password")
	if err != nil || again.Password != "" || again.TOTPSecret == en.TOTPSecret {
		t.Errorf("%v", err)
	}
	users, err := a.Users()
	if err != nil || len(users) != 2 || users[0].Name != "alice" || users[1].Name != "bob" || fmt.Sprint(users[1].Roles) != "[access editor]" ||
		fmt.Sprint(users[1].Devices) != "[otp]" {
		t.Errorf("%+v, %v", users, err)
	}
	for name, spec := range map[string]UserSpec{
		"twice": {Name: "bob", Roles: []string{"access"}}, "no name": {Roles: []string{"access"}},
		"no role": {Name: "carl"}, "unknown role": {Name: "carl", Roles: []string{"nope"}},
		"path": {Name: "../carl", Roles: []string{"access"}}, "option": {Name: "-x", Roles: []string{"access"}},
		"login": {Name: "carl", Roles: []string{"access"}, Logins: []string{joinPrincipal}},
		"long":  {Name: "carl", Roles: []string{"access"}, Password: strings.Repeat("x", maxPassword+1)},
	} {
		if _, err := a.AddUser(spec); err == nil {
			t.Errorf("%s: added", name)
		}
	}
	if err := a.RemoveUser("bob"); err != nil {
		t.Error(err)
	}
	if err := a.RemoveUser("bob"); err == nil || !strings.Contains(err.Error(), "user bob") {
		t.Errorf("removed twice: %v", err)
	}
	if _, err := a.ResetUser("bob", ""); err == nil {
		t.Error("reset after removal")
	}
}

// goroutines is the stacks of those that run code of this package.
func goroutines() []string {
	buf := make([]byte, 4<<20)
	buf = buf[:runtime.Stack(buf, true)]
	var ours []string
	for _, g := range strings.Split(string(buf), "\n\n") {
		for _, mark := range []string{"devcluster.(*", "grpc", "crypto/ssh.", "net/http."} {
			if strings.Contains(g, mark) && !strings.Contains(g, "devcluster.goroutines") {
				ours = append(ours, g)
				break
			}
		}
	}
	return ours
}

// Close leaves nothing behind, whatever goes on: sessions, streams that are
// open, connections that never shake hands, and a client that stays.
func TestCloseLeavesNothing(t *testing.T) {
	before := len(goroutines())
	f := startCluster(t, nil)
	l := f.login(nil)
	tr := f.transport(l)
	auth := f.auth(l)
	if _, err := listUnified(t, auth, nil); err != nil {
		t.Fatal(err)
	}
	client, err := f.ssh(l, tr, "node-1", "alice")
	if err != nil {
		t.Fatal(err)
	}
	session, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if err := session.Start("cat"); err != nil {
		t.Fatal(err)
	}
	silent := rawDial(t, f.Addr())
	defer silent.Close()
	idle := sshStream(t, tr, target("node-1:0", f.Name()))
	half := sshStream(t, tr)
	_, _ = idle, half
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	// The client's side of the test ends next; its goroutines are not ours.
	if err := session.Wait(); err == nil {
		t.Error("the session ended as if nothing had happened")
	}
	_ = client.Close()
	_ = tr.Close()
	_ = auth.Close()
	for range 200 {
		if len(goroutines()) <= before {
			break
		}
		runtime.Gosched()
		pause()
	}
	if left := goroutines(); len(left) > before {
		t.Errorf("%d before, now:\n%s", before, strings.Join(left, "\n\n"))
	}
	for _, name := range []string{socketFile, pidFile} {
		if _, err := os.Lstat(filepath.Join(f.state.dir, name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is left: %v", name, err)
		}
	}
}

func BenchmarkStart(b *testing.B) {
	for _, suite := range []string{suiteBalanced, suiteLegacy} {
		b.Run(suite, func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				dir := b.TempDir()
				b.StartTimer()
				c, err := Start(context.Background(), Config{Dir: dir, Addr: "127.0.0.1:0", Suite: suite})
				b.StopTimer()
				if err != nil {
					b.Fatal(err)
				}
				if err := c.Close(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}
