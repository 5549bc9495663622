package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/seed-087d674e/tsh/internal/devcluster"
)

const listedNodes = 10_000

// fanOut runs a command on all nodes: with one tsh, and with an ssh for each node, 20 at
// a time.
func fanOut(l *lab) error {
	ways := []struct {
		name string
		cmd  *exec.Cmd
	}{{"tsh ssh LABELS", l.command(l.tsh, "ssh", l.me+"@cluster=bench", "true")}}
	if l.ssh != "" {
		script := fmt.Sprintf("seq %d | xargs -P 20 -I{} %s -F %s node-{}.dev.example true", manyNodes, l.ssh, l.sshConfig)
		ways = append(ways, struct {
			name string
			cmd  *exec.Cmd
		}{"ssh + proxy ssh, 20 at once", l.command("sh", "-c", script)})
	}
	if l.reference != "" {
		ways = append(ways, struct {
			name string
			cmd  *exec.Cmd
		}{"reference ssh LABELS", l.command(l.reference, "ssh", l.me+"@cluster=bench", "true")})
	}
	for _, w := range ways {
		begin := time.Now()
		if _, err := l.run(w.cmd); err != nil {
			return err
		}
		fmt.Printf("  %-28s %8.2f s %8.1f MB\n", w.name, time.Since(begin).Seconds(), float64(l.peak)/1e6)
	}
	return nil
}

// listMany lists the servers of a cluster of its own.
func listMany(l *lab) (err error) {
	c, err := devcluster.Start(context.Background(), devcluster.Config{
		Dir: filepath.Join(l.dir, "large"), Addr: "127.0.0.1:0", Name: "large.example", SecondFactor: "off", PasswordCost: 4, NoRateLimit: true, Nodes: listedNodes,
	})
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if _, err := c.AddUser(devcluster.UserSpec{Name: "alice", Password: password, Roles: []string{"access"}, Logins: []string{l.me}}); err != nil {
		return err
	}
	large := *l
	large.cluster = c
	large.env = append(l.env[:len(l.env):len(l.env)], "TELEPORT_HOME="+filepath.Join(l.dir, "large-state"), "SSL_CERT_FILE="+c.CAFile())
	if _, err := large.run(large.loginCommand()); err != nil {
		return err
	}
	for _, p := range []struct{ name, path string }{{"tsh ls", l.tsh}, {"reference ls", l.reference}} {
		for _, format := range []string{"text", "json"} {
			if p.path == "" {
				continue
			}
			first, all, peak, err := large.list(large.command(p.path, "ls", "--format="+format))
			if err != nil {
				return err
			}
			fmt.Printf("  %-28s first row %6.0f ms, all %6.0f ms, %.1f MB\n", p.name+" --format="+format, milliseconds(first), milliseconds(all), float64(peak)/1e6)
		}
	}
	return nil
}

// list measures when the first row of a list came, after its header, and all of it.
func (l *lab) list(cmd *exec.Cmd) (first, all time.Duration, peak int64, err error) {
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, 0, 0, err
	}
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, 0, 0, err
	}
	lines := bufio.NewReader(out)
	for range 3 {
		if _, err := lines.ReadString('\n'); err != nil {
			break // reported by Wait
		}
	}
	stop := watchMemory(cmd.Process.Pid)
	first = time.Since(begin)
	_, err = io.Copy(io.Discard, lines)
	peak = stop()
	return first, time.Since(begin), peak, errors.Join(err, cmd.Wait())
}
