package fanout

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"

	"github.com/seed-087d674e/tsh/sshclient"
)

func someNodes(n int) []*Node {
	nodes := make([]*Node, n)
	for i := range nodes {
		nodes[i] = &Node{Name: fmt.Sprint("host-", i), ID: fmt.Sprint(i)}
	}
	return Unique(nodes)
}

// busy counts how many are at it at the same time, and lets them go on once as many
// have come as are expected.
type busy struct {
	mu        sync.Mutex
	now, most int
	expected  int
	full      chan struct{}
}

func (b *busy) enter() {
	b.mu.Lock()
	b.now++
	b.most = max(b.most, b.now)
	if b.now == b.expected {
		close(b.full)
		b.expected = 0
	}
	b.mu.Unlock()
	<-b.full
}

func (b *busy) leave() {
	b.mu.Lock()
	b.now--
	b.mu.Unlock()
}

// Logins are bounded, and so are nodes; none is left out, and the results are in order.
func TestRunBounds(t *testing.T) {
	for atOnce, want := range map[int]int{0: maxDials, 7: 7, 1: 1} {
		nodes := someNodes(2 * maxDials)
		count := busy{expected: want, full: make(chan struct{})}
		no := errors.New("no")
		job := Job{AtOnce: atOnce, Stdout: Output{W: io.Discard}, Stderr: Output{W: io.Discard},
			On: func(_ context.Context, n *Node, _ func(*sshclient.Client) error) error {
				count.enter()
				defer count.leave()
				if n.ID == "3" {
					return no
				}
				return nil
			}}
		results, err := job.Run(t.Context(), nodes)
		if err != nil || count.most != want || len(results) != len(nodes) {
			t.Errorf("%d at once: %d, %d results, %v; want %d", atOnce, count.most, len(results), err, want)
		}
		for i, r := range results {
			if r.Node != nodes[i] || (r.Err != nil) != (i == 3) {
				t.Errorf("%d: %+v", i, r)
			}
		}
	}
}

// When the context ends, so does the run: what has not begun does not begin.
func TestRunEnds(t *testing.T) {
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	first := make(chan struct{})
	job := Job{AtOnce: 2, Stdout: Output{W: io.Discard}, Stderr: Output{W: io.Discard},
		On: func(ctx context.Context, n *Node, _ func(*sshclient.Client) error) error {
			switch n.ID {
			case "0":
				close(first)
				return nil
			case "1":
				<-first
				cancel(stop)
			}
			<-ctx.Done()
			return context.Cause(ctx)
		}}
	results, err := job.Run(ctx, someNodes(100))
	if err != nil {
		t.Error(err)
	}
	for i, r := range results {
		if i == 0 && r.Err != nil || i > 0 && !errors.Is(r.Err, stop) {
			t.Errorf("%d: %v", i, r.Err)
		}
	}
}
