package sshclient_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"golang.org/x/crypto/ssh"

	"github.com/seed-087d674e/tsh/sshclient"
)

// A pattern that shows gaps, repetitions and swapped blocks.
type pattern struct{ left, at int64 }

func (p *pattern) Read(b []byte) (int, error) {
	if p.left == 0 {
		return 0, io.EOF
	}
	b = b[:min(int64(len(b)), p.left)]
	for i := range b {
		b[i] = byte((p.at * 2654435761) >> 13)
		p.at++
	}
	p.left -= int64(len(b))
	return len(b), nil
}

func patternSum(size int64) string {
	h := sha256.New()
	io.Copy(h, &pattern{left: size})
	return hex.EncodeToString(h.Sum(nil))
}

// 64 MiB in each direction at once, through a window of 20000 bytes in packets
// of 3000 on the way there.
func TestLargeTransfersBothWays(t *testing.T) {
	const size = 64 << 20
	if testing.Short() {
		t.Skip("skipped: 128 MiB through a small window")
	}
	c := newCluster(t)
	var received atomic.Value
	client := connectTo(t, newDialer(t, play(c, func(p *peer) {
		p.logIn()
		p.openChannel(20_000, 3_000)
		p.startCommand()
		received.Store(p.bulk(size, 20_000, 3_000))
		p.exitStatus(0)
		p.closeChannel()
		p.linger()
	})), c.client())
	h := sha256.New()
	err := client.Run(deadline(t), sshclient.Command{Args: "x", Stdin: &pattern{left: size}, Stdout: h})
	if err != nil {
		t.Fatal(err)
	}
	want := patternSum(size)
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		t.Error("what came back differs from what was sent")
	}
	if received.Load() != want {
		t.Error("what arrived differs from what was sent")
	}
}

// A reader who does not read holds the node up instead of filling our memory.
func TestSlowOutputIsBackPressure(t *testing.T) {
	const window = 2 << 20 // of x/crypto/ssh
	c := newCluster(t)
	synctest.Test(t, func(t *testing.T) {
		var sent atomic.Int64
		client := connect(t, c, &node{session: command(func(ch ssh.Channel, _ string) uint32 {
			block := make([]byte, 32<<10)
			for {
				n, err := ch.Write(block)
				sent.Add(int64(n))
				if err != nil {
					return 0
				}
			}
		})})
		stuck := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error)
		go func() {
			result <- client.Run(ctx, sshclient.Command{Args: "x", Stdout: writerFunc(func(p []byte) (int, error) {
				<-stuck
				return len(p), nil
			})})
		}()
		synctest.Wait()
		if n := sent.Load(); n < window/2 || n > 2*window {
			t.Errorf("the node could send %d bytes to a reader that does not read", n)
		}
		cancel()
		if err := <-result; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		close(stuck)
	})
}
