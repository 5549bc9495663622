package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"time"
)

const (
	lowRTT, highRTT = 25 * time.Millisecond, 125 * time.Millisecond
	slopeRuns       = 5
)

// slopes shows how many round trips things take.
func slopes(l *lab) error {
	defer l.net.SetDelay(0)
	if err := l.slope("tsh login", func() error {
		_, err := l.run(l.loginCommand())
		return err
	}); err != nil {
		return err
	}
	if l.reference != "" {
		fmt.Println("  left out: reference login (it asks on a terminal)")
	}
	for _, c := range l.clients() {
		if err := l.slope(c.name+" true", func() error {
			_, err := l.run(c.command("true"))
			return err
		}); err != nil {
			return err
		}
	}
	// A node of the cluster offers to resume sessions, which OpenSSH's server does not.
	for _, args := range [][]string{{"ssh", l.me + "@node-1", "true"}, {"ssh", "--no-resume", l.me + "@node-1", "true"}} {
		if err := l.slope("tsh "+args[0]+" (cluster's node"+map[bool]string{true: ", --no-resume"}[len(args) == 4]+")", func() error {
			_, err := l.run(l.command(l.tsh, args...))
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

func (l *lab) slope(name string, run func() error) error {
	trips, err := l.net.Slope(lowRTT, highRTT, slopeRuns, run)
	if err != nil {
		return err
	}
	fmt.Printf("  %-42s %5.1f\n", name, trips)
	return nil
}

// proxySSH shows what lies before the first byte, and what many at once cost.
func proxySSH(l *lab) error {
	defer l.net.SetDelay(0)
	direct, err := l.net.Slope(lowRTT, highRTT, slopeRuns, func() error {
		conn, err := net.Dial("tcp", l.sshdAddr)
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = io.ReadFull(conn, make([]byte, 4))
		return err
	})
	if err != nil {
		return err
	}
	programs := []struct{ name, path string }{{"tsh proxy ssh", l.tsh}, {"reference proxy ssh", l.reference}}
	for _, p := range programs {
		if p.path == "" {
			continue
		}
		var peak int64
		trips, err := l.net.Slope(lowRTT, highRTT, slopeRuns, func() error {
			memory, err := l.firstByte(l.command(p.path, "proxy", "ssh", l.me+"@"+sshdNode))
			peak = max(peak, memory)
			return err
		})
		if err != nil {
			return err
		}
		fmt.Printf("  %-28s %5.1f round trips more than a direct connection, %.1f MB\n", p.name, trips-direct, float64(peak)/1e6)
	}
	for _, n := range []int{50, 100} {
		for _, p := range programs {
			if p.path != "" {
				l.atOnce(p.name, n, func() error {
					_, err := l.firstByte(l.command(p.path, "proxy", "ssh", l.me+"@"+sshdNode))
					return err
				})
			}
		}
	}
	return nil
}

// firstByte ends a program once it has shown the server's first bytes.
func (l *lab) firstByte(cmd *exec.Cmd) (peak int64, err error) {
	in, err := cmd.StdinPipe()
	if err != nil {
		return 0, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	late := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	stop := watchMemory(cmd.Process.Pid)
	if _, err = io.WriteString(in, "SSH-2.0-bench\r\n"); err == nil {
		_, err = io.ReadFull(out, make([]byte, 4))
	}
	peak = stop()
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	return peak, err
}

// atOnce runs n programs at once and shows how long all took and how many failed.
func (l *lab) atOnce(name string, n int, run func() error) {
	results := make(chan error, n)
	begin := time.Now()
	for range n {
		go func() { results <- run() }()
	}
	failed := 0
	var first error
	for range n {
		if err := <-results; err != nil {
			failed++
			first = errors.Join(first, err)
		}
	}
	fmt.Printf("  %-28s %3d at once %8.2f s, %d failed\n", name, n, time.Since(begin).Seconds(), failed)
}
