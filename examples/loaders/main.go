// Command loaders connects with whichever credentials there are, one way to load each:
//
//	go run ./examples/loaders                                           # what tsh login stored
//	go run ./examples/loaders --proxy HOST:PORT --identity bot.id       # tsh login --out
//	go run ./examples/loaders --proxy HOST:PORT --identity - < bot.id   # from a secret store
//	go run ./examples/loaders --proxy HOST:PORT --rotated bot.id        # something renews it
//	go run ./examples/loaders --proxy HOST:PORT --cert bot.crt --key bot.key --ca bot.cas
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"github.com/seed-087d674e/tsh/api"
	"github.com/seed-087d674e/tsh/credentials"
)

type options struct {
	proxy             string
	identity, rotated string
	cert, key, ca     string
}

func main() {
	log.SetFlags(0)
	var o options
	flag.StringVar(&o.proxy, "proxy", "", "`address` of the proxy or the auth server; a login knows its own")
	flag.StringVar(&o.identity, "identity", "", "identity `file`, - is the standard input")
	flag.StringVar(&o.rotated, "rotated", "", "identity `file` that something renews")
	flag.StringVar(&o.cert, "cert", "", "certificate `file`")
	flag.StringVar(&o.key, "key", "", "private key `file`")
	flag.StringVar(&o.ca, "ca", "", "`file` with the cluster's authorities")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx, o); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, o options) error {
	creds, err := o.load()
	if err != nil {
		return err
	}
	config := api.Config{Credentials: []credentials.Credentials{creds}}
	if o.proxy != "" {
		config.Addrs = []string{o.proxy}
	}
	client, err := api.Connect(ctx, config)
	if err != nil {
		return err
	}
	defer client.Close()
	user, err := client.CurrentUser(ctx)
	if err != nil {
		return err
	}
	until, _ := creds.Expiry()
	fmt.Printf("%s %v until %s\n", user.Name, user.Roles, until.UTC().Format(time.DateTime))
	return nil
}

// load picks the loader.
func (o options) load() (credentials.Credentials, error) {
	switch {
	case o.rotated != "":
		return credentials.NewDynamicIdentityFile(o.rotated)
	case o.identity == "-":
		content, err := io.ReadAll(io.LimitReader(os.Stdin, 1<<20))
		return credentials.LoadIdentityString(string(content)), err
	case o.identity != "":
		return credentials.LoadIdentityFile(o.identity), nil
	case o.cert != "":
		return credentials.LoadKeyPair(o.cert, o.key, o.ca), nil
	}
	return credentials.LoadProfile("", ""), nil
}
