// Command soak is what takes longer than a test may. It kills processes that change a
// profile directory at random moments, then lets a crowd of tsh processes log in, look,
// run a command and log out in one directory at once, beside a reader that never stops.
// It prints what happened; whatever must not happen makes it fail.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/seed-087d674e/tsh/internal/release"
)

// plan is what is asked for.
type plan struct {
	kills      int
	everything bool
	processes  int
	lasting    time.Duration
}

func main() {
	var p plan
	flag.IntVar(&p.kills, "kills", 10_000, "how many processes are killed")
	flag.BoolVar(&p.everything, "everything", false, "before that, every fault at every operation and every system call, of which tests leave some out")
	flag.IntVar(&p.processes, "processes", 32, "how many tsh are at work at once")
	flag.DurationVar(&p.lasting, "for", time.Minute, "for how long")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := run(ctx, p); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, p plan) (err error) {
	dir, err := os.MkdirTemp("", "tsh-soak-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	b := bench{dir}
	if err := b.build(ctx); err != nil {
		return err
	}
	fmt.Printf("%s/%s, %d processors\n", runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	if p.everything {
		if err := b.test(ctx, "^(TestEveryFaultAtEveryStep|TestSystemCallsThatGoWrong)$", "TSH_FAULTS=all"); err != nil {
			return err
		}
	}
	if p.kills > 0 {
		if err := b.test(ctx, "^TestRandomKills$", "TSH_FAULTS=all", "TSH_SOAK_KILLS="+strconv.Itoa(p.kills)); err != nil {
			return err
		}
	}
	if p.processes == 0 {
		return nil
	}
	return b.crowd(ctx, p)
}

// bench is a directory with what is needed.
type bench struct{ dir string }

func (b bench) path(name string) string { return filepath.Join(b.dir, name) }

// build makes tsh as it is released and the tests of the profile directory, which are also the process that is killed and the reader.
func (b bench) build(ctx context.Context) error {
	tests := exec.CommandContext(ctx, "go", "test", "-c", "-o", b.path("profile.test"), "./profile")
	tests.Stdout, tests.Stderr = os.Stdout, os.Stderr
	for _, cmd := range []*exec.Cmd{release.Command(ctx, b.dir+string(filepath.Separator), "./cmd/tsh"), tests} {
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("go %s: %w", cmd.Args[1], err)
		}
	}
	return nil
}

func (b bench) test(ctx context.Context, name string, env ...string) error {
	cmd := exec.CommandContext(ctx, b.path("profile.test"), "-test.run="+name, "-test.v", "-test.timeout=2h")
	cmd.Dir = "profile"
	cmd.Env = append(append(os.Environ(), "TMPDIR="+b.dir), env...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}
