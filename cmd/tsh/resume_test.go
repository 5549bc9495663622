package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/internal/devcluster"
	"github.com/seed-087d674e/tsh/internal/netsim"
	"github.com/seed-087d674e/tsh/internal/testenv"
)

// startRough starts a cluster behind a network that will break, and logs in.
func startRough(t *testing.T, config devcluster.Config) *farCluster {
	t.Helper()
	config.SecondFactor, config.Suite = "off", "balanced-v1"
	c := startFar(t, config)
	c.env = append(c.env, "TELEPORT_PROXY="+c.PublicAddr(), "TELEPORT_USER=alice")
	login := c.tsh(t, "login", "--password-stdin")
	login.Stdin = strings.NewReader(farPassword + "\n")
	if out, err := login.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return c
}

// tsh is the released program, which ends with the test.
func (c *farCluster) tsh(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, releasedTsh(t), args...)
	cmd.Env = c.env
	return cmd
}

// trouble is what a network does while bytes are under way.
type trouble struct {
	name string
	make func(*netsim.Network)
	// at is how many bytes have come back each time; 0 for once.
	at int
	// lasts says that it takes seconds.
	lasts bool
}

func troubles() []trouble {
	return []trouble{
		{"resets again and again", func(n *netsim.Network) { n.Cut() }, 1 << 20, false},
		{"five seconds in which packets wait", func(n *netsim.Network) {
			n.Stall()
			time.AfterFunc(5*time.Second, n.Resume)
		}, 0, true},
		{"five seconds in which connections end", func(n *netsim.Network) {
			n.Stall()
			n.Cut()
			time.AfterFunc(5*time.Second, n.Resume)
		}, 0, true},
		{"a connection that is forgotten", func(n *netsim.Network) { n.Lose() }, 0, true},
	}
}

// Bytes go up and come down while the network breaks; every one arrives, once. ssh and
// proxy ssh with OpenSSH's client say the same.
func TestCutsLoseNothing(t *testing.T) {
	c := startRough(t, devcluster.Config{})
	for _, trouble := range troubles() {
		t.Run(trouble.name, func(t *testing.T) {
			echoThrough(t, c, c.tsh(t, "ssh", "root@node-1", "cat"), trouble)
		})
	}
}

// echoThrough sends bytes through a command that returns them, and makes trouble.
func echoThrough(t *testing.T, c *farCluster, cmd *exec.Cmd, trouble trouble) {
	t.Helper()
	if trouble.lasts {
		testenv.SecondRing(t)
	}
	data := make([]byte, 5<<20)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(data)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	before := len(c.net.Conns())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_, _ = in.Write(data)
		_ = in.Close()
	}()
	sum, got, made := sha256.New(), 0, 0
	buf := make([]byte, 32<<10)
	for {
		n, err := out.Read(buf)
		sum.Write(buf[:n])
		got += n
		if due := max(trouble.at, 1<<20) * (made + 1); got >= due && (made == 0 || trouble.at > 0) && got < len(data) {
			made++
			trouble.make(c.net)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	status := waitStatus(cmd)
	if want := sha256.Sum256(data); status != 0 || got != len(data) || !bytes.Equal(sum.Sum(nil), want[:]) {
		t.Errorf("%d bytes came back of %d, exit status %d: %s", got, len(data), status, complaints.String())
	}
	if complaints.Len() > 0 {
		t.Errorf("stderr: %s", complaints.String())
	}
	t.Logf("%d times in trouble, %d connections", made, len(c.net.Conns())-before)
}

// Without resumption, here or there, a cut is the end, and soon.
func TestCutWithoutResumption(t *testing.T) {
	for name, tc := range map[string]struct {
		config devcluster.Config
		args   string
		env    string
	}{
		"--no-resume":                 {devcluster.Config{}, "ssh --no-resume", ""},
		"TELEPORT_NO_RESUME":          {devcluster.Config{}, "ssh", "TELEPORT_NO_RESUME=true"},
		"a node that does not offer":  {devcluster.Config{NoResumption: true}, "ssh", ""},
		"proxy ssh with --no-resume ": {devcluster.Config{}, "proxy ssh --no-resume", ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := startRough(t, tc.config)
			args := append(strings.Fields(tc.args), "root@node-1")
			if args[0] == "ssh" {
				args = append(args, "echo here; sleep 100")
			}
			cmd := c.tsh(t, args...)
			cmd.Env = append(cmd.Env, tc.env)
			if _, err := cmd.StdinPipe(); err != nil {
				t.Fatal(err)
			}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(out, make([]byte, 4)); err != nil {
				t.Fatal(err)
			}
			c.net.Cut()
			if status := waitStatus(cmd); status == 0 {
				t.Error("it went on")
			}
		})
	}
}

// Resumption costs one more round trip, and nothing with --no-resume.
func TestResumptionBudget(t *testing.T) {
	for flag, limit := range map[string]int{"--no-resume": maxSSHTrips, "--no-resume=false": maxSSHTrips + 1} {
		withinBudget(t, func(t *testing.T) error {
			c := startRough(t, devcluster.Config{})
			c.net.SetDelay(25 * time.Millisecond)
			before := len(c.net.Conns())
			conns := c.firstOutput(t, flag)[before:]
			if err := checkTrips(conns, limit); err != nil {
				return fmt.Errorf("%s: %w", flag, err)
			}
			return nil
		})
	}
}
