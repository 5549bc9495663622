package api_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/seed-087d674e/tsh/api"
	"github.com/seed-087d674e/tsh/credentials"
	"github.com/seed-087d674e/tsh/internal/devcluster"
	"github.com/seed-087d674e/tsh/sshclient"
)

// A program with an identity file, which an administrator has made, is given one address.
// Whether it is that of the proxy, of the auth server or of the tunnel makes no difference.
func ExampleConnect() {
	ctx := context.Background()
	cluster, identity, end := demo(ctx)
	defer end()
	for _, addr := range []string{cluster.PublicAddr(), cluster.AuthAddr(), cluster.TunnelAddr()} {
		client, err := api.Connect(ctx, api.Config{
			Addrs:       []string{addr},
			Credentials: []credentials.Credentials{credentials.LoadIdentityFile(identity)},
		})
		if err != nil {
			log.Fatal(err)
		}
		ping, err := client.Ping(ctx)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(ping.ClusterName, ping.ServerVersion)
		client.Close()
	}
	// Output:
	// dev.example 18.3.0
	// dev.example 18.3.0
	// dev.example 18.3.0
}

// What a program can say when nothing works.
func ExampleConnectError() {
	ctx := context.Background()
	cluster, identity, end := demo(ctx)
	defer end()
	cluster.Close()
	_, err := api.Connect(ctx, api.Config{
		Addrs:       []string{cluster.AuthAddr()},
		Credentials: []credentials.Credentials{credentials.LoadIdentityFile(identity)},
	})
	var failed *api.ConnectError
	if errors.As(err, &failed) {
		tried := map[string]bool{}
		for _, attempt := range failed.Attempts {
			tried[attempt.Way] = true
		}
		fmt.Println(len(tried), tried[api.WayAuth], tried[api.WayProxy], tried[api.WayTunnel])
	}
	// Output: 3 true true true
}

// A command on a server, through the proxy. With credentials.LoadProfile no address is needed;
// examples/sshcommand is that program.
func ExampleDialTransport() {
	ctx := context.Background()
	cluster, identity, end := demo(ctx)
	defer end()
	creds := credentials.LoadIdentityFile(identity)
	config, err := creds.SSHClientConfig()
	if err != nil {
		log.Fatal(err)
	}
	transport, err := api.DialTransport(ctx, api.Config{
		Addrs: []string{cluster.PublicAddr()}, Credentials: []credentials.Credentials{creds},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer transport.Close()
	target := sshclient.Target{Host: "node-1", Login: "root", Cluster: cluster.Name()}
	node, err := sshclient.Dial(ctx, transport, target, config)
	if err != nil {
		log.Fatal(err)
	}
	defer node.Close()
	err = node.Run(ctx, sshclient.Command{Args: "echo on the server; exit 3", Stdout: os.Stdout})
	fmt.Println(err)
	// Output:
	// on the server
	// command ended with exit status 3
}

// demo is a cluster, and an identity file for it, until end is called.
func demo(ctx context.Context) (cluster *devcluster.Cluster, identity string, end func()) {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	cluster, err = devcluster.Start(ctx, devcluster.Config{
		Dir: dir, Addr: "127.0.0.1:0", AuthAddr: "127.0.0.1:0", TunnelAddr: "127.0.0.1:0", SecondFactor: "off", PasswordCost: 4,
	})
	if err != nil {
		log.Fatal(err)
	}
	_, err = cluster.AddUser(devcluster.UserSpec{Name: "bot", Password: "canary-bot", Roles: []string{"access"}, Logins: []string{"root"}})
	if err != nil {
		log.Fatal(err)
	}
	identity = filepath.Join(dir, "identity")
	if _, err := cluster.SignUser(devcluster.SignSpec{User: "bot", Out: identity}); err != nil {
		log.Fatal(err)
	}
	return cluster, identity, func() {
		_ = cluster.Close()
		_ = os.RemoveAll(dir)
	}
}
