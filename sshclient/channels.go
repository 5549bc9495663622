package sshclient

import (
	"log/slog"
	"sync"

	"golang.org/x/crypto/ssh"

	"github.com/seed-087d674e/tsh/internal/text"
)

// channelTable has the types of channels that a node may open, each because it was
// asked for: a forwarded port, an agent, a display. Every other one is turned away.
type channelTable struct {
	mu     sync.Mutex
	serves map[string]func(ssh.NewChannel)
}

// allow lets serve decide on the channels of a type from now on; nil ends it. serve
// must not block: what takes time is its own goroutine's.
func (t *channelTable) allow(channelType string, serve func(ssh.NewChannel)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if serve == nil {
		delete(t.serves, channelType)
		return
	}
	if t.serves == nil {
		t.serves = make(map[string]func(ssh.NewChannel))
	}
	t.serves[channelType] = serve
}

// serve hands out the channels that the node opens until the connection ends.
func (t *channelTable) serve(channels <-chan ssh.NewChannel) {
	for ch := range channels {
		t.mu.Lock()
		serve := t.serves[ch.ChannelType()]
		t.mu.Unlock()
		if serve != nil {
			serve(ch)
			continue
		}
		slog.Debug("node opened a channel nobody asked for", "type", text.Line(short(ch.ChannelType())))
		_ = ch.Reject(ssh.Prohibited, "not requested") // fails only if the connection is gone
	}
}

func short(s string) string { return s[:min(len(s), 100)] }
