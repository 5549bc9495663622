package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"github.com/seed-087d674e/tsh/sshclient"
	"github.com/seed-087d674e/tsh/sshclient/forward"
)

// forwardOptions are the flags of ssh about ports, and about what runs beside them.
type forwardOptions struct {
	specs      []forward.Spec
	gateway    bool
	nothing    bool     // -N: no remote command
	background bool     // -f
	here       bool     // --local: the command runs on this machine
	words      []string // the command, for --local
}

func (o *forwardOptions) addFlags(fs *pflag.FlagSet) {
	fs.VarP(&forwardFlag{forward.Local, &o.specs}, "local-forward", "L", "forward a port of this machine to what the server reaches, `[BIND:]PORT:HOST:HOSTPORT`; either side may be a socket's path")
	fs.VarP(&forwardFlag{forward.Remote, &o.specs}, "remote-forward", "R", "forward a port of the server to what this machine reaches, `[BIND:]PORT[:HOST:HOSTPORT]`; SOCKS without HOST")
	fs.VarP(&forwardFlag{forward.Dynamic, &o.specs}, "dynamic-forward", "D", "serve SOCKS on this machine, connecting from the server, `[BIND:]PORT`")
	fs.BoolVarP(&o.gateway, "gateway-ports", "g", false, "let other machines use the ports of -L and -D")
	fs.BoolVarP(&o.nothing, "no-remote-exec", "N", false, "run no command; forward until ^C")
	fs.BoolVarP(&o.background, "fork-after-authentication", "f", false, "go to the background once the command has begun, with -N once all forwards are there")
	fs.BoolVar(&o.here, "local", false, "run the command on this machine while the forwards are there, or a shell")
}

// forwardFlag is a flag that may be given several times.
type forwardFlag struct {
	kind  forward.Kind
	specs *[]forward.Spec
}

func (f *forwardFlag) String() string { return "" }
func (f *forwardFlag) Type() string   { return "string" }

// Set implements pflag.Value.
func (f *forwardFlag) Set(value string) error {
	spec, err := forward.Parse(f.kind, value)
	if err != nil {
		return err
	}
	*f.specs = append(*f.specs, spec)
	return nil
}

// Append, Replace and GetSlice implement pflag.SliceValue: the flag may be repeated.
func (f *forwardFlag) Append(value string) error { return f.Set(value) }

// Replace implements pflag.SliceValue.
func (f *forwardFlag) Replace(values []string) error {
	var others []forward.Spec
	for _, s := range *f.specs {
		if s.Kind != f.kind {
			others = append(others, s)
		}
	}
	*f.specs = others
	for _, value := range values {
		if err := f.Set(value); err != nil {
			return err
		}
	}
	return nil
}

// GetSlice implements pflag.SliceValue.
func (f *forwardFlag) GetSlice() (values []string) {
	for _, s := range *f.specs {
		if s.Kind == f.kind {
			values = append(values, s.String())
		}
	}
	return values
}

// validate refuses what excludes each other. words are the command.
func (o *forwardOptions) validate(words []string) error {
	o.words = words
	switch {
	case o.nothing && o.here:
		return usagef("-N and --local exclude each other")
	case o.nothing && len(words) > 0:
		return usagef("-N runs no command, and there is one")
	case o.background && o.here:
		return usagef("-f and --local exclude each other")
	case o.background && !canDetach:
		return usagef("-f: programs cannot go to the background on this operating system")
	case o.background && !o.nothing && len(words) == 0:
		return usagef("-f needs a command, or -N")
	}
	return nil
}

// forwards are the forwards of a connection at work.
type forwards struct {
	_      [0]func() // never compared
	app    *app
	set    *forward.Set
	strict bool
	asked  chan struct{} // closed when the node has answered all requests
	failed error         // what it refused; readable then
}

// startForwards listens here, and asks the node to listen; answers are waited for
// in ready.
func (a *app) startForwards(ctx context.Context, client *sshclient.Client, o sshOptions) (*forwards, error) {
	f := &forwards{app: a, strict: o.exitOnForwardFailure, asked: make(chan struct{})}
	var err error
	f.set, err = forward.Listen(forward.Config{
		Client: client, Specs: o.forward.specs, GatewayPorts: o.forward.gateway, Note: a.sayMeanwhile,
	})
	if err != nil {
		return nil, err
	}
	go func() {
		defer close(f.asked)
		f.failed = f.set.Request(ctx)
	}()
	return f, nil
}

// ready waits for the node's answers. Forwards that it refuses are an error only
// with ExitOnForwardFailure; they are told in any case.
func (f *forwards) ready() error {
	<-f.asked
	if f.failed == nil || f.strict {
		return f.failed
	}
	for _, line := range strings.Split(f.failed.Error(), "\n") {
		f.app.failMeanwhile(line)
	}
	return nil
}

// sayMeanwhile says what is good to know while a session may have the terminal, where
// a new line does not begin a line.
func (a *app) sayMeanwhile(line string) {
	if a.guard.armed() {
		line += "\r"
	}
	if a.ui.hush == hushNothing {
		fmt.Fprintln(a.ui.err, line)
	}
}

// failMeanwhile is sayMeanwhile for what has failed.
func (a *app) failMeanwhile(line string) {
	if a.guard.armed() {
		line += "\r"
	}
	if a.ui.hush != hushAll {
		fmt.Fprintln(a.ui.err, a.ui.paint("31", "ERROR: ")+line)
	}
}

// runConnected does on a connection what the flags say.
func (a *app) runConnected(ctx context.Context, client *sshclient.Client, s *session, o sshOptions) error {
	if o.forward.idle() {
		return a.runRemote(ctx, client, s, o)
	}
	f, err := a.startForwards(ctx, client, o)
	if err != nil {
		return err
	}
	defer f.set.Close()
	switch {
	case o.forward.nothing:
		err = a.onlyForward(ctx, client, f, o)
	case o.forward.here:
		err = a.runHere(ctx, client, f, o)
	default:
		o.before = f.ready
		if err = a.runRemote(ctx, client, s, o); begun(err) {
			f.linger(ctx, client)
		}
	}
	return err
}

// idle reports whether there is nothing to do but the command.
func (o *forwardOptions) idle() bool {
	return len(o.specs) == 0 && !o.nothing && !o.here
}

// begun reports whether a command that ended with err has run to its end.
func begun(err error) bool {
	return err == nil || isA[*sshclient.ExitError](err)
}

// onlyForward forwards until ^C, which is its orderly end, or until the connection
// is over.
func (a *app) onlyForward(ctx context.Context, client *sshclient.Client, f *forwards, o sshOptions) error {
	if err := f.ready(); err != nil {
		return err
	}
	o.forward.detach()
	err := client.Wait(ctx)
	var signal *interrupted
	if errors.As(context.Cause(ctx), &signal) && signal.signal == syscall.SIGINT {
		a.ui.newline()
		return nil
	}
	return &begunError{err}
}

// linger waits for connections that are still in use when the command has ended,
// as OpenSSH does.
func (f *forwards) linger(ctx context.Context, client *sshclient.Client) {
	const patience = 2 * time.Second
	brief, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if n := f.set.Wait(brief); n > 0 && ctx.Err() == nil {
		f.app.sayMeanwhile(fmt.Sprintf("Waiting for %d forwarded connections to end (^C ends them)", n))
		alive, cancel := context.WithCancel(ctx)
		defer cancel()
		go client.Wait(alive) // a connection that is dead ends them
		f.set.Wait(ctx)
	}
}
