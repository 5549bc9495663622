// Command connect connects to a cluster with an identity file, whatever the addresses
// are: the auth server's, the web proxy's or that of the proxy's SSH tunnel. All ways to
// all of them are tried at once; the first that works is used.
//
//	go run ./examples/connect bot.id teleport.example.com:443
//	go run ./examples/connect bot.id auth.internal:3025 teleport.example.com:3024
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/seed-087d674e/tsh/api"
	"github.com/seed-087d674e/tsh/credentials"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) < 3 {
		log.Fatal("usage: connect IDENTITY-FILE ADDRESS...")
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx, os.Args[1], os.Args[2:]); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, identity string, addrs []string) error {
	client, err := api.Connect(ctx, api.Config{
		Addrs:       addrs,
		Credentials: []credentials.Credentials{credentials.LoadIdentityFile(identity)},
	})
	var failed *api.ConnectError
	if errors.As(err, &failed) {
		for _, attempt := range failed.Attempts {
			log.Printf("%s as %s: %v", attempt.Addr, attempt.Way, attempt.Err)
		}
		return errors.New("no way to connect works")
	}
	if err != nil {
		return err
	}
	defer client.Close()
	pong, err := client.Ping(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("cluster %s, version %s\n", pong.ClusterName, pong.ServerVersion)
	return nil
}
