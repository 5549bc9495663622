package fanout

import (
	"context"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// oneDialer has one connection.
type oneDialer struct{ conn net.Conn }

func (d oneDialer) DialNode(context.Context, string, string) (net.Conn, error) { return d.conn, nil }

// A node is not read from while its output waits to be written, but now and then, so that
// neither side takes the other for dead. Other nodes are not held up.
func TestSlowOutputHoldsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer near.Close()
		go func() { _, _ = io.WriteString(far, "12") }()
		node, other := &Node{Label: "a"}, &Node{Label: "b"}
		conn, err := node.Over(oneDialer{near}).DialNode(t.Context(), "a:0", "c")
		if err != nil {
			t.Fatal(err)
		}
		read, write := io.Pipe()
		shared := &sharedOutput{Output: Output{W: write}}
		go func() { _, _ = (&lines{to: shared, node: node}).Write([]byte("x\n")) }()
		synctest.Wait() // it blocks: nobody reads
		start := time.Now()
		for range 2 {
			if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(start); took != 2*maxPause {
			t.Errorf("two reads while the output blocks take %v, not %v", took, 2*maxPause)
		}
		start = time.Now()
		other.pace.wait()
		go func() { _, _ = io.ReadAll(read) }()
		synctest.Wait()
		node.pace.wait()
		if took := time.Since(start); took != 0 {
			t.Errorf("a node without output to be written is held up for %v", took)
		}
		_ = write.Close()
		_ = far.Close()
	})
}
