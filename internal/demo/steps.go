package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/creack/pty"
	"github.com/pquerna/otp/totp"

	"github.com/seed-087d674e/tsh/internal/release"
)

// demo is the state that the steps hand on.
type demo struct {
	dir     string
	proxy   string
	env     []string
	cluster *exec.Cmd
	account string // the person's account here, which is the login on the node

	clusterLog lockedBuffer

	password, totpSecret string
}

func (d *demo) bin(name string) string { return filepath.Join(d.dir, "bin", name) }
func (d *demo) state() string          { return filepath.Join(d.dir, "cluster") }

func (d *demo) build(ctx context.Context) error {
	note("Building tsh, a dev cluster and the programs that use the SDK, those in examples")
	return release.Command(ctx, d.bin("")+string(filepath.Separator), "./cmd/tsh", "./cmd/devcluster", "./examples/...").Run()
}

// startCluster starts the dev cluster and waits until it says that it listens.
func (d *demo) startCluster(ctx context.Context) error {
	note("Starting a dev cluster that asks for one-time codes")
	addr, err := freeAddr()
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	d.proxy = net.JoinHostPort("localhost", port)
	d.cluster = exec.Command(d.bin("devcluster"), "start", "--dir", d.state(), "--addr", addr, "--second-factor=otp")
	said, err := d.cluster.StdoutPipe()
	if err != nil {
		return err
	}
	d.cluster.Stderr = &d.clusterLog
	if err := d.cluster.Start(); err != nil {
		return err
	}
	d.env = append(os.Environ(),
		"TELEPORT_HOME="+filepath.Join(d.dir, "home"), "SSL_CERT_FILE="+filepath.Join(d.state(), "web-ca.pem"),
		"PATH="+filepath.Join(d.dir, "bin")+string(filepath.ListSeparator)+os.Getenv("PATH"))
	return awaitLine(ctx, said, d.proxy)
}

// awaitLine waits until a line of r holds words; what r says later is dropped.
func awaitLine(ctx context.Context, r io.Reader, words string) error {
	found := make(chan error, 1)
	go func() {
		lines := bufio.NewScanner(r)
		for lines.Scan() {
			if strings.Contains(lines.Text(), words) {
				found <- nil
				_, _ = io.Copy(io.Discard, r)
				return
			}
		}
		found <- errors.New("the dev cluster ended before it listened")
	}()
	const patience = 20 * time.Second
	select {
	case err := <-found:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(patience):
		return errors.New("the dev cluster does not start to listen")
	}
}

func (d *demo) addUser(ctx context.Context) error {
	me, err := user.Current()
	if err != nil {
		return err
	}
	d.account = me.Username
	d.show("devcluster", "users", "add", "alice", "--roles=access", "--logins="+d.account)
	cmd := d.command(ctx, "devcluster", "users", "add", "alice", "--dir", d.state(), "--roles=access", "--logins="+d.account, "--generate", "--json")
	cmd.Stdin = nil
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("adding a user: %w", err)
	}
	var enrolled struct {
		Password   string `json:"password"`
		TOTPSecret string `json:"totp_secret"`
	}
	if err := json.Unmarshal(out, &enrolled); err != nil {
		return err
	}
	d.password, d.totpSecret = enrolled.Password, enrolled.TOTPSecret
	return nil
}

// login types the password and the code where tsh asks for them.
func (d *demo) login(ctx context.Context) error {
	d.show("tsh", "login", "--proxy="+d.proxy, "--user=alice")
	cmd := d.command(ctx, "tsh", "login", "--proxy="+d.proxy, "--user=alice")
	f, err := pty.Start(cmd)
	if err != nil {
		return err
	}
	defer f.Close()
	screen := io.TeeReader(f, os.Stdout)
	if err := readUntil(screen, "Password for alice"); err != nil {
		return err
	}
	fmt.Fprint(f, d.password+"\r")
	if err := readUntil(screen, "One-time code: "); err != nil {
		return err
	}
	code, err := totp.GenerateCode(d.totpSecret, time.Now())
	if err != nil {
		return err
	}
	fmt.Fprint(f, code+"\r")
	_, _ = io.Copy(io.Discard, screen) // ends in EIO where the terminal is gone
	return cmd.Wait()
}

// readUntil reads up to and with words.
func readUntil(r io.Reader, words string) error {
	var seen bytes.Buffer
	for b := make([]byte, 1); !strings.HasSuffix(seen.String(), words); {
		if _, err := r.Read(b); err != nil {
			return fmt.Errorf("tsh did not ask %q: %w", words, err)
		}
		seen.Write(b)
	}
	return nil
}

func (d *demo) look(ctx context.Context) error {
	for _, args := range [][]string{{"status"}, {"ls"}, {"ssh", d.account + "@node-1", "uname", "-a"}} {
		if err := d.run(ctx, "tsh", args...); err != nil {
			return err
		}
	}
	return nil
}

// programs runs Go programs that know nothing but the profile.
func (d *demo) programs(ctx context.Context) error {
	note("Small Go programs, those in examples, go on from there")
	if err := d.run(ctx, "whoami"); err != nil {
		return err
	}
	return d.run(ctx, "sshcommand", d.account+"@node-1", "uptime")
}

// robot runs one that is nobody's: it has a user, a role and an identity of its own.
func (d *demo) robot(ctx context.Context) error {
	note("A program with a role of its own, examples/inventory, sees the development servers alone")
	if err := d.run(ctx, "devcluster", "create", "-f", "examples/inventory/role.yaml", "--dir", d.state()); err != nil {
		return err
	}
	add := []string{"users", "add", "inventory", "--roles=inventory", "--generate", "--dir", d.state()}
	d.show("devcluster", add...)
	if err := d.command(ctx, "devcluster", add...).Run(); err != nil { // who never logs in needs no password
		return err
	}
	if err := d.run(ctx, "devcluster", "auth", "sign", "--user=inventory", "--ttl=1h", "--out="+d.identity(), "--dir", d.state()); err != nil {
		return err
	}
	return d.run(ctx, "inventory", d.proxy, d.identity())
}

func (d *demo) identity() string { return filepath.Join(d.dir, "inventory.id") }

func (d *demo) shell(ctx context.Context) error {
	shell := os.Getenv("SHELL")
	if shell == "" {
		shell = "/bin/sh"
	}
	note("A shell with everything set up; try: tsh ssh " + d.account + "@node-1. Leave it with exit.")
	cmd := exec.CommandContext(ctx, shell)
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = d.env, os.Stdin, os.Stdout, os.Stderr
	var left *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &left) {
		return err
	}
	return nil
}

func (d *demo) stop() {
	if d.cluster == nil || d.cluster.Process == nil {
		return
	}
	_ = d.cluster.Process.Signal(os.Interrupt)
	force := time.AfterFunc(5*time.Second, func() { _ = d.cluster.Process.Kill() })
	_ = d.cluster.Wait()
	force.Stop()
}

func (d *demo) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, d.bin(name), args...)
	cmd.Env, cmd.Stderr = d.env, os.Stderr
	return cmd
}

func (d *demo) run(ctx context.Context, name string, args ...string) error {
	d.show(name, args...)
	cmd := d.command(ctx, name, args...)
	cmd.Stdout = os.Stdout
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func (d *demo) show(name string, args ...string) {
	fmt.Printf("\n$ %s\n", strings.Join(append([]string{name}, args...), " "))
}

func note(what string) { fmt.Printf("\n# %s\n", what) }

// freeAddr is a loopback address that nobody listened on a moment ago.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// lockedBuffer keeps what the dev cluster logs until it is of interest.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer.
func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
