package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// foreign is what somebody else keeps in known_hosts.
const foreign = "# hosts of mine\n" +
	"github.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl\n" +
	"@cert-authority mole,tunnel,*.mole ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGG type=host\n"

// crowd is the second part: many tsh, one directory, two proxies.
type crowd struct {
	bench
	home     string
	env      []string
	account  string
	clusters []*cluster

	mu     sync.Mutex
	counts map[string]int             // by command and outcome
	took   map[string][]time.Duration // by command
	bad    []string                   // what must not be
}

func (b bench) crowd(ctx context.Context, p plan) error {
	me, err := user.Current()
	if err != nil {
		return err
	}
	c := &crowd{bench: b, home: b.path("home"), account: me.Username, counts: map[string]int{}, took: map[string][]time.Duration{}}
	defer func() {
		for _, cl := range c.clusters {
			_ = cl.Close()
		}
	}()
	// Commands on the nodes start a shell: not with what the person has in .bashrc.
	if err := os.Setenv("HOME", b.dir); err != nil {
		return err
	}
	if err := c.start(ctx); err != nil {
		return err
	}
	kept, err := c.kept()
	if err != nil {
		return err
	}
	reader, err := c.startReader(ctx)
	if err != nil {
		return err
	}
	started := time.Now()
	c.work(ctx, p)
	took := time.Since(started)
	seen, err := reader()
	if err != nil {
		c.bad = append(c.bad, err.Error())
	}
	fmt.Printf("%d processes at once for %v in one directory, two proxies\n", p.processes, took.Round(time.Second))
	c.report()
	fmt.Println("  reader:", seen)
	for path, lines := range kept {
		data, err := os.ReadFile(path)
		for _, line := range lines {
			if !bytes.Contains(data, []byte(line)) {
				c.bad = append(c.bad, fmt.Sprintf("%s has lost %q (%v)", path, line, err))
			}
		}
	}
	if len(c.bad) > 0 {
		return fmt.Errorf("%d things that must not be:\n%s", len(c.bad), strings.Join(c.bad[:min(len(c.bad), 20)], "\n"))
	}
	fmt.Println("no error but \"not logged in\", no authority lost")
	return ctx.Err()
}

// start brings the clusters up and logs in to each once.
func (c *crowd) start(ctx context.Context) error {
	for name, host := range map[string]string{"harbor.example": "localhost", "quay.example": "127.0.0.1"} {
		cl, err := c.startCluster(ctx, name, host)
		if err != nil {
			return err
		}
		c.clusters = append(c.clusters, cl)
	}
	if err := c.trust(); err != nil {
		return err
	}
	if err := os.Mkdir(c.home, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(c.home, "known_hosts"), []byte(foreign), 0o600); err != nil {
		return err
	}
	for _, cl := range c.clusters {
		if outcome, said := c.tsh(ctx, cl, "login"); outcome != "ok" {
			return fmt.Errorf("the first login: %s: %s", outcome, said)
		}
	}
	return nil
}

// trust lets tsh accept the web certificates of all clusters.
func (c *crowd) trust() error {
	var all []byte
	for _, cl := range c.clusters {
		data, err := os.ReadFile(cl.CAFile())
		if err != nil {
			return err
		}
		all = append(all, data...)
	}
	c.env = append(os.Environ(), "TELEPORT_HOME="+c.home, "SSL_CERT_FILE="+c.path("web-ca.pem"), "SSH_AUTH_SOCK=", "TELEPORT_PROXY=", "TELEPORT_USER=")
	return os.WriteFile(c.path("web-ca.pem"), all, 0o600)
}

// kept are the lines that have to stay: all of known_hosts, all authorities.
func (c *crowd) kept() (map[string][]string, error) {
	kept := map[string][]string{}
	err := filepath.WalkDir(c.home, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		hosts, authority := d.Name() == "known_hosts", filepath.Base(filepath.Dir(path)) == "cas" || d.Name() == "certs.pem"
		if !hosts && !authority {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if authority {
			kept[path] = []string{string(data)}
			return nil
		}
		for line := range strings.Lines(string(data)) {
			kept[path] = append(kept[path], line)
		}
		return nil
	})
	if err == nil && len(kept) < 3 {
		err = fmt.Errorf("only %d files hold authorities", len(kept))
	}
	return kept, err
}

