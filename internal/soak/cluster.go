package main

import (
	"context"
	"net"
	"os/user"

	"github.com/seed-087d674e/tsh/internal/devcluster"
	"golang.org/x/crypto/bcrypt"
)

// cluster is a dev cluster that asks for a password only.
type cluster struct {
	*devcluster.Cluster
	password string
}

// startCluster starts a cluster whose proxy calls itself host. It ends with ctx.
func (b bench) startCluster(ctx context.Context, name, host string) (*cluster, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	me, err := user.Current()
	if err != nil {
		return nil, err
	}
	// What is tested is tsh: it gets as many logins as it can.
	c, err := devcluster.Start(ctx, devcluster.Config{
		Dir: b.path(name), Addr: addr, PublicAddr: net.JoinHostPort(host, port), Name: name,
		SecondFactor: "off", NoRateLimit: true, PasswordCost: bcrypt.MinCost,
	})
	if err != nil {
		return nil, err
	}
	enrolled, err := c.AddUser(devcluster.UserSpec{Name: "alice", Roles: []string{"access"}, Logins: []string{me.Username}})
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return &cluster{c, enrolled.Password}, nil
}

// freeAddr is a loopback address that nobody listened on a moment ago.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
