package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/seed-087d674e/tsh/internal/devcluster"
)

// The variables that set the clock of a tsh under test: the time at which it stands
// still (RFC 3339), and how far it is ahead.
const (
	envTestNow   = "TSH_TEST_NOW"
	envTestAhead = "TSH_TEST_AHEAD"
)

func TestMain(m *testing.M) {
	if ahead, err := time.ParseDuration(os.Getenv(envTestAhead)); err == nil {
		testOnlyNow = func() time.Time { return time.Now().Add(ahead) }
	}
	if at, err := time.Parse(time.RFC3339, os.Getenv(envTestNow)); err == nil {
		testOnlyNow = func() time.Time { return at }
	}
	// Stories wait more than they work. What -parallel says counts more.
	if err := flag.Set("test.parallel", strconv.Itoa(2*runtime.GOMAXPROCS(0))); err != nil {
		panic(err)
	}
	testscript.Main(tidy{m}, programsUnderTest())
}

// tidy removes what tests share once all have run.
type tidy struct{ m *testing.M }

func (t tidy) Run() int {
	defer func() {
		if testOnlyReleaseDir != "" {
			_ = os.RemoveAll(testOnlyReleaseDir)
		}
	}()
	return t.m.Run()
}

// Passwords and the like of tests are words that are searched for in every
// output of a script: see watched.
const canary = "canary-"

// TestScripts runs the specification of the command line: one story a file.
func TestScripts(t *testing.T) {
	testscript.RunT(&watched{T: t}, testscript.Params{
		Dir:                 filepath.Join("..", "..", "testdata", "script"),
		RequireUniqueNames:  true,
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			home := filepath.Join(env.WorkDir, "home")
			fixtures, err := filepath.Abs(filepath.Join("..", "..", "testdata", "fixtures"))
			if err != nil {
				return err
			}
			env.Vars = append(env.Vars, "HOME="+home, "USERPROFILE="+home, "LocalAppData="+home, "TELEPORT_HOME="+filepath.Join(home, "tsh state"), "LANG=C.UTF-8", "TERM=xterm", "NO_COLOR=1", "FIXTURES="+fixtures)
			w := &world{env: env, clock: &settableClock{}, services: services{t: t}}
			env.Values[worldKey{}] = w
			env.T().(*watched).world = w
			env.Defer(w.stop)
			return os.MkdirAll(home, 0o700)
		},
		Condition: condition,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"cluster":     withWorld((*world).cluster),
			"user":        withWorld((*world).user),
			"answers":     withWorld((*world).answers),
			"stopcluster": withWorld((*world).stopCluster),
			"later":       withWorld((*world).later),
			"type":        withWorld((*world).typeOn),
			"notty":       withWorld((*world).noTTY),
			"printskey":   withWorld((*world).printsKey),
			"agent":       withWorld((*world).agent),
			"keyring":     withWorld((*world).systemKeyring),
			"requester":   withWorld((*world).requester),
			"decide":      withWorld((*world).decide),
			"logins":      withWorld((*world).countLogins),
			"refuse":      withWorld((*world).refuse),
			"front":       withWorld((*world).front),
			"ahead":       withWorld((*world).ahead),
			"headless":    withWorld((*world).elsewhere),
			"unchanged":   withWorld((*world).unchanged),
			"securitykey": withWorld((*world).securityKey),
			"browse":      withWorld((*world).inBrowser),
			"device":      withWorld((*world).device),
			"nodevices":   withWorld((*world).noDevices),
			"nosecret":    withWorld((*world).noSecret),
			"scans":       withWorld((*world).scans),
			"portal":      withWorld((*world).portal),
			"tab":         withWorld((*world).tab),
			"gate":        withWorld((*world).gate),
			"xserver":     withWorld((*world).xserver),
			"service":     withWorld((*world).service),
			"freeport":    withWorld((*world).freePort),
			"forbid":      withWorld((*world).forbid),
			"careful":     withWorld((*world).careful),
			"needs":       withWorld((*world).needs),
			"sign":        withWorld((*world).sign),
		},
	})
}

type worldKey struct{}

func withWorld(f func(*world, *testscript.TestScript, bool, []string)) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		f(ts.Value(worldKey{}).(*world), ts, neg, args)
	}
}

// world is what one script plays in: a cluster, its users, a clock.
type world struct {
	env      *testscript.Env
	clock    *settableClock
	services services
	started  int // clusters, so far
	running  []*devcluster.Cluster
	users    map[string]devcluster.Enrolment
	terminal string   // what the last "type" showed
	codes    []string // one-time codes that were given
	log      loginCounter
	secret   string // of the device for codes that was added last
	scanned  int    // QR codes

	keysMeant bool              // see printsKey
	snapshots map[string]string // see unchanged
}

// settableClock tells the cluster the time.
type settableClock struct {
	mu     sync.Mutex
	offset time.Duration
}

func (c *settableClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.offset)
}

// ahead is how far this clock is ahead of that of the machine.
func (c *settableClock) ahead() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.offset
}

func (c *settableClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset += d
}

