package main

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/spf13/pflag"

	"github.com/seed-087d674e/tsh/proxy"
	"github.com/seed-087d674e/tsh/sshclient"
	"github.com/seed-087d674e/tsh/sshclient/resume"
)

// youngConnection is the age under which a connection to the proxy is taken to be good
// when one to a node is resumed: many nodes that are lost at once come back over one.
const youngConnection = 5 * time.Second

// addResume adds the switch for resuming connections.
func (g *globals) addResume(fs *pflag.FlagSet) {
	fs.BoolVar(&g.noResume, "no-resume", false, "do not resume the connection when the network breaks [TELEPORT_NO_RESUME]")
}

// addRelogin adds the switch for logging in where that is needed.
func (g *globals) addRelogin(fs *pflag.FlagSet) {
	relogin := fs.VarPF(negation{boolValue{&g.noRelogin}}, "relogin", "", "log in if the credentials are missing or expired (default true)")
	relogin.NoOptDefVal = "true"
}

// renewing is a connection to a proxy that can be made anew.
type renewing interface {
	sshclient.Dialer
	Renew(age time.Duration)
}

// resuming dials nodes so that connections to those that offer it survive a break of the
// network.
type resuming struct {
	over    renewing
	expires time.Time
	now     func() time.Time
}

// nodeDialer is how nodes are dialled over a connection to the proxy of s.
func (a *app) nodeDialer(s *session, over sshclient.Dialer) sshclient.Dialer {
	via, ok := over.(renewing)
	if !ok || a.globals.noResume {
		return over
	}
	// The connection to the proxy is what has to be made again; a certificate for one
	// session has been good by then for what it is there for.
	return &resuming{via, s.id.TLSCert.NotAfter, a.now}
}

// DialNode implements sshclient.Dialer.
func (r *resuming) DialNode(ctx context.Context, hostport, cluster string) (net.Conn, error) {
	conn, err := r.over.DialNode(ctx, hostport, cluster)
	if err != nil {
		return nil, err
	}
	return resume.Open(ctx, conn, resume.Config{
		Dial: func(ctx context.Context, hostID string) (net.Conn, error) {
			r.over.Renew(youngConnection)
			return r.over.DialNode(ctx, net.JoinHostPort(hostID, "0"), cluster)
		},
		Expires:  r.expires,
		Now:      r.now,
		Hopeless: func(err error) bool { return errors.Is(err, proxy.ErrExpired) },
	})
}
