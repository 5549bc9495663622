package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/internal/devcluster"
	"github.com/seed-087d674e/tsh/sshclient"
)

// startCareful is a cluster where alice needs a second factor for sessions, unless her
// roles are others. She is logged in and has a security key.
func startCareful(t *testing.T, config devcluster.Config, roles ...string) *farCluster {
	t.Helper()
	config.SecondFactor, config.Suite = "webauthn", "balanced-v1"
	c := startFar(t, config)
	if err := c.RemoveUser("alice"); err != nil {
		t.Fatal(err)
	}
	if roles == nil {
		roles = []string{"session-mfa"}
	}
	if _, err := c.AddUser(devcluster.UserSpec{Name: "alice", Password: farPassword, Roles: roles, Logins: []string{"root"}}); err != nil {
		t.Fatal(err)
	}
	c.plugInKey(t)
	cmd := exec.Command(releasedTsh(t), "login", "--proxy="+c.PublicAddr(), "--user=alice", "--password-stdin")
	cmd.Env, cmd.Stdin = c.env, strings.NewReader(farPassword+"\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return c
}

// Where a session takes a second factor, what it costs besides is one connection to the
// auth server, a challenge, a certificate and another login over the first connection.
func TestSessionMFABudget(t *testing.T) {
	// Refused with its first channel, and then all but TCP, TLS and HTTP/2 once more, with
	// an offer to resume each time; TCP and TLS, challenge and certificate.
	const proxyTrips, authTrips = maxSSHTrips + 10, 4
	withinBudget(t, func(t *testing.T) error {
		c := startCareful(t, devcluster.Config{})
		c.net.SetDelay(25 * time.Millisecond)
		before, mark := len(c.net.Conns()), c.net.Mark()
		c.firstOutput(t)
		conns, since := c.net.Conns()[before:], c.net.Since(mark)
		t.Logf("ssh with a second factor: %v, %d round trips", conns, since.Trips)
		if len(conns) != 2 || conns[0].Trips > proxyTrips || conns[1].Trips > authTrips {
			return fmt.Errorf("connections %v; the limits are %d and %d round trips", conns, proxyTrips, authTrips)
		}
		return nil
	})
}

// here makes this process one run of tsh for alice.
func (c *farCluster) here(t *testing.T) (*app, *session, *said) {
	t.Helper()
	for _, pair := range c.env {
		name, value, _ := strings.Cut(pair, "=")
		if slices.Contains([]string{"TELEPORT_HOME", "SSL_CERT_FILE", "PATH", envTestKeys}, name) {
			t.Setenv(name, value)
		}
	}
	a, heard := quietApp(t), new(said)
	a.ui = &tui{err: heard}
	s, err := a.openSession()
	if err != nil {
		t.Fatal(err)
	}
	return a, s, heard
}

// said is what the person is told, by several goroutines.
type said struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all.Write(p)
}

func (s *said) times(what string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Count(s.all.String(), what)
}

// onAll runs a command on the nodes, at the same time, and returns what became of it.
func onAll(t *testing.T, ctx context.Context, m *sessionMFA, nodes int) []error {
	t.Helper()
	transport, err := m.app.dialProxy(ctx, m.s)
	if err != nil {
		t.Fatal(err)
	}
	defer transport.Close()
	results := make([]error, nodes)
	var all sync.WaitGroup
	for i := range results {
		all.Go(func() {
			target := sshclient.Target{Login: "root", Host: fmt.Sprintf("node-%d", i+1)}
			results[i] = m.onNode(ctx, transport, target, func(client *sshclient.Client) error {
				var out bytes.Buffer
				err := client.Run(ctx, sshclient.Command{Args: "echo hello", Stdout: &out})
				if err == nil && out.String() != "hello\n" {
					err = errors.New(out.String())
				}
				return err
			})
		})
	}
	all.Wait()
	return results
}