// cluster starts a cluster: cluster [second-factor=otp|webauthn|on] [suite=legacy] [motd=text] [name=dev.example]
// [emulate=14] [headless-wait=1s] [headless-look=1s] [separate-ports] [ssh-only] [no-resumption] [listen=[::1]:0] [mfa=tokens] [leaf=name] [mfa-refusal=auth|channel|request] [no-mfa-reuse]
// [request-access=always] [request-prompt=text] [hostnames=a,b] [nodes=N] [label=key=value] [public-host=127.0.0.1] [public=host:port].
// Its address becomes $PROXY, its certificate authority the one tsh trusts.
func (w *world) cluster(ts *testscript.TestScript, _ bool, args []string) {
	config := devcluster.Config{
		Dir:          ts.MkAbs(fmt.Sprintf("cluster%d", w.started)),
		Addr:         "127.0.0.1:0",
		SecondFactor: "off",
		Suite:        "balanced-v1",
		Name:         "dev.example",
		Clock:        w.clock.now,
		PasswordCost: 4,
		Log:          &w.log,
		Home:         ts.Getenv("HOME"), // not that of who runs the tests, with start-up files
	}
	for _, arg := range args {
		key, value, _ := strings.Cut(arg, "=")
		switch key {
		case "second-factor":
			config.SecondFactor = value
		case "mfa":
			config.TokensOnly = value == "tokens"
		case "mfa-refusal":
			config.MFARefusal = value
		case "no-mfa-reuse":
			config.NoMFAReuse = true
		case "headless-wait":
			config.HeadlessWait = duration(ts, value)
		case "headless-look":
			config.HeadlessLook = duration(ts, value)
		case "suite":
			config.Suite = value
		case "motd":
			config.MOTD = unescape(value)
		case "nodes":
			config.Nodes, _ = strconv.Atoi(value)
		case "label":
			name, value, _ := strings.Cut(value, "=")
			config.NodeLabels = map[string]string{name: unescape(value)}
		case "name":
			config.Name = value
		case "leaf":
			config.Leaf = value
		case "request-access":
			config.RequestAccess = value
		case "request-prompt":
			config.RequestPrompt = unescape(value)
		case "connectors":
			setConnectors(&config, value)
		case "default-connector":
			config.DefaultConnector = value
		case "emulate":
			config.Emulate, config.Suite = 14, ""
		case "ssh-only":
			config.SeparatePorts, config.SSHOnly = true, true
		case "no-resumption":
			config.NoResumption = true
		case "home":
			config.Home = ts.MkAbs(value)
		case "separate-ports":
			config.SeparatePorts = true
		case "listen":
			config.Addr = value
		case "public":
			config.PublicAddr = value
		case "public-host":
			l, err := net.Listen("tcp", config.Addr)
			ts.Check(err)
			config.Addr = l.Addr().String()
			config.PublicAddr = strings.Replace(config.Addr, "127.0.0.1", value, 1)
			ts.Check(l.Close())
		case "hostnames":
			config.Hostnames = strings.Split(unescape(value), ",")
			config.Nodes = len(config.Hostnames)
		default:
			ts.Fatalf("cluster: %q", arg)
		}
	}
	w.started++
	c, err := devcluster.Start(context.Background(), config)
	ts.Check(err)
	w.running, w.users = append(w.running, c), make(map[string]devcluster.Enrolment)
	ts.Setenv("PROXY", c.PublicAddr())
	ts.Setenv("LISTENS", c.Addr())
	_, sshPort, err := net.SplitHostPort(c.SSHAddr())
	ts.Check(err)
	ts.Setenv("SSHPORT", sshPort)
	ts.Setenv("LEAFPROXY", c.LeafAddr())
	ts.Setenv("SSL_CERT_FILE", w.trust(ts))
}

func duration(ts *testscript.TestScript, s string) time.Duration {
	d, err := time.ParseDuration(s)
	ts.Check(err)
	return d
}

// unescape lets scripts write what they cannot hold.
func unescape(s string) string {
	return strings.NewReplacer(`\n`, "\n", `\e`, "\x1b", `\rlo`, "\u202e").Replace(s)
}

// trust gathers the web authorities of all clusters in one file.
func (w *world) trust(ts *testscript.TestScript) string {
	var all []byte
	for _, c := range w.running {
		ca, err := os.ReadFile(c.CAFile())
		ts.Check(err)
		all = append(all, ca...)
	}
	path := ts.MkAbs("trusted.pem")
	ts.Check(os.WriteFile(path, all, 0o600))
	return path
}

// newest is the cluster that was started last.
func (w *world) newest() *devcluster.Cluster { return w.running[len(w.running)-1] }

func (w *world) stop() {
	for _, c := range w.running {
		_ = c.Close()
	}
	w.running = nil
}

func (w *world) stopCluster(*testscript.TestScript, bool, []string) { w.stop() }

// user adds a user: user NAME [LOGIN,LOGIN… [ROLE,ROLE…]].
func (w *world) user(ts *testscript.TestScript, _ bool, args []string) {
	logins := []string{"root"}
	if len(args) > 1 {
		logins = strings.Split(args[1], ",")
	}
	roles := []string{"access"}
	if len(args) > 2 {
		roles = strings.Split(args[2], ",")
	}
	enrolment, err := w.newest().AddUser(devcluster.UserSpec{
		Name: args[0], Password: canary + "password-" + args[0], Roles: roles, Logins: logins,
	})
	ts.Check(err)
	w.users[args[0]] = enrolment
}

func (w *world) code(ts *testscript.TestScript, name string) string {
	code, err := totp.GenerateCode(w.users[name].TOTPSecret, w.clock.now())
	ts.Check(err)
	w.codes = append(w.codes, code)
	return code
}

// answers writes a user's password, and the one-time code of the moment, to a
// file, a line each: answers FILE NAME.
func (w *world) answers(ts *testscript.TestScript, _ bool, args []string) {
	lines := canary + "password-" + args[1] + "\n"
	if w.users[args[1]].TOTPSecret != "" {
		lines += w.code(ts, args[1]) + "\n"
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(lines), 0o600))
}

// later lets time pass for the cluster and for tsh: later DURATION.
func (w *world) later(ts *testscript.TestScript, _ bool, args []string) {
	d := duration(ts, args[0])
	w.clock.advance(d)
	ts.Setenv(envTestAhead, w.clock.ahead().String())
}
