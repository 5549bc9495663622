package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/net/proxy"
)

// service starts something to connect to: service NAME [PATH]. It answers, once the
// other side has nothing more to say, with its name and what it heard. Its port is
// in $NAME, or it is a Unix socket; $TALK is the program that speaks with it.
func (w *world) service(ts *testscript.TestScript, _ bool, args []string) {
	network, address := "tcp", "127.0.0.1:0"
	if len(args) > 1 {
		network, address = "unix", ts.MkAbs(args[1])
	}
	l, err := net.Listen(network, address)
	ts.Check(err)
	w.env.Defer(func() { _ = l.Close() })
	ts.Setenv("TALK", filepath.Join(filepath.Dir(lookPath(ts, "talk")), "talk"))
	if tcp, ok := l.Addr().(*net.TCPAddr); ok {
		ts.Setenv(args[0], fmt.Sprint(tcp.Port))
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				heard, err := io.ReadAll(conn)
				if err == nil {
					fmt.Fprintf(conn, "%s heard %s\n", args[0], heard)
				}
			}()
		}
	}()
}

// freePort puts into a variable the number of a port that nobody listens on:
// freeport NAME. It is below those that systems give away by themselves, which another
// test would have before this one uses it.
func (w *world) freePort(ts *testscript.TestScript, _ bool, args []string) {
	for range 100 {
		port := 20000 + rand.IntN(12000)
		if l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", fmt.Sprint(port))); err == nil {
			ts.Check(l.Close())
			ts.Setenv(args[0], fmt.Sprint(port))
			return
		}
	}
	ts.Fatalf("no port is free")
}

// talk is a program: talk ADDRESS WORDS [socks=ADDRESS]. It says the words, for - its
// input once it has shown that it is connected, and shows what is answered.
func talk() {
	os.Exit(func() int {
		address, words := os.Args[1], os.Args[2]
		var dialer proxy.Dialer = &net.Dialer{Timeout: 20 * time.Second}
		network := "tcp"
		if strings.HasPrefix(address, "/") {
			network = "unix"
		}
		var err error
		if len(os.Args) > 3 {
			if dialer, err = proxy.SOCKS5("tcp", strings.TrimPrefix(os.Args[3], "socks="), nil, dialer); err != nil {
				fmt.Fprintln(os.Stderr, "talk:", err)
				return 1
			}
		}
		conn, err := dialer.Dial(network, address)
		if err != nil {
			fmt.Fprintln(os.Stderr, "talk:", err)
			return 1
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		if words == "-" {
			fmt.Println("connected")
			_, _ = io.Copy(conn, os.Stdin)
		} else {
			_, _ = io.WriteString(conn, words)
		}
		_ = conn.(interface{ CloseWrite() error }).CloseWrite()
		if n, err := io.Copy(os.Stdout, conn); err != nil || n == 0 {
			fmt.Fprintln(os.Stderr, "talk: no answer:", err)
			return 1
		}
		return 0
	}())
}

// forbid takes port forwarding from all roles of the newest cluster.
func (w *world) forbid(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Check(w.newest().ForbidForwarding())
}
