package sshclient_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/seed-087d674e/tsh/sshclient"
)

// With a proxy in between, what the proxy has to say about the node comes as
// the error of the first Read. The command must be able to match it.
func TestDialErrorsAreTheDialers(t *testing.T) {
	c := newCluster(t)
	offline := errors.New("target host web-1 is offline\x1b[2J")
	for name, d := range map[string]sshclient.Dialer{
		"dial": dialFunc(func(context.Context) (net.Conn, error) { return nil, offline }),
		"read": dialFunc(func(context.Context) (net.Conn, error) {
			a, b := net.Pipe()
			go io.Copy(io.Discard, b)
			return &brokenConn{a, offline}, nil
		}),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := sshclient.Dial(t.Context(), d, target(), c.client())
			wantOp(t, err, sshclient.OpDial)
			if !errors.Is(err, offline) || err.Error() != `connect to web-1: target host web-1 is offline\x1b[2J` {
				t.Error(err)
			}
		})
	}
}

type dialFunc func(context.Context) (net.Conn, error)

func (f dialFunc) DialNode(ctx context.Context, _, _ string) (net.Conn, error) { return f(ctx) }

type brokenConn struct {
	net.Conn
	err error
}

func (c *brokenConn) Read([]byte) (int, error) { return 0, c.err }

// Every stage of a login ends at the deadline, and at once when the context does.
func TestDialEnds(t *testing.T) {
	c := newCluster(t)
	stages := map[string]func(p *peer){
		"no version":      func(p *peer) { p.linger() },
		"no algorithms":   func(p *peer) { p.exchangeVersions(); p.linger() },
		"no service":      func(p *peer) { p.exchangeKeys(); p.linger() },
		"no method":       func(p *peer) { p.exchangeKeys(); p.acceptService(); p.linger() },
		"banners forever": func(p *peer) { p.exchangeKeys(); p.acceptService(); p.bannersEverySecond() },
	}
	for name, stage := range stages {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				_, err := sshclient.Dial(t.Context(), newDialer(t, play(c, stage)), target(), c.client())
				if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took != 30*time.Second {
					t.Errorf("after %v: %v", took, err)
				}
				cfg := c.client()
				cfg.Timeout = time.Minute
				ctx, cancel := context.WithCancelCause(t.Context())
				reason := errors.New("no patience")
				start = time.Now()
				time.AfterFunc(40*time.Second, func() { cancel(reason) })
				_, err = sshclient.Dial(ctx, newDialer(t, play(c, stage)), target(), cfg)
				if took := time.Since(start); !errors.Is(err, reason) || took != 40*time.Second {
					t.Errorf("cancelled after %v: %v", took, err)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		_, err := sshclient.Dial(t.Context(), dialFunc(func(ctx context.Context) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}), target(), c.client())
		wantOp(t, err, sshclient.OpDial)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

func TestConfigurationsThatCannotWork(t *testing.T) {
	c := newCluster(t)
	dial := func(target sshclient.Target, change func(*ssh.ClientConfig)) error {
		cfg := c.client()
		change(cfg)
		d := dialFunc(func(context.Context) (net.Conn, error) {
			t.Error("dialed")
			return nil, io.EOF
		})
		_, err := sshclient.Dial(t.Context(), d, target, cfg)
		if err == nil {
			t.Fatal("no error")
		}
		return err
	}
	wantOp(t, dial(target(), func(cfg *ssh.ClientConfig) { cfg.HostKeyCallback = nil }), sshclient.OpHandshake)
	wantOp(t, dial(target(), func(cfg *ssh.ClientConfig) { cfg.Auth = nil }), sshclient.OpHandshake)
	wantOp(t, dial(target(), func(cfg *ssh.ClientConfig) {
		cfg.Auth = []ssh.AuthMethod{ssh.Password("hunter2")}
	}), sshclient.OpHandshake)
	wantOp(t, dial(sshclient.Target{Host: host}, func(cfg *ssh.ClientConfig) { cfg.User = "" }), sshclient.OpHandshake)
	as[*sshclient.TargetError](t, dial(sshclient.Target{Host: "-oProxyCommand", Login: login}, func(*ssh.ClientConfig) {}))
}
