package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/seed-087d674e/tsh/internal/devcluster"
	"github.com/seed-087d674e/tsh/internal/testenv/softkey"
)

// maxHeadlessTrips are those before the one that waits for the approval: TCP, TLS and
// the ping.
const maxHeadlessTrips = 3

// elsewhere runs tsh on a machine where a link is all that can be shown, and has
// somebody decide once it is:
//
//	headless [status=N] [approve|deny|printed|refused|mistaken=bob|^C|nothing] ['question=>answer' …] -- program args…
//
// approve and deny decide through the web API, with the security key in the file
// "blue" registered for alice; printed runs, on a terminal here, the command that was
// printed there, and types the answers; refused does so where that fails, and gives up;
// mistaken=bob is refused where bob runs it; ^C and nothing leave it open. What the program
// wrote is in the files out and err afterwards.
func (w *world) elsewhere(ts *testscript.TestScript, _ bool, args []string) {
	var action string
	if strings.HasPrefix(args[0], "status=") {
		action, args = args[1], append([]string{args[0]}, args[2:]...)
	} else {
		action, args = args[0], args[1:]
	}
	status, steps, command := w.parseType(ts, args)
	var env []string
	for _, pair := range append(scriptEnv(ts), sessionVariables(ts)...) {
		if !strings.HasPrefix(pair, "TELEPORT_HOME=") {
			env = append(env, pair)
		}
	}
	run := startWaiting(append(env, "TELEPORT_HOME="+ts.MkAbs("remote")), lookPath(ts, command[0]), command[1:]...)
	defer run.stop()
	run.cmd.Dir = ts.MkAbs(".")
	ts.Check(run.begin())
	if action == "nothing" {
		run.shown() // the program may end without
	} else if link := run.shown(); link == "" {
		ts.Fatalf("no link is shown:\n%s", run.err.String())
	}
	switch action {
	case "approve", "deny":
		k, err := softkey.Load(ts.MkAbs("blue"))
		ts.Check(err)
		p := &approver{cluster: w.newest(), key: k, password: canary + "password-alice"}
		ts.Check(p.decide(run.id(), action == "approve"))
	case "printed":
		w.typePrinted(ts, 0, run.printed(), steps)
	case "refused":
		w.typePrinted(ts, 1, run.printed(), steps)
		ts.Check(run.cmd.Process.Signal(os.Interrupt))
	case "mistaken=bob":
		w.typePrinted(ts, 1, strings.Replace(run.printed(), "--user=alice", "--user=bob", 1), steps)
		ts.Check(run.cmd.Process.Signal(os.Interrupt))
	case "^C":
		ts.Check(run.cmd.Process.Signal(os.Interrupt))
	}
	got := run.wait()
	ts.Check(os.WriteFile(ts.MkAbs("out"), run.out.Bytes(), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs("err"), run.err.Bytes(), 0o600))
	ts.Logf("%s%s", run.err.String(), run.out.String())
	if w.terminal += run.err.String() + run.out.String(); got != status {
		ts.Fatalf("exit status %d", got)
	}
}

