// Command sshcommand runs a command on a server with the login its person already has:
//
//	tsh login --proxy=teleport.example.com
//	go run ./examples/sshcommand root@node-1 uptime
package main

import (
	"cmp"
	"context"
	"errors"
	"log"
	"os"
	"os/signal"
	"strings"

	"github.com/seed-087d674e/tsh/api"
	"github.com/seed-087d674e/tsh/credentials"
	"github.com/seed-087d674e/tsh/sshclient"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) < 3 {
		log.Fatal("usage: sshcommand [LOGIN@]SERVER COMMAND...")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1], strings.Join(os.Args[2:], " ")); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, server, command string) error {
	profile := credentials.LoadProfile("", "") // the current one, in TELEPORT_HOME or ~/.tsh
	target, badTarget := sshclient.ParseTarget(server)
	cluster, noCluster := profile.Cluster()
	config, noLogin := profile.SSHClientConfig()
	if err := errors.Join(badTarget, cmp.Or(noCluster, noLogin)); err != nil {
		return err
	}
	target.Cluster = cluster
	transport, err := api.DialTransport(ctx, api.Config{Credentials: []credentials.Credentials{profile}})
	if err != nil {
		return err
	}
	defer transport.Close()
	node, err := sshclient.Dial(ctx, transport, target, config)
	if err != nil {
		return err
	}
	defer node.Close()
	return node.Run(ctx, sshclient.Command{Args: command, Stdout: os.Stdout, Stderr: os.Stderr})
}
