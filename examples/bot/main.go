// Command bot keeps asking a cluster who it is, from several goroutines, with an
// identity file that something else rotates while it runs. A rotation needs neither a
// restart nor a pause: what is asked after it is asked with the new identity.
//
//	devcluster auth sign --dir ./dev --user bot --ttl 1h --out bot.id   # again and again
//	go run ./examples/bot --proxy localhost:3080 --identity bot.id
//
// It says who it is whenever that changes, ends with Ctrl-C or after --for, and then says how
// many calls there were.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"sync"
	"time"

	"github.com/seed-087d674e/tsh/api"
	"github.com/seed-087d674e/tsh/credentials"
)

type options struct {
	proxy, identity string
	callers         int
	last            time.Duration
}

func main() {
	log.SetFlags(0)
	var o options
	flag.StringVar(&o.proxy, "proxy", "", "`address` of the proxy or the auth server, host:port")
	flag.StringVar(&o.identity, "identity", "", "`file` that is rotated")
	flag.IntVar(&o.callers, "callers", 16, "how many ask at the same time")
	flag.DurationVar(&o.last, "for", 0, "how long; 0 is until Ctrl-C")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if o.last > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.last)
		defer cancel()
	}
	if err := run(ctx, o); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, o options) error {
	identity, err := credentials.NewDynamicIdentityFile(o.identity, credentials.WithReport(report))
	if err != nil {
		return err
	}
	defer identity.Close()
	var t tally
	var callers sync.WaitGroup
	for range o.callers {
		callers.Go(func() {
			for ctx.Err() == nil {
				name, err := ask(ctx, o.proxy, identity)
				if ctx.Err() == nil { // else it has ended, not failed
					t.count(name, err)
				}
			}
		})
	}
	callers.Wait()
	fmt.Printf("%d calls, %d failed\n", t.calls, t.failures)
	if t.failures > 0 {
		return errors.New("calls failed")
	}
	return nil
}

// tally is what has come of the calls.
type tally struct {
	mu              sync.Mutex
	calls, failures int
	name            string
}

func (t *tally) count(name string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.calls++
	switch {
	case err != nil:
		t.failures++
		log.Print(err)
	case name != t.name:
		t.name = name
		fmt.Println("I am", name)
	}
}

// report tells of a file that could not be used; the last good one stays in use.
func report(err error) {
	if err != nil {
		log.Print(err)
	}
}

// ask connects anew for each call, so that each proves who we are with the identity of
// the moment. A program that keeps its client gets the new one when it reconnects.
func ask(ctx context.Context, proxy string, identity credentials.Credentials) (name string, err error) {
	client, err := api.Connect(ctx, api.Config{Addrs: []string{proxy}, Credentials: []credentials.Credentials{identity}})
	if err != nil {
		return "", err
	}
	defer client.Close()
	user, err := client.CurrentUser(ctx)
	if err != nil {
		return "", err
	}
	return user.Name, nil
}