// startReader starts the process that reads until the function returned is called.
func (c *crowd) startReader(ctx context.Context) (stop func() (string, error), err error) {
	cmd := exec.CommandContext(ctx, c.path("profile.test"))
	cmd.Env = append(os.Environ(), "TSH_TEST_ROLE=read", "TSH_TEST_HOME="+c.home)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	return func() (string, error) {
		_ = in.Close()
		err := cmd.Wait()
		if err != nil {
			err = fmt.Errorf("the reader: %w: %s%s", err, out.String(), said.String())
		}
		first, _, _ := strings.Cut(out.String(), "\n")
		return first, err
	}, cmd.Start()
}

// work lets all processes run until the time is over.
func (c *crowd) work(ctx context.Context, p plan) {
	ctx, cancel := context.WithTimeout(ctx, p.lasting)
	defer cancel()
	var all sync.WaitGroup
	for i := range p.processes {
		all.Go(func() {
			cl := c.clusters[i%len(c.clusters)]
			for round := 0; ctx.Err() == nil; round++ {
				for _, what := range []string{"login", "status", "ssh", "logout"} {
					// What has begun is brought to its end.
					began := time.Now()
					if what == "login" && round%2 == 1 {
						what = "login --force" // otherwise the login of another process may do
					}
					outcome, said := c.tsh(context.WithoutCancel(ctx), cl, what)
					c.note(what, outcome, said, time.Since(began))
				}
			}
		})
	}
	all.Wait()
}

func (c *crowd) note(what, outcome, said string, took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[what+" "+outcome]++
	c.took[what] = append(c.took[what], took)
	// Another process may have logged out what this one just stored and now shows.
	if outcome != "ok" && outcome != "not_logged_in" {
		c.bad = append(c.bad, what+": "+outcome+": "+said)
	}
}

// tsh runs one command. The outcome is "ok" or the code of the error.
func (c *crowd) tsh(ctx context.Context, cl *cluster, what string) (outcome, said string) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	args := map[string][]string{
		"login":         {"login", "--json", "--proxy=" + cl.PublicAddr(), "--user=alice", "--password-stdin"},
		"login --force": {"login", "--json", "--proxy=" + cl.PublicAddr(), "--user=alice", "--password-stdin", "--force"},
		"status":        {"status", "--json"},
		"ssh":           {"ssh", "--json", "--proxy=" + cl.PublicAddr(), c.account + "@node-1", "true"},
		"logout":        {"logout", "--json", "--proxy=" + cl.PublicAddr()},
	}[what]
	cmd := exec.CommandContext(ctx, c.path("tsh"), args...)
	cmd.Env = c.env
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if strings.HasPrefix(what, "login") {
		cmd.Stdin = strings.NewReader(cl.password + "\n")
	}
	err := cmd.Run()
	said = strings.TrimSpace(out.String() + complaints.String())
	if err == nil {
		return "ok", said
	}
	var failed *exec.ExitError
	if !errors.As(err, &failed) {
		return err.Error(), said
	}
	if what == "logout" && strings.Contains(said, "nobody like that is logged in") {
		return "not_logged_in", said // another process was quicker
	}
	return code(out.Bytes(), failed), said
}

// code is the code of the error in the JSON document of a command.
func code(out []byte, failed *exec.ExitError) string {
	var document struct {
		Error struct{ Code string }
	}
	lines := json.NewDecoder(bytes.NewReader(out))
	for {
		err := lines.Decode(&document)
		if document.Error.Code != "" {
			return document.Error.Code
		}
		if errors.Is(err, io.EOF) || err != nil {
			return failed.String()
		}
	}
}

func (c *crowd) report() {
	for _, what := range slices.Sorted(maps.Keys(c.counts)) {
		fmt.Printf("  %-24s %6d\n", what, c.counts[what])
	}
	for _, what := range slices.Sorted(maps.Keys(c.took)) {
		took := c.took[what]
		slices.Sort(took)
		at := func(part float64) time.Duration { return took[int(part*float64(len(took)-1))].Round(time.Millisecond) }
		fmt.Printf("  %-24s median %v, 99%% within %v, longest %v\n", what, at(0.5), at(0.99), at(1))
	}
}
