package main

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/seed-087d674e/tsh/api"
	"github.com/seed-087d674e/tsh/internal/text"
	"github.com/seed-087d674e/tsh/proxy"
	"github.com/seed-087d674e/tsh/sshclient"
	"github.com/seed-087d674e/tsh/sshclient/fanout"
)

// maxAtOnce is what a proxy allows on one connection.
const maxAtOnce = 1000

// manyGCPercent is how much garbage there may be beside what is in use.
const manyGCPercent = 30

// manyStreamBuffer is what may come from each of many servers before it is read, in bytes.
const manyStreamBuffer = 64 << 10

// maxCandidates is how many servers are listed where one should have been named.
const maxCandidates = 20

// manyOptions are the flags of ssh for servers that are named by their labels.
type manyOptions struct {
	atOnce int
	logDir string

	labels map[string]string // nil: one server is named
	typed  string            // the labels as they were typed
	// dialed waits for the connection to the proxy that is made while the servers are
	// looked up; nil if there is none.
	dialed func() (*proxy.Transport, error)
}

func (o *manyOptions) addFlags(fs *pflag.FlagSet) {
	fs.IntVar(&o.atOnce, "parallel", 0, "with labels: run on at most `N` servers at the same time (default 300)")
	fs.StringVar(&o.logDir, "log-dir", "", "with labels: write what each server prints to files in `DIR`, too")
}

// validate reads the flags once the target is known.
func (o *manyOptions) validate(target targetSpec) error {
	if o.atOnce < 0 || o.atOnce > maxAtOnce {
		return usagef("--parallel=%d: it is a number up to %d", o.atOnce, maxAtOnce)
	}
	if o.labels, o.typed = target.labels, target.text; o.labels == nil && o.logDir != "" {
		return usagef("--log-dir is for servers that are named by their labels, KEY=VALUE")
	}
	return nil
}

// forOne names what was asked for that one server alone can do; "" if nothing was.
func (o *sshOptions) forOne() string {
	for _, wish := range []struct {
		asked bool
		name  string
	}{
		{o.tty > 0, "-t"}, {o.forward.nothing, "-N"}, {len(o.forward.specs) > 0, "forwarding"}, {o.forward.background, "-f"},
		{o.forward.here, "--local"}, {o.agent != "" && o.agent != "no", "forwarding an agent"}, {(o.x11.on || o.x11.trusted) && !o.x11.off, "X11"},
		{o.subsystem, "-s"}, {o.command == "", "a shell"},
	} {
		if wish.asked {
			return wish.name
		}
	}
	return ""
}

// sshByLabels runs the command on the servers that have the labels: on one like on one
// that was named, and on several at the same time.
func (a *app) sshByLabels(ctx context.Context, s *session, o sshOptions) error {
	several := o.forOne() == ""
	if several {
		a.streamBuffer = manyStreamBuffer
	}
	o.many.dialed = a.dialProxyBeside(ctx, s)
	nodes, err := a.labelled(ctx, s, o.many.labels)
	switch {
	case err != nil:
	case len(nodes) == 0:
		err = withHint(fmt.Errorf("%w: no server has the labels %s, or your roles show you none", api.ErrNotFound, o.many.typed), hintMissing)
	case len(nodes) == 1 && o.many.logDir == "":
		return a.sshToOne(ctx, s, nodes[0], o)
	case !several:
		err = a.needOne(nodes, o)
	}
	transport, dialErr := o.many.dialed()
	if dialErr == nil {
		defer transport.Close()
	}
	if err != nil {
		return err
	}
	if dialErr != nil {
		return dialErr
	}
	return a.runMany(ctx, s, transport, nodes, o)
}

// sshToOne goes to the only server with the labels, over the connection that is there
// unless that is one for many, which is slow for one.
func (a *app) sshToOne(ctx context.Context, s *session, node *api.Node, o sshOptions) error {
	o.target.Host = node.Metadata.Name
	if a.streamBuffer != 0 {
		if transport, err := o.many.dialed(); err == nil {
			_ = transport.Close()
		}
		a.streamBuffer, o.many.dialed = 0, nil
	}
	return a.sshWith(ctx, s, o)
}

// dialProxyBeside connects to the proxy while something else goes on.
func (a *app) dialProxyBeside(ctx context.Context, s *session) func() (*proxy.Transport, error) {
	var transport *proxy.Transport
	var err error
	done := make(chan struct{})
	dial := func() {
		transport, err = a.dialProxy(ctx, s)
		close(done)
	}
	if a.globals.jump != "" { // which decides on the cluster
		dial()
	} else {
		go dial()
	}
	return func() (*proxy.Transport, error) {
		<-done
		return transport, err
	}
}

// proxy is the connection to the proxy: the one that is being made, or a new one.
func (o *manyOptions) proxy(ctx context.Context, a *app, s *session) (*proxy.Transport, error) {
	if o.dialed != nil {
		return o.dialed()
	}
	return a.dialProxy(ctx, s)
}

