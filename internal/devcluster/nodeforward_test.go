//go:build unix

package devcluster

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/seed-087d674e/tsh/internal/testenv"
)

// upcase answers, at the end of what it is told, with the same in capitals.
func upcase(t *testing.T, network, address string) string {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go serveUpcase(l)
	return l.Addr().String()
}

func serveUpcase(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			if all, err := io.ReadAll(conn); err == nil {
				_, _ = conn.Write(bytes.ToUpper(all))
			}
		}()
	}
}

// ask says something on a connection and returns the answer.
func ask(t *testing.T, conn net.Conn, err error) string {
	t.Helper()
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "hello")
	_ = conn.(interface{ CloseWrite() error }).CloseWrite()
	answer, err := io.ReadAll(conn)
	if err != nil {
		return err.Error()
	}
	return string(answer)
}

// A node connects, listens, lets go of a port when it is told to, and of all
// when the client is gone.
func TestNodeForwards(t *testing.T) {
	f := startCluster(t, nil)
	l := f.login(nil)
	client, err := f.ssh(l, f.transport(l), "node-1", "alice")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	dir := t.TempDir()
	web, sock := upcase(t, "tcp", "127.0.0.1:0"), upcase(t, "unix", filepath.Join(dir, "web"))
	conn, err := client.Dial("tcp", web)
	if got := ask(t, conn, err); got != "HELLO" {
		t.Errorf("port: %s", got)
	}
	conn, err = client.Dial("unix", sock)
	if got := ask(t, conn, err); got != "HELLO" {
		t.Errorf("socket: %s", got)
	}
	conn, err = client.Dial("tcp", "127.0.0.1:1")
	if got := ask(t, conn, err); !strings.Contains(got, "refused") {
		t.Errorf("closed port: %s", got)
	}
	port, err := client.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go serveUpcase(port)
	there, err := client.ListenUnix(filepath.Join(dir, "there"))
	if err != nil {
		t.Fatal(err)
	}
	go serveUpcase(there)
	for _, addr := range []net.Addr{port.Addr(), there.Addr()} {
		conn, err = net.Dial(addr.Network(), addr.String())
		if got := ask(t, conn, err); got != "HELLO" {
			t.Errorf("%v: %s", addr, got)
		}
	}
	if _, err := client.Listen("tcp", port.Addr().String()); err == nil {
		t.Error("a port was given twice")
	}
	if err := port.Close(); err != nil { // it waits for the answer
		t.Error(err)
	}
	if _, err := net.Dial("tcp", port.Addr().String()); err == nil {
		t.Error("the port is still there")
	}
	idle, err := net.Dial("unix", there.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	_ = client.Close()
	_ = idle.SetDeadline(time.Now().Add(time.Minute))
	if n, err := idle.Read(make([]byte, 1)); n > 0 || os.IsTimeout(err) {
		t.Errorf("a connection outlives the client: %v", err)
	}
	for late := time.Now().Add(time.Minute); ; pause() { // the node ends one after the other
		conn, err := net.Dial("unix", there.Addr().String())
		if err != nil {
			return
		}
		_ = conn.Close()
		if time.Now().After(late) {
			t.Fatal("the socket is still there")
		}
	}
}

// Roles that forbid it: a listener is not granted; a channel is, with a word of why.
func TestNodeForwardingForbidden(t *testing.T) {
	f := startCluster(t, nil)
	if err := f.ForbidForwarding(); err != nil {
		t.Fatal(err)
	}
	l := f.login(nil)
	client, err := f.ssh(l, f.transport(l), "node-1", "alice")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Listen("tcp", "127.0.0.1:0"); err == nil {
		t.Error("it listens")
	}
	if _, err := client.ListenUnix(filepath.Join(t.TempDir(), "s")); err == nil {
		t.Error("it listens on a socket")
	}
	ch, reqs, err := client.OpenChannel("direct-tcpip", ssh.Marshal(directTCP{Host: "127.0.0.1", Port: 1}))
	if err != nil {
		t.Fatal(err)
	}
	go ssh.DiscardRequests(reqs)
	said, err := io.ReadAll(ch.Stderr())
	if string(said) != noForwarding+"\r\n" || err != nil {
		t.Errorf("%q, %v", said, err)
	}
}

// The stock client forwards over the node: ports, sockets and SOCKS.
func TestOpenSSHForwards(t *testing.T) {
	program := testenv.Program(t, "ssh")
	f := startCluster(t, nil)
	f.clock.Advance(time.Since(f.clock.Now()))
	options := f.openSSH(f.login(nil))
	dir := t.TempDir()
	web := upcase(t, "tcp", "127.0.0.1:0")
	there := filepath.Join(dir, "there")
	cmd := exec.CommandContext(t.Context(), program, append(options, "-o", "ExitOnForwardFailure=yes",
		"-L", dir+"/here:"+web, "-L", dir+"/again:"+there, "-R", there+":"+web, "-R", "0:"+web, "alice@127.0.0.1", "echo ready; cat")...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(stdout, make([]byte, len("ready\n"))); err != nil {
		t.Fatalf("%v: %s", err, &said)
	}
	for _, path := range []string{dir + "/here", dir + "/again", there} {
		conn, err := net.Dial("unix", path)
		if got := ask(t, conn, err); got != "HELLO" {
			t.Errorf("%s: %s", path, got)
		}
	}
	_ = stdin.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	var port int
	if _, err := fmt.Sscanf(said.String(), "Allocated port %d for remote forward to "+web, &port); err != nil {
		t.Errorf("%v: %s", err, &said)
	}
}
