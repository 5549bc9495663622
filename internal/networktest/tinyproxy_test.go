package networktest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/seed-087d674e/tsh/internal/devcluster"
)

// resolver is an HTTP proxy behind tinyproxy that knows where name is: the tests
// need neither a name server nor /etc/hosts.
type resolver struct {
	addr string
	mu   sync.Mutex
	got  []string // host:port, in order
}

// startResolver connects the ports of name to addresses.
func startResolver(t *testing.T, ports map[string]string) *resolver {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	r := &resolver{addr: l.Addr().String()}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go r.serve(conn, ports)
		}
	}()
	return r
}

func (r *resolver) serve(conn net.Conn, ports map[string]string) {
	in := bufio.NewReader(conn)
	req, err := http.ReadRequest(in)
	if err != nil || req.Method != http.MethodConnect {
		_ = conn.Close()
		return
	}
	r.mu.Lock()
	r.got = append(r.got, req.RequestURI)
	r.mu.Unlock()
	host, port, _ := net.SplitHostPort(req.RequestURI)
	to, ok := ports[port]
	if !ok || host != name {
		_, _ = io.WriteString(conn, "HTTP/1.0 502 Bad Gateway\r\n\r\n")
		_ = conn.Close()
		return
	}
	_, _ = io.WriteString(conn, "HTTP/1.0 200 Connection established\r\n\r\n")
	splice(conn, to)
}

// asked are the addresses asked for since the last call.
func (r *resolver) asked() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	got := r.got
	r.got = nil
	slices.Sort(got)
	return got
}

// startTinyproxy starts a tinyproxy that wants a password, and returns the URL
// of it, without and with that.
func startTinyproxy(t *testing.T, r *resolver, allowed ...string) (bare, full string) {
	t.Helper()
	dir, port := t.TempDir(), freePort(t)
	conf := fmt.Sprintf("Port %s\nListen 127.0.0.1\nTimeout 60\nMaxClients 50\nLogFile \"%s/log\"\nPidFile \"%[2]s/pid\"\nBasicAuth alice %s\nUpstream http %s \".test\"\n",
		port, dir, proxyPassword, r.addr)
	for _, p := range allowed {
		conf += "ConnectPort " + p + "\n"
	}
	path := filepath.Join(dir, "tinyproxy.conf")
	if err := os.WriteFile(path, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	addr := "127.0.0.1:" + port
	daemon(t, addr, "tinyproxy", "-d", "-c", path)
	u := url.URL{Scheme: "http", Host: addr, User: url.UserPassword("alice", proxyPassword)}
	return "http://" + addr, u.String()
}

// case N15: login, ls and ssh through an HTTP proxy that wants a password, to a
// name that only it can reach.
func TestThroughTinyproxy(t *testing.T) {
	c := startCluster(t, nil)
	r := startResolver(t, map[string]string{"443": c.Addr()})
	bare, full := startTinyproxy(t, r, "443", "3080")
	w := newWorld(t, "SSL_CERT_FILE="+c.CAFile())
	login := []string{"login", "--proxy=" + name, "--user=alice", "--password-stdin", "--debug"}

	w.with("HTTPS_PROXY="+bare).fails("it wants a user name and a password (407)", alicePassword, login...)
	w.with("HTTPS_PROXY="+strings.Replace(bare, "//", "//alice:"+canary+"wrong@", 1)).fails("it does not take the user name and the password of HTTPS_PROXY", alicePassword, login...)
	w.with("HTTPS_PROXY=http://127.0.0.1:"+freePort(t)).fails("connection refused", alicePassword, login...)
	w.with("HTTPS_PROXY="+full, "NO_PROXY=.other,"+name).fails("lookup "+name, alicePassword, login...)
	w.with("HTTPS_PROXY=socks5://alice:"+canary+"x@127.0.0.1:1").fails(`of the kind "socks5"`, alicePassword, login...)
	if got := r.asked(); len(got) != 0 {
		t.Errorf("asked for %q", got)
	}
	w = w.with("https_proxy="+full, "NO_PROXY=.other")
	w.login(name)
	// Both ports are tried; the one that answers is probed for ALPN, too.
	if got := r.asked(); !slices.Equal(got, []string{name + ":3080", name + ":443", name + ":443"}) {
		t.Errorf("the login asked for %q", got)
	}
	w.journey()
	if got := r.asked(); !slices.Equal(got, []string{name + ":443", name + ":443"}) {
		t.Errorf("ls and ssh asked for %q", got)
	}
}

// Ports of their own for SSH, of today and of 14.x: all go through the proxy.
func TestSeparatePortsThroughTinyproxy(t *testing.T) {
	for version, emulate := range map[string]int{"today": 0, "14": 14} {
		t.Run(version, func(t *testing.T) {
			c := startCluster(t, func(cfg *devcluster.Config) { cfg.SeparatePorts, cfg.Emulate = true, emulate })
			_, sshPort, _ := net.SplitHostPort(c.SSHAddr())
			r := startResolver(t, map[string]string{"443": c.Addr(), sshPort: c.SSHAddr()})
			_, full := startTinyproxy(t, r, "443", sshPort)
			w := newWorld(t, "SSL_CERT_FILE="+c.CAFile(), "HTTPS_PROXY="+full)
			w.login(name + ":443")
			r.asked()
			w.journey()
			if got := r.asked(); !slices.Equal(got, []string{name + ":" + sshPort, name + ":" + sshPort}) {
				t.Errorf("ls and ssh asked for %q, not the port for SSH", got)
			}
		})
	}
}

// case N21: the connection that is upgraded, too, goes through the HTTP proxy.
func TestNginxThroughTinyproxy(t *testing.T) {
	b := startNginx(t, name+":443", nil)
	r := startResolver(t, map[string]string{"443": b.listens})
	_, full := startTinyproxy(t, r, "443")
	w := newWorld(t, "HTTPS_PROXY="+full)
	w.login(name+":443", "--ca-file="+b.caFile)
	r.asked()
	w.with("TSH_CA_FILE=" + b.caFile).journey()
	if got := r.asked(); !slices.Equal(got, []string{name + ":443", name + ":443"}) {
		t.Errorf("ls and ssh asked for %q", got)
	}
}