// sessionVariables are those of a session on a node, and what asks for a headless login.
func sessionVariables(ts *testscript.TestScript) (env []string) {
	for _, name := range []string{envSessionProxy, envSessionUser, envSessionCluster, "TELEPORT_HEADLESS", "TELEPORT_AUTH", "TELEPORT_MLOCK_MODE"} {
		if value := ts.Getenv(name); value != "" {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// typePrinted runs a command line that was printed for a person to copy.
func (w *world) typePrinted(ts *testscript.TestScript, status int, line string, steps []typeStep) {
	args := []string{fmt.Sprintf("status=%d", status)}
	for _, s := range steps {
		if s.answer == "" {
			args = append(args, s.question)
			continue
		}
		args = append(args, s.question+"=>"+strings.TrimSuffix(s.answer, "\r"))
	}
	w.typeOn(ts, false, append(append(args, "--"), strings.Fields(line)...))
}

// waiting is a program that shows a link and waits.
type waiting struct {
	cmd      *exec.Cmd
	cancel   context.CancelFunc
	out, err bytes.Buffer
	link     chan string
	read     chan struct{}
	seen     string
}

func startWaiting(env []string, program string, args ...string) *waiting {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	r := &waiting{cmd: exec.CommandContext(ctx, program, args...), cancel: cancel, link: make(chan string, 1), read: make(chan struct{})}
	r.cmd.Env, r.cmd.Stdout = env, &r.out
	return r
}

func (r *waiting) stop() { r.cancel() }

func (r *waiting) begin() error {
	stderr, err := r.cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := r.cmd.Start(); err != nil {
		return err
	}
	link := regexp.MustCompile(`https://\S+/web/headless/\S+`)
	go func() {
		defer close(r.read)
		found := ""
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			r.err.WriteString(lines.Text() + "\n")
			if f := link.FindString(lines.Text()); f != "" {
				found = f
			}
			if strings.HasPrefix(lines.Text(), "Waiting for it") {
				r.link <- found
			}
		}
		close(r.link)
	}()
	return nil
}

// shown waits for the link; it is empty if the program ends without.
func (r *waiting) shown() string {
	r.seen = <-r.link
	return r.seen
}

func (r *waiting) id() string { return r.seen[strings.LastIndex(r.seen, "/")+1:] }

// printed is the command that was shown.
func (r *waiting) printed() string {
	return strings.TrimSpace(regexp.MustCompile(`(?m)^  tsh headless approve .*$`).FindString(r.err.String()))
}

func (r *waiting) wait() int {
	<-r.read
	return waitStatus(r.cmd)
}

// approver is alice in a browser, with her security key.
type approver struct {
	cluster  *devcluster.Cluster
	key      *softkey.Key
	password string
	http     *http.Client
	token    string
}

// decide signs in, looks at the request and decides.
func (p *approver) decide(id string, yes bool) error {
	ca, err := os.ReadFile(p.cluster.CAFile())
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool},
		// Past the network that counts.
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, p.cluster.Addr())
		},
	}
	defer transport.CloseIdleConnections()
	p.http = &http.Client{Transport: transport, Jar: jar, Timeout: 20 * time.Second}
	begun, err := p.call("POST", "/webapi/mfa/login/begin", map[string]any{"user": "alice", "pass": p.password})
	if err != nil {
		return err
	}
	answer, err := p.touch(begun)
	if err != nil {
		return err
	}
	session, err := p.call("POST", "/webapi/mfa/login/finishsession", map[string]any{"user": "alice", "webauthnAssertionResponse": answer})
	if err != nil {
		return err
	}
	if err := json.Unmarshal(session["token"], &p.token); err != nil {
		return err
	}
	if _, err := p.call("GET", "/webapi/headless/"+id, nil); err != nil {
		return err
	}
	if !yes {
		_, err = p.call("PUT", "/webapi/headless/"+id, map[string]any{"action": "denied", "mfaResponse": struct{}{}})
		return err
	}
	challenge, err := p.call("POST", "/webapi/headless/"+id+"/challenge", struct{}{})
	if err != nil {
		return err
	}
	if answer, err = p.touch(challenge); err != nil {
		return err
	}
	_, err = p.call("PUT", "/webapi/headless/"+id, map[string]any{"action": "accept", "mfaResponse": map[string]any{"webauthn_response": answer}})
	return err
}

func (p *approver) touch(challenge map[string]json.RawMessage) (json.RawMessage, error) {
	return p.key.Get("https://"+p.cluster.PublicAddr(), challenge["webauthn_challenge"])
}

func (p *approver) call(method, path string, body any) (answer map[string]json.RawMessage, err error) {
	raw, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequest(method, "https://"+p.cluster.PublicAddr()+path, bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+p.token)
	resp, err := p.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if raw, err = io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s %s %v", path, resp.Status, raw, err)
	}
	return answer, json.Unmarshal(raw, &answer)
}

// A headless login takes one connection and no more round trips than the way to the
// proxy and the one that is held.
func TestHeadlessBudget(t *testing.T) {
	withinBudget(t, func(t *testing.T) error {
		c := startFarCluster(t, "webauthn")
		k := c.addKey(t)
		run := startWaiting(c.env, releasedTsh(t), "ls", "--headless", "--proxy="+c.PublicAddr(), "--user=alice")
		defer run.stop()
		if err := run.begin(); err != nil {
			t.Fatal(err)
		}
		if run.shown() == "" {
			t.Fatalf("no link is shown:\n%s", run.err.String())
		}
		c.settle(t) // the request is under way, and held
		login := connsSince(c.net, 0)
		if err := (&approver{cluster: c.Cluster, key: k, password: farPassword}).decide(run.id(), true); err != nil {
			t.Fatal(err)
		}
		if status := run.wait(); status != 0 || !strings.Contains(run.out.String(), "node-1") {
			t.Fatalf("exit status %d:\n%s%s", status, run.err.String(), run.out.String())
		}
		t.Logf("headless: %v; altogether: %v", login, c.net.Conns())
		return checkTrips(login, maxHeadlessTrips)
	})
}

// unchanged compares a directory with what it was: unchanged DIR remembers it, or says
// what has changed since.
func (w *world) unchanged(ts *testscript.TestScript, _ bool, args []string) {
	var now strings.Builder
	_ = filepath.WalkDir(ts.MkAbs(args[0]), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			fmt.Fprintln(&now, err)
			return nil
		}
		info, err := d.Info()
		ts.Check(err)
		var content []byte
		if info.Mode().IsRegular() {
			content, err = os.ReadFile(path)
			ts.Check(err)
		}
		fmt.Fprintf(&now, "%s %v %v %x\n", path, info.Mode(), info.ModTime(), content)
		return nil
	})
	before, known := w.snapshots[args[0]]
	if known && before != now.String() {
		ts.Fatalf("%s was\n%s\nand is\n%s", args[0], before, now.String())
	}
	if w.snapshots == nil {
		w.snapshots = make(map[string]string)
	}
	w.snapshots[args[0]] = now.String()
}
