package sshclient_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-087d674e/tsh/sshclient"
)

// repairingDialer makes connections that are being repaired until a time.
type repairingDialer struct {
	sshclient.Dialer
	until time.Time
}

type repairingConn struct {
	net.Conn
	until time.Time
}

func (c *repairingConn) Repairing() bool { return time.Now().Before(c.until) }

func (d *repairingDialer) DialNode(ctx context.Context, hostport, cluster string) (net.Conn, error) {
	conn, err := d.Dialer.DialNode(ctx, hostport, cluster)
	return &repairingConn{conn, d.until}, err
}

// A node is not given up for its silence while the connection to it is being repaired.
func TestSilenceDuringRepair(t *testing.T) {
	c := newCluster(t)
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		d := &repairingDialer{newDialer(t, play(c, func(p *peer) {
			p.session()
			for {
				p.recv()
			}
		})), start.Add(3 * time.Minute)}
		client, err := sshclient.Dial(t.Context(), d, sshclient.Target{Host: host, Login: login, Cluster: "test"}, c.client())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		err = client.Run(t.Context(), sshclient.Command{Args: "x"})
		if took := time.Since(start); !errors.Is(err, sshclient.ErrNoAnswer) || took < 3*time.Minute || took > 4*time.Minute {
			t.Errorf("%v after %v", err, took)
		}
	})
}
