package sshclient

import (
	"context"
	"io"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"

	"golang.org/x/crypto/ssh"
)

// maxGuests is how many channels of one type a node may have open towards us.
const maxGuests = 64

// guests accepts the channels of a type that a node opens, as long as the session
// lasts that has asked for them. admit may turn one away; serve has it until it
// returns, and its context ends with the session.
type guests struct {
	s     *session
	kind  string // how a list of connections calls them
	admit func() error
	serve func(context.Context, ssh.Channel)
	open  atomic.Int32
}

func (g *guests) come(offer ssh.NewChannel) {
	refuse := func(reason ssh.RejectionReason, why string) {
		slog.Debug("channel of the node refused", "type", offer.ChannelType(), "reason", why)
		_ = offer.Reject(reason, why) // fails only if the connection is gone
	}
	select {
	case <-g.s.over:
		refuse(ssh.Prohibited, "the session is over")
		return
	default:
	}
	if g.admit != nil {
		if err := g.admit(); err != nil {
			refuse(ssh.Prohibited, err.Error())
			return
		}
	}
	if g.open.Add(1) > maxGuests {
		g.open.Add(-1)
		refuse(ssh.ResourceShortage, "too many channels")
		return
	}
	go g.host(offer)
}

func (g *guests) host(offer ssh.NewChannel) {
	defer g.open.Add(-1)
	ch, reqs, err := offer.Accept()
	if err != nil {
		return
	}
	go ssh.DiscardRequests(reqs)
	defer g.s.client.note(g.kind)()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-g.s.over:
		case <-ctx.Done():
		}
		cancel()
		ch.Close()
	}()
	g.serve(ctx, ch)
}

// forwardAgent asks the node to have programs there use our agent. What it then opens
// is served; a node that says no is an error, as the command would run without.
func (s *session) forwardAgent() error {
	const channel, request = "auth-agent@openssh.com", "auth-agent-req@openssh.com"
	if s.cmd.Agent == nil {
		return nil
	}
	g := &guests{s: s, kind: "agent forwarding", serve: func(ctx context.Context, ch ssh.Channel) { s.cmd.Agent(ctx, ch) }}
	s.client.channels.allow(channel, g.come) // it may open one as soon as it has said yes
	if ok, err := s.ch.SendRequest(request, true, nil); !ok {
		return s.notStarted(request, err)
	}
	return nil
}

// withdraw ends what the session has asked the node for.
func (s *session) withdraw() {
	for _, kind := range []string{"auth-agent@openssh.com", "x11"} {
		s.client.channels.allow(kind, nil)
	}
}

// connections are the channels beside the session, for a person to look at.
type connections struct {
	mu   sync.Mutex
	last int
	open []*string
}

// note adds a connection to those that are open; done takes it away.
func (c *Client) note(what string) (done func()) {
	l := &c.open
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last++
	line := "#" + strconv.Itoa(l.last) + " " + what
	l.open = append(l.open, &line)
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		for i, other := range l.open {
			if other == &line {
				l.open = append(l.open[:i:i], l.open[i+1:]...)
				return
			}
		}
	}
}

// Connections lists what is forwarded right now, a line each, oldest first.
func (c *Client) Connections() []string {
	l := &c.open
	l.mu.Lock()
	defer l.mu.Unlock()
	var lines []string
	for _, line := range l.open {
		lines = append(lines, *line)
	}
	return lines
}

// splice copies between a channel and a local connection until the local one has
// nothing more to say; the end of the channel is passed on to it.
func splice(ch ssh.Channel, conn io.ReadWriteCloser) {
	go func() {
		_, _ = io.Copy(conn, ch)
		if half, ok := conn.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite()
		} else {
			_ = conn.Close()
		}
	}()
	_, _ = io.Copy(ch, conn)
	_ = ch.CloseWrite()
}
