// Package fanout runs one command on many nodes at once. Use Job.Run.
//
// Every line of output carries the name of the node it comes from and is written in one
// piece. What ends on one node ends there: the others go on.
package fanout

import (
	"context"
	"io"
	"sync"

	"github.com/seed-087d674e/tsh/sshclient"
)

const (
	// DefaultAtOnce is how many nodes have a session at the same time unless the job
	// says otherwise: they take 0.1 MB each. A proxy allows 1000 on a connection.
	DefaultAtOnce = 300
	// maxDials is how many logins are under way at the same time: more would not be
	// faster, and each of them has its patience.
	maxDials = 50
)

// Node is a server to run on.
type Node struct {
	Name string // as the cluster has it, untrusted
	ID   string // tells those of one name apart; untrusted, too

	Label string // unique in a job and fit to print: see Unique

	pace pace
}

// Job is what to run and where its output goes.
type Job struct {
	// On logs in to a node, by way of Node.Over, and lets use work there; it may do so again, with another
	// login, where use returns an *sshclient.RefusedError. Of a command that has begun use returns no error.
	On func(ctx context.Context, n *Node, use func(*sshclient.Client) error) error
	// Args and Env are those of sshclient.Command. There is no input.
	Args string
	Env  map[string]string
	// AtOnce is how many nodes run at the same time; 0 is DefaultAtOnce.
	AtOnce int
	// Stdout and Stderr get lines that begin with "[label] ".
	Stdout, Stderr Output
	// Logs, if set, gets the output of each node as it is.
	Logs *Logs
}

// Result is how it went on a node: Err is nil for status 0, and otherwise that of
// Job.On, of the logs or of sshclient.Client.Run.
type Result struct {
	*Node
	Err error
}

// Run runs the job and returns when it is over everywhere, with the results in the order
// of nodes, whose labels must be unique. An output that cannot be written to is the only
// error: it ends the job. When ctx ends, every session is ended, and what has not come to
// its end has the cause of ctx as its result.
func (j *Job) Run(ctx context.Context, nodes []*Node) ([]*Result, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r := &runner{Job: j, dials: make(chan struct{}, maxDials)}
	r.out.Output, r.out.broken = j.Stdout, cancel
	r.err.Output, r.err.broken = j.Stderr, cancel
	atOnce := j.AtOnce
	if atOnce <= 0 {
		atOnce = DefaultAtOnce
	}
	results := make([]*Result, len(nodes))
	work := make(chan *Result)
	var workers sync.WaitGroup
	for range min(atOnce, len(nodes)) {
		workers.Go(func() {
			for result := range work {
				result.Err = r.one(ctx, result.Node)
			}
		})
	}
	for i, node := range nodes {
		results[i] = &Result{Node: node}
		work <- results[i]
	}
	close(work)
	workers.Wait()
	for _, out := range []*sharedOutput{&r.out, &r.err} {
		if err := out.failed(); err != nil {
			return results, err
		}
	}
	return results, nil
}

// runner is a job under way.
type runner struct {
	*Job
	dials    chan struct{} // has a token for each login under way
	out, err sharedOutput
}

// one runs the command on a node, when it is its turn to log in.
func (r *runner) one(ctx context.Context, node *Node) error {
	select {
	case r.dials <- struct{}{}:
	case <-ctx.Done():
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	in := sync.OnceFunc(func() { <-r.dials })
	defer in()
	var outcome error
	err := r.On(ctx, node, func(client *sshclient.Client) error {
		in()
		begun, err := r.command(ctx, client, node)
		if begun {
			outcome, err = err, nil
		}
		return err
	})
	if err == nil {
		err = outcome
	}
	return err
}

// command runs the command on a node that has let us in. What went wrong once it has begun
// is the outcome, whatever the node says, and no refusal: it is not to begin again.
func (r *runner) command(ctx context.Context, client *sshclient.Client, node *Node) (begun bool, err error) {
	out, errs := &lines{to: &r.out, node: node}, &lines{to: &r.err, node: node}
	command := sshclient.Command{Args: r.Args, Env: r.Env, Stdout: out, Stderr: errs, Started: func() { begun = true }}
	var log *nodeLog
	if r.Logs != nil {
		if log, err = r.Logs.open(node); err != nil {
			return false, err
		}
		command.Stdout, command.Stderr = tee{log.stdout, out}, tee{log.stderr, errs}
	}
	err = client.Run(ctx, command)
	out.end(ctx)
	errs.end(ctx)
	if closed := log.close(); err == nil {
		err = closed
	}
	return begun, err
}

// tee writes to both, to the second only what the first took.
type tee struct{ log, out io.Writer }

func (t tee) Write(p []byte) (int, error) {
	if n, err := t.log.Write(p); err != nil {
		return n, err
	}
	return t.out.Write(p)
}
