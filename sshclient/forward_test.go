//go:build linux || darwin

package sshclient_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/seed-087d674e/tsh/sshclient"
	"github.com/seed-087d674e/tsh/sshclient/forward"
)

// notes are the lines a person gets to see.
type notes struct {
	mu    sync.Mutex
	lines []string
}

func (n *notes) add(line string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lines = append(n.lines, line)
}

func (n *notes) all() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Join(n.lines, "\n")
}

// forwarding starts forwards, written as on a command line: "L 80:host:80".
func forwarding(t *testing.T, client *sshclient.Client, specs ...string) (*forward.Set, *notes, error) {
	t.Helper()
	n := new(notes)
	cfg := forward.Config{Client: client, Note: n.add}
	for _, s := range specs {
		spec, err := forward.Parse(forward.Kind(s[0]), s[2:])
		if err != nil {
			t.Fatal(err)
		}
		cfg.Specs = append(cfg.Specs, spec)
	}
	set, err := forward.Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(set.Close)
	return set, n, set.Request(deadline(t))
}

// upcase answers, at the end of what it is told, with the same in capitals.
func upcase(t *testing.T, network, address string) string {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				if all, err := io.ReadAll(conn); err == nil {
					conn.Write(bytes.ToUpper(all))
				}
			}()
		}
	}()
	return l.Addr().String()
}

// ask says something and returns what is answered.
func ask(t *testing.T, network, address, words string) string {
	t.Helper()
	conn, err := net.Dial(network, address)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	io.WriteString(conn, words)
	conn.(interface{ CloseWrite() error }).CloseWrite()
	answer, err := io.ReadAll(conn)
	if err != nil {
		return err.Error()
	}
	return string(answer)
}

