package main

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

const rounds = 41

// startUp measures whole runs of small commands, interleaved, in multiples of the
// smallest Go program.
func startUp(l *lab) error {
	subjects, err := prepare(l)
	if err != nil {
		return err
	}
	for range rounds {
		for _, s := range subjects {
			if err := s.once(); err != nil {
				return err
			}
		}
	}
	for _, s := range subjects {
		if err := s.weigh(filepath.Join(l.dir, "peak")); err != nil {
			return err
		}
	}
	report(subjects)
	return nil
}

// subject is one command line that is measured.
type subject struct {
	name    string
	path    string
	args    []string
	home    string
	samples []sample
	peak    int64 // bytes; 0 where the system does not say
}

// sample is what one run took.
type sample struct {
	wall, cpu time.Duration
}

// prepare lists the subjects; the first is the floor.
func prepare(l *lab) ([]*subject, error) {
	dir := l.dir
	home, empty := filepath.Join(dir, "fixture"), filepath.Join(dir, "empty")
	if err := os.CopyFS(home, os.DirFS(filepath.Join("testdata", "fixtures", "18.3", "home"))); err != nil {
		return nil, fmt.Errorf("run it from the project's root: %w", err)
	}
	if err := os.Mkdir(empty, 0o700); err != nil {
		return nil, err
	}
	subjects := []*subject{
		{name: "go hello", path: filepath.Join(dir, "hello"), home: empty},
		{name: "tsh version", path: l.tsh, args: []string{"version"}, home: empty},
		{name: "tsh status", path: l.tsh, args: []string{"status"}, home: home},
		{name: "tsh __complete ssh", path: l.tsh, args: []string{"__complete", "ssh", ""}, home: home},
	}
	if l.ssh != "" {
		subjects = append(subjects, &subject{name: "ssh -V", path: l.ssh, args: []string{"-V"}, home: empty})
	}
	if l.reference != "" {
		subjects = append(subjects,
			&subject{name: "reference version", path: l.reference, args: []string{"version", "--client"}, home: empty},
			&subject{name: "reference status", path: l.reference, args: []string{"status"}, home: home})
	}
	return subjects, nil
}

func (s *subject) once() error {
	cmd := s.command(s.path, s.args...)
	start := time.Now()
	err := cmd.Run()
	wall := time.Since(start)
	if err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	s.samples = append(s.samples, sample{
		wall: wall,
		cpu:  cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(),
	})
	return nil
}

func (s *subject) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), "TELEPORT_HOME="+s.home)
	return cmd
}

// weigh runs it once more to see how much memory it takes.
func (s *subject) weigh(peak string) error {
	out, err := s.command(peak, append([]string{s.path}, s.args...)...).Output()
	if err == nil {
		_, err = fmt.Sscan(string(out), &s.peak)
	}
	return err
}

func report(subjects []*subject) {
	floor := subjects[0].median()
	fmt.Printf("%-18s %10s %6s %10s %6s %10s %6s   (medians of %d; x = times go hello)\n", "", "wall", "x", "cpu", "x", "memory", "x", rounds)
	for _, s := range subjects {
		m := s.median()
		fmt.Printf("%-18s %8.2fms %6.2f %8.2fms %6.2f %8.1fMB %6.2f\n", s.name,
			milliseconds(m.wall), ratio(m.wall, floor.wall), milliseconds(m.cpu), ratio(m.cpu, floor.cpu), float64(s.peak)/1e6, ratio(s.peak, subjects[0].peak))
	}
}

func (s *subject) median() sample {
	return sample{
		wall: middle(s.samples, func(x sample) time.Duration { return x.wall }),
		cpu:  middle(s.samples, func(x sample) time.Duration { return x.cpu }),
	}
}

func middle[T cmp.Ordered](samples []sample, of func(sample) T) T {
	values := make([]T, len(samples))
	for i, s := range samples {
		values[i] = of(s)
	}
	slices.Sort(values)
	return values[len(values)/2]
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func ratio[T ~int64](a, b T) float64 {
	if b == 0 {
		return 0
	}
	return float64(a) / float64(b)
}
