// Package forward carries connections between ports here and ports that a node
// can reach, as the flags -L, -R and -D of OpenSSH do: [Parse] reads what they
// say, [Listen] does it over an [sshclient.Client].
package forward

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/seed-087d674e/tsh/internal/text"
	"github.com/seed-087d674e/tsh/sshclient"
)

const (
	// dialWait is how long a connection from here to the target of -R may take.
	dialWait = 30 * time.Second
	// maxNotes bounds what is told of connections that did not come about: whoever
	// can cause them could fill the terminal.
	maxNotes = 20
	// acceptPause is the wait after a listener that failed for a moment.
	acceptPause = 100 * time.Millisecond
)

// Config says what to forward.
type Config struct {
	Client *sshclient.Client
	Specs  []Spec
	// GatewayPorts makes -L and -D without an address listen on all addresses.
	GatewayPorts bool
	// Note is told, a line each and safe to print, which port the node chose and
	// why connections did not come about: each reason once. It may be called from
	// several goroutines.
	Note func(line string)
}

// Set is a number of forwards at work.
type Set struct {
	cfg    Config
	life   context.Context
	end    context.CancelFunc
	closed sync.Once

	mu       sync.Mutex
	notes    map[string]bool
	active   int // connections
	idle     chan struct{}
	local    []*listener
	remote   []*sshclient.Listener
	shutdown bool
}

// Listen listens here for the forwards that do: -L and -D. Either all are there
// or, with an error that names the first that is not, none. TCP ports are on
// loopback unless the specification says otherwise; Unix sockets are for this user
// alone, and nothing that exists is removed to make room for one.
func Listen(cfg Config) (*Set, error) {
	s := &Set{cfg: cfg, notes: make(map[string]bool)}
	s.life, s.end = context.WithCancel(context.Background())
	for i := range cfg.Specs {
		spec := &cfg.Specs[i]
		if spec.Kind == Remote {
			continue
		}
		listeners, err := s.listen(spec)
		s.local = append(s.local, listeners...)
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("cannot listen for %s: %v", spec.flag(), err)
		}
	}
	for _, l := range s.local {
		go s.accept(l)
	}
	return s, nil
}

// Request asks the node to listen for the forwards that want it, -R. The error has
// those that it refuses, the others work. Each costs a round trip: x/crypto/ssh
// waits for the answer to a global request before it sends the next.
func (s *Set) Request(ctx context.Context) error {
	var failed []error
	for i := range s.cfg.Specs {
		spec := &s.cfg.Specs[i]
		if spec.Kind != Remote {
			continue
		}
		at := spec.Listen
		switch at.Host { // OpenSSH's words for loopback and for everything
		case "":
			at.Host = "localhost"
		case "*":
			at.Host = ""
		}
		network, address := at.dial()
		l, err := s.cfg.Client.Listen(ctx, network, address, func(in *sshclient.Incoming) { s.serveRemote(spec, in) })
		if err != nil {
			failed = append(failed, fmt.Errorf("remote forwarding failed for %s: %w", spec.flag(), err))
			continue
		}
		s.mu.Lock()
		s.remote = append(s.remote, l)
		s.mu.Unlock()
		if spec.Listen.Path == "" && spec.Listen.Port == 0 {
			target := "socks:0"
			if !spec.SOCKS() {
				target = spec.Connect.String()
			}
			s.cfg.Note("Allocated port " + strconv.Itoa(l.Port()) + " for remote forward to " + target)
		}
	}
	return errors.Join(failed...)
}

// Wait waits until no connection is left, or ctx ends. New ones are taken
// meanwhile. It reports how many there still are.
func (s *Set) Wait(ctx context.Context) int {
	for {
		s.mu.Lock()
		n := s.active
		if n > 0 && s.idle == nil {
			s.idle = make(chan struct{})
		}
		idle := s.idle
		s.mu.Unlock()
		if n == 0 {
			return 0
		}
		select {
		case <-idle:
		case <-ctx.Done():
			return n
		}
	}
}

// Close ends all connections, and listens no longer. Sockets that were made are
// removed, unless something else is in their place.
func (s *Set) Close() {
	s.closed.Do(func() {
		s.mu.Lock()
		s.shutdown = true
		s.mu.Unlock()
		s.end()
		for _, l := range s.local {
			l.close()
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, l := range s.remote {
			go l.Close() // a connection that stalls must not hold up the end
		}
	})
}

// begin counts a connection; false means that it comes too late.
func (s *Set) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shutdown {
		return false
	}
	s.active++
	return true
}

func (s *Set) done() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.active--; s.active == 0 && s.idle != nil {
		close(s.idle)
		s.idle = nil
	}
}

// note tells of a connection that did not come about, once.
func (s *Set) note(spec *Spec, err error) {
	if s.life.Err() != nil {
		return
	}
	line := text.Line(spec.flag() + ": " + err.Error())
	s.mu.Lock()
	count, known := len(s.notes), s.notes[line]
	if count <= maxNotes {
		s.notes[line] = true
	}
	s.mu.Unlock()
	switch {
	case known || count > maxNotes:
	case count == maxNotes:
		s.cfg.Note("Further connections that fail are not reported.")
	default:
		s.cfg.Note(line)
	}
}