// freePort is a port that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// OpenSSH's server forwards for us: ports and sockets, both ways.
func TestOpenSSHForwards(t *testing.T) {
	d, cfg, target := startSSHD(t, "permit-port-forwarding")
	client, err := sshclient.Dial(deadline(t), d, target, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	dir, p, q, r := t.TempDir(), freePort(t), freePort(t), freePort(t)
	web, sock := upcase(t, "tcp", "127.0.0.1:0"), upcase(t, "unix", filepath.Join(dir, "web"))
	set, said, err := forwarding(t, client, "L "+p+":"+web, "L "+dir+"/l:"+sock, "R "+q+":"+web, "R "+dir+"/r:"+sock, "R 0:"+web, "R localhost:"+r, "R "+web+":"+web)
	if err == nil || !strings.Contains(err.Error(), "remote forwarding failed for -R "+web+":"+web) || strings.Contains(err.Error(), "\n") {
		t.Errorf("a port in use: %v", err)
	}
	for _, where := range []string{"tcp 127.0.0.1:" + p, "tcp [::1]:" + p, "unix " + dir + "/l", "tcp 127.0.0.1:" + q, "unix " + dir + "/r"} {
		network, address, _ := strings.Cut(where, " ")
		if _, err := net.Listen("tcp", "[::1]:0"); err != nil && strings.Contains(where, "::1") {
			continue
		}
		if got := ask(t, network, address, "hello"); got != "HELLO" {
			t.Errorf("%s: %q", where, got)
		}
	}
	var port int
	if _, err := fmt.Sscanf(said.all(), "Allocated port %d for remote forward to "+web, &port); err != nil {
		t.Errorf("%q: %v", said.all(), err)
	}
	if got := ask(t, "tcp", fmt.Sprintf("127.0.0.1:%d", port), "hello"); got != "HELLO" {
		t.Errorf("chosen port: %q", got)
	}
	socks := "\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01"
	tcp, _ := net.ResolveTCPAddr("tcp", web)
	if got := ask(t, "tcp", "127.0.0.1:"+r, socks+string([]byte{byte(tcp.Port >> 8), byte(tcp.Port)})+"hello"); !strings.HasSuffix(got, "HELLO") {
		t.Errorf("SOCKS on the node: %q", got)
	}
	if n := set.Wait(deadline(t)); n != 0 {
		t.Errorf("%d connections are left", n)
	}
	large := strings.Repeat("0123456789abcdef", 1<<20)
	if got := ask(t, "tcp", "127.0.0.1:"+p, large); got != strings.ToUpper(large) {
		t.Errorf("%d bytes of %d", len(got), len(large))
	}
	set.Close()
	// The node is told to let go of the port; a command shows that it has heard it.
	if _, err := run(t, client, sshclient.Command{Args: "true"}); err != nil {
		t.Error(err)
	}
	for _, address := range []string{"127.0.0.1:" + p, "127.0.0.1:" + q} {
		if conn, err := net.Dial("tcp", address); err == nil {
			t.Errorf("%s is still there", address)
			conn.Close()
		}
	}
	if _, err := os.Lstat(dir + "/l"); err == nil {
		t.Error("the socket is still there")
	}
}

// A server that forbids it says so; nothing else fails.
func TestOpenSSHForbidsForwarding(t *testing.T) {
	d, cfg, target := startSSHD(t)
	client, err := sshclient.Dial(deadline(t), d, target, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	p := freePort(t)
	_, said, err := forwarding(t, client, "L "+p+":localhost:1", "R 0:localhost:1")
	if err == nil || !strings.Contains(err.Error(), "remote forwarding failed for -R 0:localhost:1") {
		t.Error(err)
	}
	ask(t, "tcp", "127.0.0.1:"+p, "x")
	if got := said.all(); !strings.Contains(got, `refused the request "direct-tcpip"`) || strings.Contains(got, "\n") {
		t.Errorf("%q", got)
	}
}

// case S19: a port is on loopback, a socket for its owner, and what is there stays.
func TestLocalListeners(t *testing.T) {
	c := newCluster(t)
	client := connect(t, c, &node{})
	dir, p := t.TempDir(), freePort(t)
	set, _, err := forwarding(t, client, "L "+p+":db:80", "D "+dir+"/s")
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(dir + "/s")
	if err != nil || info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("%v, %v", info, err)
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, addr := range addrs {
		ip := addr.(*net.IPNet).IP
		if ip.IsLoopback() || ip.IsLinkLocalUnicast() {
			continue
		}
		if conn, err := net.Dial("tcp", net.JoinHostPort(ip.String(), p)); err == nil {
			conn.Close()
			t.Errorf("%v reaches it", ip)
		}
	}
	for _, s := range []string{"D " + dir + "/s", "L " + p + ":db:80", "L [::1]:" + p + ":db:80"} {
		spec, _ := forward.Parse(forward.Kind(s[0]), s[2:])
		if strings.Contains(s, "::1") && ask6() != nil {
			continue
		}
		if _, err := forward.Listen(forward.Config{Client: client, Specs: []forward.Spec{spec}}); err == nil || !strings.Contains(err.Error(), spec.String()) {
			t.Errorf("-%s: %v", s, err)
		}
	}
	if _, err := os.Lstat(dir + "/s"); err != nil {
		t.Error("a listener that failed removed another one's socket")
	}
	if err := os.Rename(dir+"/s", dir+"/moved"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/s", []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	set.Close()
	if data, err := os.ReadFile(dir + "/s"); string(data) != "mine" {
		t.Errorf("somebody else's file: %q, %v", data, err)
	}
}

// ask6 is nil if this machine has IPv6.
func ask6() error {
	l, err := net.Listen("tcp", "[::1]:0")
	if err == nil {
		err = l.Close()
	}
	return err
}

// What a hostile node causes to be said is safe, is said once, and has an end.
func TestNotes(t *testing.T) {
	c := newCluster(t)
	n := 0
	f := &forwarder{channel: func(ch ssh.NewChannel) {
		n++
		ch.Reject(ssh.ConnectionFailed, fmt.Sprintf("no\x1b[2J\nway %d", n/2))
	}}
	client := connectTo(t, newDialer(t, f.serve(c)), c.client())
	p := freePort(t)
	_, said, err := forwarding(t, client, "L "+p+":db:80")
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		ask(t, "tcp", "127.0.0.1:"+p, "x")
	}
	lines := strings.Split(said.all(), "\n")
	if len(lines) != 21 || strings.ContainsAny(said.all(), "\x1b") || !strings.Contains(lines[20], "not reported") {
		t.Errorf("%d lines:\n%s", len(lines), said.all())
	}
}

// Each direction ends for itself; a connection that breaks does not look complete;
// a node that closes all of it lets go of a client that does not.
func TestEndsOfConnections(t *testing.T) {
	c := newCluster(t)
	behave := make(chan func(ssh.Channel), 1)
	f := &forwarder{channel: func(ch ssh.NewChannel) {
		channel, reqs, err := ch.Accept()
		if err != nil {
			return
		}
		go ssh.DiscardRequests(reqs)
		(<-behave)(channel)
	}}
	client := connectTo(t, newDialer(t, f.serve(c)), c.client())
	p := freePort(t)
	set, _, err := forwarding(t, client, "L "+p+":db:80")
	if err != nil {
		t.Fatal(err)
	}
	dial := func() *net.TCPConn {
		conn, err := net.Dial("tcp", "127.0.0.1:"+p)
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(time.Minute))
		return conn.(*net.TCPConn)
	}
	heard := make(chan string, 1)
	behave <- func(ch ssh.Channel) { // speaks first, then listens to the end
		io.WriteString(ch, "first")
		ch.CloseWrite()
		all, _ := io.ReadAll(ch)
		heard <- string(all)
		ch.Close()
	}
	conn := dial()
	if all, err := io.ReadAll(conn); string(all) != "first" || err != nil {
		t.Errorf("%q, %v", all, err)
	}
	io.WriteString(conn, "second")
	conn.CloseWrite()
	if got := <-heard; got != "second" {
		t.Errorf("%q", got)
	}
	behave <- func(ch ssh.Channel) { io.WriteString(ch, "bye"); ch.Close() }
	conn = dial()
	if all, err := io.ReadAll(conn); string(all) != "bye" || err != nil {
		t.Errorf("%q, %v", all, err)
	}
	if n := set.Wait(deadline(t)); n != 0 { // although conn is still open
		t.Errorf("%d connections are left", n)
	}
	behave <- func(ch ssh.Channel) {
		_, err := io.Copy(io.Discard, ch)
		heard <- fmt.Sprint(err)
	}
	conn = dial()
	io.WriteString(conn, "part")
	conn.SetLinger(0)
	conn.Close() // a reset
	<-heard
	behave <- func(ch ssh.Channel) { io.Copy(io.Discard, ch) }
	conn = dial()
	brief, cancel := context.WithCancel(t.Context())
	cancel()
	for set.Wait(brief) == 0 { // until it is accepted
	}
	set.Close()
	if _, err := io.ReadAll(conn); err != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("closed, and it goes on: %v", err)
	}
	if n := set.Wait(deadline(t)); n != 0 {
		t.Errorf("%d connections are left", n)
	}
}