// labelled lists the servers with these labels. Nothing runs before the list is
// complete: half of it would do half of what was meant.
func (a *app) labelled(ctx context.Context, s *session, labels map[string]string) ([]*api.Node, error) {
	nodes, err := a.listNodes(ctx, s, lsOptions{labels: labels})
	if err != nil {
		return nil, err
	}
	for _, n := range nodes {
		if _, err := sshclient.ParseTarget(n.Metadata.Name); err != nil {
			return nil, fmt.Errorf("the cluster lists a server with an ID that cannot be used: %w", err)
		}
	}
	return nodes, nil
}

// needOne shows the servers from which one has to be chosen.
func (a *app) needOne(nodes []*api.Node, o sshOptions) error {
	_ = a.writeNodes(a.io.err, nodes[:min(len(nodes), maxCandidates)], true)
	if more := len(nodes) - maxCandidates; more > 0 {
		a.ui.say("… and %d more", more)
	}
	what, hint := o.forOne(), "name one of them by its ID: tsh ssh ACCOUNT@ID"
	if what == "a shell" {
		hint = "give a command to run it on all of them, or " + hint
	}
	return withHint(fmt.Errorf("%w: %d have the labels %s, and %s is for one", api.ErrAmbiguous, len(nodes), o.many.typed, what), "%s", hint)
}

// runMany runs the command on all the nodes. What happens on one of them is no error of
// the run: it is reported, and makes the exit code 1.
func (a *app) runMany(ctx context.Context, s *session, transport *proxy.Transport, nodes []*api.Node, o sshOptions) error {
	hosts := make([]*fanout.Node, len(nodes))
	for i, n := range nodes {
		hosts[i] = &fanout.Node{Name: n.Spec.Hostname, ID: n.Metadata.Name}
	}
	hosts = fanout.Unique(hosts)
	a.banner = a.oneBanner()
	proofs := a.newSessionMFA(s, len(hosts))
	defer proofs.close()
	proofs.names = make(map[string]string)
	for _, n := range hosts {
		proofs.names[n.ID] = n.Label
	}
	env := sessionEnv(s.profile.WebProxyAddr)
	o.addEnv(env)
	job := fanout.Job{
		Args:   o.command,
		Env:    env,
		AtOnce: o.many.atOnce,
		Stdout: fanout.Output{W: a.io.out, Terminal: term.IsTerminal(int(a.io.out.Fd()))},
		Stderr: fanout.Output{W: a.io.err, Terminal: term.IsTerminal(int(a.io.err.Fd()))},
		On: func(ctx context.Context, n *fanout.Node, use func(*sshclient.Client) error) error {
			target := o.target
			target.Host = n.ID
			return proofs.onNode(ctx, n.Over(transport), target, use)
		},
	}
	if o.many.logDir != "" {
		logs, err := fanout.OpenLogs(o.many.logDir)
		if err != nil {
			return fmt.Errorf("--log-dir: %w", err)
		}
		defer logs.Close()
		job.Logs = logs
	}
	// Hundreds of connections are what fills the memory, and they are there to stay.
	defer debug.SetGCPercent(debug.SetGCPercent(manyGCPercent))
	results, err := job.Run(ctx, hosts)
	if err != nil && ctx.Err() == nil { // nobody reads any more, or the disk is full
		return &begunError{err}
	}
	if job.Logs != nil {
		if failed := job.Logs.Write(results); failed != nil && err == nil {
			err = fmt.Errorf("--log-dir: %w", failed)
		}
	}
	if failures := a.reportMany(ctx, results); err == nil && failures > 0 {
		err = &sshclient.ExitError{Status: exitFailure} // all of it has been said
	}
	if err != nil {
		return &begunError{err}
	}
	return nil
}

// oneBanner shows what servers say before the login, each text once: most of them have
// the same.
func (a *app) oneBanner() func(string) {
	const most = 16
	var mu sync.Mutex
	shown := make(map[string]bool)
	return func(message string) {
		mu.Lock()
		defer mu.Unlock()
		if !shown[message] && len(shown) < most {
			shown[message] = true
			a.ui.note("%s", message)
		}
	}
}

// reportMany says on stderr where the command failed and why, and how many there were. It
// returns how many have not succeeded.
func (a *app) reportMany(ctx context.Context, results []*fanout.Result) (failures int) {
	hint := ""
	for _, r := range results {
		if r.Err == nil {
			continue
		}
		failures++
		reason := text.Line(r.Err.Error())
		if ctx.Err() != nil && errors.Is(r.Err, context.Cause(ctx)) {
			reason = "not finished: " + context.Cause(ctx).Error()
		}
		a.ui.say("[%s] %s", r.Label, reason)
		var hinted *hintedError
		if hint == "" && errors.As(r.Err, &hinted) {
			hint = hinted.hint
		}
	}
	if hint != "" {
		a.ui.say("%s", hint)
	}
	a.ui.say("%d of %d servers succeeded, %d failed", len(results)-failures, len(results), failures)
	return failures
}