func (s *Set) accept(l *listener) {
	for {
		conn, err := l.Accept()
		switch {
		case err == nil:
			go s.serveLocal(l.spec, conn)
		case errors.Is(err, net.ErrClosed):
			return
		default: // no more files, for instance
			s.note(l.spec, err)
			pause := time.NewTimer(acceptPause)
			select {
			case <-pause.C:
			case <-s.life.Done():
				pause.Stop()
				return
			}
		}
	}
}

// serveLocal connects who came here with what the node can reach.
func (s *Set) serveLocal(spec *Spec, conn net.Conn) {
	defer conn.Close()
	if !s.begin() {
		return
	}
	defer s.done()
	defer context.AfterFunc(s.life, func() { conn.Close() })()
	network, address := spec.Connect.dial()
	var answer func(error) error
	if spec.SOCKS() {
		var err error
		if address, answer, err = negotiate(conn); err != nil {
			s.note(spec, err)
			return
		}
	}
	stream, err := s.cfg.Client.Dial(s.life, network, address)
	if err != nil {
		s.note(spec, onTheWay(spec, address, err))
	}
	if answer != nil {
		err = errors.Join(err, answer(err))
	}
	if stream == nil {
		return
	}
	if err != nil { // the client has left
		stream.Close()
		return
	}
	s.pipe(conn, stream, spec, address)
}

// onTheWay adds where a SOCKS client wanted to go.
func onTheWay(spec *Spec, address string, err error) error {
	if spec.SOCKS() {
		return fmt.Errorf("%s: %w", address, err)
	}
	return err
}

// serveRemote connects who came to the node with what can be reached from here.
func (s *Set) serveRemote(spec *Spec, in *sshclient.Incoming) {
	if !s.begin() {
		in.Reject()
		return
	}
	defer s.done()
	if spec.SOCKS() {
		s.serveRemoteSOCKS(spec, in)
		return
	}
	conn, err := s.connect(spec.Connect.dial())
	if err != nil {
		in.Reject()
		s.note(spec, err)
		return
	}
	stream, err := in.Accept()
	if err != nil {
		conn.Close() // the connection to the node is gone
		return
	}
	s.pipe(conn, stream, spec, "")
}

func (s *Set) serveRemoteSOCKS(spec *Spec, in *sshclient.Incoming) {
	stream, err := in.Accept()
	if err != nil {
		return
	}
	defer stream.Close()
	address, answer, err := negotiate(stream)
	if err != nil {
		s.note(spec, err)
		return
	}
	conn, err := s.connect("tcp", address)
	if err != nil {
		s.note(spec, err)
		_ = answer(err)
		return
	}
	defer conn.Close()
	if answer(nil) == nil {
		s.pipe(conn, stream, spec, address)
	}
}

func (s *Set) connect(network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(s.life, dialWait)
	defer cancel()
	return new(net.Dialer).DialContext(ctx, network, address)
}

// flag is the forward as it stands on a command line.
func (s *Spec) flag() string { return "-" + string(rune(s.Kind)) + " " + s.String() }

// dial is the endpoint in the words of package net.
func (e *Endpoint) dial() (network, address string) {
	if e.Path != "" {
		return "unix", e.Path
	}
	return "tcp", net.JoinHostPort(e.Host, strconv.Itoa(e.Port))
}

// listener is one that -L or -D listens on.
type listener struct {
	_ [0]func() // never compared
	net.Listener
	spec *Spec
	path string      // of a socket
	made os.FileInfo // the socket as it was made
}

// close removes a socket only if it is still ours.
func (l *listener) close() {
	if l.path != "" {
		if now, err := os.Lstat(l.path); err == nil && l.made != nil && os.SameFile(l.made, now) {
			_ = os.Remove(l.path) // a socket that stays is in nobody's way but ours
		}
	}
	_ = l.Listener.Close() // there is nothing to lose
}

func (s *Set) listen(spec *Spec) ([]*listener, error) {
	if spec.Listen.Path != "" {
		l, err := listenUnix(spec.Listen.Path)
		if err != nil {
			return nil, err
		}
		l.spec = spec
		return []*listener{l}, nil
	}
	hosts := []string{spec.Listen.Host}
	switch spec.Listen.Host {
	case "":
		hosts = loopback()
		if s.cfg.GatewayPorts {
			hosts = []string{""}
		}
	case "localhost":
		hosts = loopback()
	case "*":
		hosts = []string{""}
	}
	var all []*listener
	for i, host := range hosts {
		l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(spec.Listen.Port)))
		if err != nil && (i == 0 || inUse(err)) {
			return all, err
		}
		if err == nil { // not every machine has IPv6
			all = append(all, &listener{Listener: l, spec: spec})
		}
	}
	return all, nil
}

// loopback is both of its addresses: a program that is told localhost may try
// either, and must not find somebody else there.
func loopback() []string { return []string{"127.0.0.1", "::1"} }
