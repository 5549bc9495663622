package networktest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-087d674e/tsh/internal/devcluster"
)

// nginxConfig is what the manuals of load balancers advise for a Teleport proxy
// behind HTTP: TLS ends here, a WebSocket is let through.
const nginxConfig = `
daemon off;
master_process off;
pid %[1]s/pid;
error_log %[1]s/error.log info;
events { worker_connections 64; }
http {
  access_log %[1]s/access.log;
  client_body_temp_path %[1]s/body;
  proxy_temp_path %[1]s/proxy;
  fastcgi_temp_path %[1]s/fastcgi;
  uwsgi_temp_path %[1]s/uwsgi;
  scgi_temp_path %[1]s/scgi;
  map $http_upgrade $connection_upgrade { default upgrade; '' close; }
  server {
    listen 127.0.0.1:%[2]s ssl;
    ssl_certificate %[3]s;
    ssl_certificate_key %[4]s;
    location / {
      proxy_pass https://%[5]s;
      proxy_ssl_verify off;
      proxy_http_version 1.1;
      proxy_read_timeout 300s;
      proxy_set_header Host $host;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
    }
  }
}
`

// balancer is an nginx before a cluster.
type balancer struct {
	*relay        // counts what comes
	addr   string // that people use
	caFile string // certifies it
	log    string
}

// requests are the paths that it was asked for.
func (b *balancer) requests(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(b.log)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// startNginx puts nginx before a cluster that is announced by its address, or
// by public.
func startNginx(t *testing.T, public string, change func(*devcluster.Config)) *balancer {
	t.Helper()
	caFile, certFile, keyFile := certify(t)
	port, dir := freePort(t), t.TempDir()
	addr := "127.0.0.1:" + port
	b := &balancer{relay: startRelay(t, addr), caFile: caFile, log: filepath.Join(dir, "access.log")}
	if public == "" {
		_, counted, _ := net.SplitHostPort(b.listens)
		public = "localhost:" + counted
	}
	c := startCluster(t, func(cfg *devcluster.Config) {
		cfg.PublicAddr = public
		if change != nil {
			change(cfg)
		}
	})
	conf := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, nginxConfig, dir, port, certFile, keyFile, c.Addr()), 0o600); err != nil {
		t.Fatal(err)
	}
	daemon(t, addr, "nginx", "-p", dir, "-c", conf, "-e", filepath.Join(dir, "start.log"))
	b.addr = public
	return b
}

// case N21: behind a load balancer that ends TLS a login finds out that
// connections have to be upgraded, and later commands know it.
func TestBehindNginx(t *testing.T) {
	for version, emulate := range map[string]int{"today": 0, "14": 14} {
		t.Run(version, func(t *testing.T) {
			b := startNginx(t, "", func(cfg *devcluster.Config) { cfg.Emulate = emulate })
			w := newWorld(t)
			w.fails("presented by CN=load balancer, issued by CN=load balancer CA", alicePassword, "login", "--proxy="+b.addr, "--user=alice", "--password-stdin")
			w = w.with("TSH_CA_FILE=" + b.caFile)
			before := b.conns.Load()
			w.login(b.addr)
			if n := b.conns.Load() - before; n != 2 {
				t.Errorf("the login made %d connections; want one for the calls, one to find out about ALPN", n)
			}
			if p := w.stored("localhost"); !strings.Contains(p, "tls_routing_conn_upgrade_required: true") {
				t.Errorf("the profile does not say so:\n%s", p)
			}
			pings := strings.Count(b.requests(t), "/webapi/ping")
			before = b.conns.Load()
			w.journey()
			// A server of 14.x has to be asked for either form.
			if n, want := b.conns.Load()-before, map[int]int32{0: 2, 14: 4}[emulate]; n != want {
				t.Errorf("ls and ssh made %d connections, want %d: no probe", n, want)
			}
			// An upgraded connection is noted once it has ended.
			waitUntil(t, func() bool {
				return strings.Count(b.requests(t), `"GET /webapi/connectionupgrade HTTP/1.1" 101`) == 2
			})
			if said := b.requests(t); strings.Count(said, "/webapi/ping") != pings {
				t.Errorf("nginx was asked for:\n%s", said)
			}
		})
	}
}

// The variable of other clients overrides what is found out.
func TestUpgradeOverride(t *testing.T) {
	b := startNginx(t, "", nil)
	w := newWorld(t, "TSH_CA_FILE="+b.caFile)
	before := b.conns.Load()
	w.with("TELEPORT_TLS_ROUTING_CONN_UPGRADE=" + b.addr + "=no;yes").login(b.addr)
	if n := b.conns.Load() - before; n != 1 {
		t.Errorf("%d connections: it was probed all the same", n)
	}
	if p := w.stored("localhost"); strings.Contains(p, "tls_routing_conn_upgrade_required: true") {
		t.Errorf("the variable did not count:\n%s", p)
	}
	w.fails("no application protocol", "", "ls")
	w.with("TELEPORT_TLS_ROUTING_CONN_UPGRADE=yes").login(b.addr, "--force")
	w.journey()
}
