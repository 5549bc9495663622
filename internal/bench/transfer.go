package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

const (
	bulkSize  = 256 << 20
	bulkRuns  = 3
	smallRTT  = 50 * time.Millisecond
	smallTsh  = 5000 // files
	smallSlow = 50   // files for clients that take a round trip and more for each
)

// rate runs the commands in turns and shows medians, as multiples of the one that is
// called base.
func rate(base string, size int, names []string, run map[string]func() error) error {
	times := make(map[string][]time.Duration)
	for range bulkRuns {
		for _, name := range names {
			begin := time.Now()
			if err := run[name](); err != nil {
				return err
			}
			times[name] = append(times[name], time.Since(begin))
		}
	}
	speed := func(name string) float64 {
		slices.Sort(times[name])
		return float64(size) / 1e6 / times[name][len(times[name])/2].Seconds()
	}
	for _, name := range names {
		line := fmt.Sprintf("  %-32s %7.0f MB/s", name, speed(name))
		if len(times[base]) > 0 {
			line += fmt.Sprintf("  %.2f x %s", speed(name)/speed(base), base)
		}
		fmt.Println(line)
	}
	return nil
}

// bigFile makes a file that does not compress.
func (l *lab) bigFile() (string, error) {
	path := filepath.Join(l.dir, "big")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	data := make([]byte, bulkSize)
	_, _ = rand.Read(data)
	return path, os.WriteFile(path, data, 0o600)
}

// bulk moves data through one session, both ways.
func bulk(l *lab) error {
	big, err := l.bigFile()
	if err != nil {
		return err
	}
	for _, way := range []string{"download", "upload"} {
		var names []string
		run := make(map[string]func() error)
		for _, c := range l.clients() {
			name := way + " " + c.name
			names = append(names, name)
			run[name] = func() error {
				if way == "download" {
					return l.pour(c.command("cat "+big), "")
				}
				return l.pour(c.command("cat >/dev/null"), big)
			}
		}
		if err := rate(way+" ssh direct", bulkSize, names, run); err != nil {
			return err
		}
	}
	return nil
}

// pour runs a command with a file as its input, and throws its output away.
func (l *lab) pour(cmd *exec.Cmd, input string) error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	cmd.Stdin, cmd.Stdout = null, null
	if input != "" {
		f, err := os.Open(input)
		if err != nil {
			return err
		}
		defer f.Close()
		cmd.Stdin = f
	}
	_, err = l.run(cmd)
	return err
}

// copier is a program that copies files; remote is how it calls the server.
type copier struct {
	name, remote string
	command      func(args ...string) *exec.Cmd
}

func (l *lab) copiers() []copier {
	var list []copier // what the others are compared with comes first
	if scp, err := exec.LookPath("scp"); err == nil {
		stock := func(args ...string) *exec.Cmd {
			return l.command(scp, append([]string{"-q", "-F", l.sshConfig}, args...)...)
		}
		list = append(list, copier{"scp direct", "direct:", stock}, copier{"scp + proxy ssh", sshdNode + ".dev.example:", stock})
	}
	if l.reference != "" {
		list = append(list, copier{"reference scp", l.me + "@" + sshdNode + ":", func(args ...string) *exec.Cmd {
			return l.command(l.reference, append([]string{"scp", "-q"}, args...)...)
		}})
	}
	return append(list, copier{"tsh scp", l.me + "@" + sshdNode + ":", func(args ...string) *exec.Cmd {
		return l.command(l.tsh, append([]string{"scp", "-q"}, args...)...)
	}})
}

// copyBig copies one file of 256 MB.
func copyBig(l *lab) error {
	big, err := l.bigFile()
	if err != nil {
		return err
	}
	target := filepath.Join(l.dir, "copy")
	for _, way := range []string{"download", "upload"} {
		var names []string
		run := make(map[string]func() error)
		for _, c := range l.copiers() {
			name := way + " " + c.name
			names = append(names, name)
			from, to := big, c.remote+target
			if way == "download" {
				from, to = c.remote+big, target
			}
			run[name] = func() error {
				_, err := l.run(c.command(from, to))
				return errors.Join(err, os.Remove(target))
			}
		}
		if err := rate(way+" scp direct", bulkSize, names, run); err != nil {
			return err
		}
	}
	return nil
}

// copySmall copies directories of small files over a slow network. Clients that take
// files one by one get fewer of them: the time for each is what is compared.
func copySmall(l *lab) error {
	l.net.SetDelay(smallRTT / 2)
	defer l.net.SetDelay(0)
	var base float64
	for _, c := range l.copiers() {
		n := smallSlow
		if c.name == "tsh scp" {
			n = smallTsh
		}
		dir, err := l.smallFiles(n)
		if err != nil {
			return err
		}
		for _, way := range []string{"upload", "download"} {
			target := filepath.Join(l.dir, "tree")
			from, to := dir, c.remote+target
			if way == "download" {
				from, to = c.remote+dir, target
			}
			begin := time.Now()
			if _, err := l.run(c.command("-r", from, to)); err != nil {
				return err
			}
			each := time.Since(begin).Seconds() / float64(n)
			copied, err := os.ReadDir(target)
			if err != nil || len(copied) != n {
				return fmt.Errorf("%s copied %d of %d files: %w", c.name, len(copied), n, err)
			}
			if err := os.RemoveAll(target); err != nil {
				return err
			}
			line := fmt.Sprintf("  %-9s %-18s %5d files, %8.2f ms each", way, c.name, n, each*1000)
			if c.name == "scp direct" {
				base = max(base, each)
			} else if base > 0 {
				line += fmt.Sprintf("  %6.1f x as fast as scp direct", base/each)
			}
			fmt.Println(line)
		}
	}
	return nil
}

func (l *lab) smallFiles(n int) (string, error) {
	dir := filepath.Join(l.dir, fmt.Sprintf("small-%d", n))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	for i := range n {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("file-%d", i)), fmt.Appendf(nil, "this is file %d\n", i), 0o600); err != nil {
			return "", err
		}
	}
	return dir, nil
}
