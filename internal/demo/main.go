// Command demo shows the main job with nothing else set up: it builds tsh and
// a dev cluster, starts the cluster in a temporary directory, logs a person in
// on a terminal, looks around, runs a command on a server and a program that
// uses the login. Nothing stays behind. On a terminal it then offers a shell in
// which everything is set up.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "tsh-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	d := &demo{dir: dir}
	defer d.stop()
	for _, step := range []func(context.Context) error{d.build, d.startCluster, d.addUser, d.login, d.look, d.programs, d.robot} {
		if err := step(ctx); err != nil {
			if ctx.Err() != nil {
				return errors.New("interrupted")
			}
			if logged := d.clusterLog.String(); logged != "" {
				err = fmt.Errorf("%w\nthe dev cluster logged:\n%s", err, logged)
			}
			return err
		}
	}
	if !term.IsTerminal(int(os.Stdin.Fd())) || !term.IsTerminal(int(os.Stdout.Fd())) {
		return nil
	}
	return d.shell(ctx)
}