// Many servers take one touch where the cluster lets an answer serve for several, and
// one each, one at a time, where it does not.
func TestOneTouchForMany(t *testing.T) {
	const nodes = 8
	for name, tc := range map[string]struct {
		config  devcluster.Config
		servers int
		touches int
		words   string
	}{
		"reuse":         {devcluster.Config{}, nodes, 1, "one answer is for all"},
		"no words":      {devcluster.Config{MFARefusal: "auth"}, nodes, 1, "one answer is for all"},
		"no reuse":      {devcluster.Config{NoMFAReuse: true}, nodes, nodes + 1, "takes a second factor"}, // the first is refused
		"one at a time": {devcluster.Config{}, 1, nodes, "takes a second factor"},
	} {
		t.Run(name, func(t *testing.T) {
			tc.config.Nodes = nodes
			c := startCareful(t, tc.config)
			a, s, heard := c.here(t)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			before := len(c.net.Conns())
			m := a.newSessionMFA(s, tc.servers)
			defer m.close()
			for i, err := range onAll(t, ctx, m, nodes) {
				if err != nil {
					t.Errorf("node-%d: %v", i+1, err)
				}
			}
			if got := heard.times(sayTouch); got != tc.touches || heard.times(tc.words) == 0 {
				t.Errorf("%d touches, want %d:\n%s", got, tc.touches, heard.all.String())
			}
			if conns := c.net.Conns()[before:]; len(conns) != 2 {
				t.Errorf("%d connections, want one to the proxy and one to the auth server", len(conns))
			}
		})
	}
}

// An answer that has grown old is asked for anew; a person who does not answer is not
// asked once more for the next server.
func TestAnswersOfMany(t *testing.T) {
	c := startCareful(t, devcluster.Config{Nodes: 3})
	a, s, heard := c.here(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	m := a.newSessionMFA(s, 3)
	defer m.close()
	check := func(touches int) {
		t.Helper()
		if err := errors.Join(onAll(t, ctx, m, 3)...); err != nil || heard.times(sayTouch) != touches {
			t.Errorf("%v, %d touches, want %d", err, heard.times(sayTouch), touches)
		}
	}
	check(1)
	check(1)
	m.answered = m.answered.Add(-answerLife - time.Second)
	check(2)

	a, s, heard = c.here(t)
	t.Setenv(envTestKeys, "") // unplugged
	m = a.newSessionMFA(s, 3)
	defer m.close()
	for i, err := range onAll(t, ctx, m, 3) {
		if body := describe(err); body.Code != "no_security_key" || strings.Contains(body.Hint, "mfa-mode") {
			t.Errorf("node-%d: %+v", i+1, body)
		}
	}
	if heard.times("take a second factor") != 1 {
		t.Errorf("asked more than once:\n%s", heard.all.String())
	}
}

// No server makes tsh ask a person for more than the cluster does: where it requires
// nothing nobody is asked, and nobody twice, nor when a command has begun.
func TestServerCannotAskForTouch(t *testing.T) {
	says := &sshclient.RefusedError{Host: "node-1", Message: textNeedsMFA}
	careful, easy := startCareful(t, devcluster.Config{}), startCareful(t, devcluster.Config{}, "access")
	for name, tc := range map[string]struct {
		cluster  *farCluster
		verified bool // the login is confirmed already, as a headless one is
		err      error
		touches  int
	}{
		"something else":                   {careful, false, &sshclient.RefusedError{Host: "node-1", Message: "too many sessions"}, 0},
		"it has begun":                     {careful, false, &begunError{says}, 0},
		"the server says so over and over": {careful, false, says, 1},
		"the login is confirmed already":   {careful, true, says, 0},
		"the cluster requires nothing":     {easy, false, says, 0},
	} {
		t.Run(name, func(t *testing.T) {
			a, s, heard := tc.cluster.here(t)
			target := sshclient.Target{Login: "root", Host: "node-1"}
			m := a.newSessionMFA(s, 1)
			defer m.close()
			if tc.verified {
				once, _, err := m.certify(t.Context(), target)
				if err != nil {
					t.Fatal(err)
				}
				m.s = once
			}
			transport, err := a.dialProxy(t.Context(), s)
			if err != nil {
				t.Fatal(err)
			}
			defer transport.Close()
			before, uses := heard.times(sayTouch), 0
			err = m.onNode(t.Context(), transport, target, func(client *sshclient.Client) error {
				uses++
				if err := client.Run(t.Context(), sshclient.Command{Args: "true"}); uses == 1+tc.touches && tc.touches > 0 && err != nil {
					t.Errorf("with the second factor: %v", err)
				}
				return tc.err
			})
			if !errors.Is(err, tc.err) || heard.times(sayTouch)-before != tc.touches || uses != 1+tc.touches {
				t.Errorf("%v, %d touches, tried %d times", err, heard.times(sayTouch)-before, uses)
			}
		})
	}
}
