// Command whoami is a program that uses the login its person already has: it
// loads the current profile, says who that is and until when, and asks the
// cluster's API which cluster it is.
//
//	tsh login --proxy=teleport.example.com
//	go run ./examples/whoami
package main

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/seed-087d674e/tsh/api"
	"github.com/seed-087d674e/tsh/credentials"
)

func main() {
	log.SetFlags(0)
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	profile := credentials.LoadProfile("", "") // the current one, in TELEPORT_HOME or ~/.tsh
	user, err := profile.User()
	if err != nil {
		return err
	}
	expiry, _ := profile.Expiry()
	fmt.Printf("%s until %s\n", user, expiry.Local().Format(time.DateTime))

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	client, err := api.Connect(ctx, api.Config{Credentials: []credentials.Credentials{profile}})
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
