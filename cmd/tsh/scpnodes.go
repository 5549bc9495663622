package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/seed-087d674e/tsh/internal/text"
	"github.com/seed-087d674e/tsh/proxy"
	"github.com/seed-087d674e/tsh/sshclient"
	"github.com/seed-087d674e/tsh/sshclient/sftp"
	"github.com/seed-087d674e/tsh/sshclient/transfer"
)

// sftpNodes are the servers that files are copied to or from, all over one connection
// to the proxy.
type sftpNodes struct {
	transport *proxy.Transport
	proofs    *sessionMFA
	mu        sync.Mutex
	clients   map[sshclient.Target]*sshclient.Client
	files     map[sshclient.Target]*sftp.Client
}

// dialSFTP connects to all servers at the same time; without one of them nothing is copied.
func (a *app) dialSFTP(ctx context.Context, s *session, o scpOptions) (*sftpNodes, error) {
	n := &sftpNodes{proofs: a.newSessionMFA(s, 0), clients: make(map[sshclient.Target]*sshclient.Client), files: make(map[sshclient.Target]*sftp.Client)}
	connected := a.ui.waiting(o.hosts())
	defer connected()
	var err error
	if n.transport, err = a.dialProxy(ctx, s); err == nil {
		err = a.resolveLocations(ctx, s, o)
	}
	if err != nil {
		return n, err
	}
	seen := make(map[sshclient.Target]bool)
	n.proofs.names = make(map[string]string)
	for _, l := range o.all {
		if l.remote {
			n.proofs.names[l.target.Host], seen[l.target] = l.name, true
		}
	}
	n.proofs.reuse = len(seen) > 1
	var dials sync.WaitGroup
	var first error
	for target := range seen {
		dials.Go(func() {
			err := n.dial(ctx, target, o.copy.Limit)
			n.mu.Lock()
			defer n.mu.Unlock()
			if first == nil {
				first = err
			}
		})
	}
	dials.Wait()
	return n, first
}

// resolveLocations puts the one server that labels stand for in their place.
func (a *app) resolveLocations(ctx context.Context, s *session, o scpOptions) error {
	for i := range o.all {
		l := &o.all[i]
		var err error
		if l.target, err = a.found(ctx, s, l.find, l.target); err != nil {
			return err
		}
		if l.labels == nil {
			continue
		}
		node, err := a.resolveNode(ctx, s, nodeQuery{labels: l.labels})
		if err != nil {
			return fmt.Errorf("%s: %w", text.Line(l.name), err)
		}
		l.target.Host, l.name = node.Metadata.Name, node.Spec.Hostname
	}
	return nil
}

func (o scpOptions) hosts() string {
	for _, l := range o.all {
		if l.remote {
			return l.name
		}
	}
	return ""
}

func (n *sftpNodes) dial(ctx context.Context, target sshclient.Target, limit int64) error {
	var stream *sshclient.Subsystem
	client, err := n.proofs.enter(ctx, n.transport, target, func(client *sshclient.Client) (err error) {
		stream, err = client.Subsystem(ctx, "sftp")
		return err
	})
	if err != nil {
		return err
	}
	n.mu.Lock()
	n.clients[target] = client
	n.mu.Unlock()
	var options sftp.Options
	if limit > 0 { // pieces of a quarter of a second, and a second of them under way
		options = sftp.Options{Chunk: int(min(max(limit/4, 256), 32<<10)), Window: 4}
	}
	files, err := sftp.New(ctx, stream, options)
	if err != nil {
		return err
	}
	n.mu.Lock()
	n.files[target] = files
	n.mu.Unlock()
	return nil
}

// place is where an argument is.
func (n *sftpNodes) place(l location) transfer.Place {
	if !l.remote {
		return transfer.Place{}
	}
	return transfer.Place{Client: n.files[l.target], Name: l.name}
}

// closeSoon leaves a moment for what is cleared away after ^C.
func (n *sftpNodes) closeSoon() {
	const grace = 1500 * time.Millisecond
	time.AfterFunc(grace, n.close)
}

func (n *sftpNodes) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.proofs.close()
	for _, client := range n.clients {
		client.Close()
	}
	if n.transport != nil {
		n.transport.Close()
	}
}
