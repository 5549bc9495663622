// Command inventory lists the servers that its role lets it see, and shows that the
// role, role.yaml in this directory, lets it do no more:
//
//	devcluster create --dir ./dev -f examples/inventory/role.yaml
//	devcluster users add inventory --dir ./dev --roles inventory
//	devcluster auth sign --dir ./dev --user inventory --out inventory.id
//	go run ./examples/inventory localhost:3080 inventory.id
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
	if len(os.Args) != 3 {
		log.Fatal("usage: inventory PROXY IDENTITY-FILE")
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx, os.Args[1], os.Args[2]); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, proxy, identity string) error {
	client, err := api.Connect(ctx, api.Config{
		Addrs:       []string{proxy},
		Credentials: []credentials.Credentials{credentials.LoadIdentityFile(identity)},
	})
	if err != nil {
		return err
	}
	defer client.Close()
	for node, err := range client.Nodes(ctx, api.NodesRequest{Sort: "name"}) {
		if err != nil {
			return err
		}
		fmt.Println(node.Spec.Hostname)
	}
	_, err = client.Role(ctx, "editor")
	if !errors.Is(err, api.ErrAccessDenied) {
		return fmt.Errorf("a role that is not ours is not refused: %v", err)
	}
	fmt.Println("other roles: access denied")
	return nil
}
