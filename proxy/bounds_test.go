package proxy

import (
	"context"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"
)

// case N04: small text that is much in memory is refused before it is unpacked.
func TestJSONBounds(t *testing.T) {
	list := func(open, element string, n int, shut string) string {
		return open + strings.TrimSuffix(strings.Repeat(element+",", n), ",") + shut
	}
	members := func(n int) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(`,"m` + strings.Repeat("x", i) + `":1`)
		}
		return "{" + strings.TrimPrefix(b.String(), ",") + "}"
	}
	inner := list("[", "0", maxJSONElements, "]")
	for name, tt := range map[string]struct{ doc, want string }{
		"most elements":    {list(`{"host_signers":[`, "{}", maxJSONElements, "]}"), ""},
		"too many":         {list(`{"host_signers":[`, "{}", maxJSONElements+1, "]}"), "more than 4096 elements"},
		"a megabyte":       {list(`{"host_signers":[`, "{}", maxLoginAnswer/3, "]}"), "more than 4096 elements"},
		"many ignored":     {list(`{"x":[`, "0", maxJSONElements+1, "]}"), "more than 4096 elements"},
		"most members":     {members(maxJSONMembers), ""},
		"too many names":   {members(maxJSONMembers + 1), "more than 1024 members"},
		"many parts":       {list(`{"x":[`, inner, 17, "]}"), "more than 65536 parts"},
		"arrays of arrays": {list(`{"host_signers":[`, `{"checking_keys":`+inner+`}`, 300, "]}"), "more than 65536 parts"},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := decodeJSON([]byte(tt.doc), new(LoginResponse))
		runtime.ReadMemStats(&after)
		if (tt.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 32<<20 {
			t.Errorf("%s: allocated %d MiB", name, grown>>20)
		}
	}
}

// case T05, case L21: the text of a refusal starts no line.
func TestErrorTextStartsNoLine(t *testing.T) {
	for _, err := range []error{
		&Error{Op: "login", Host: "h:1", Message: "\nno\nWARNING: x\r\nhint\n\n" + strings.Repeat("more\n", 1000)},
		&Error{Op: "login", Host: "h:1", Message: "no\n" + strings.Repeat("x", 5000) + "\nWARNING"},
		&NodeError{Message: "no\nWARNING: x\n"},
	} {
		lines := strings.Split(err.Error(), "\n")
		for _, line := range lines[1:] {
			if line != "" && !strings.HasPrefix(line, "    ") {
				t.Errorf("%q has the line %q", err, line)
			}
		}
		if len(lines) > maxLines || len(err.Error()) > maxShown+20 {
			t.Errorf("%d lines, %d bytes", len(lines), len(err.Error()))
		}
	}
}

// case N17: the waiting time that a proxy announces.
func TestDialTimeoutBounds(t *testing.T) {
	for announced, want := range map[time.Duration]time.Duration{
		0: 0, -1: 0, -1 << 63: 0, 30 * time.Second: 30 * time.Second, maxSSHDialTimeout + 1: maxSSHDialTimeout, 1<<63 - 1: maxSSHDialTimeout,
	} {
		p := new(Ping)
		p.Proxy.SSH.DialTimeout = announced
		if got := p.Settings("h:443").SSHDialTimeout; got != want {
			t.Errorf("%v became %v", announced, got)
		}
	}
}

// case N17: who has not proved who it is moves nothing to another host.
func TestUnproven(t *testing.T) {
	ping, err := decodePing([]byte(`{"cluster_name":"c","proxy":{"kube":{"enabled":true,"public_addr":"evil.test:1","listen_addr":"evil.test:2"},
		"ssh":{"public_addr":"evil.test:3","ssh_public_addr":"evil.test","listen_addr":"evil.test:5"},
		"db":{"postgres_public_addr":"evil.test:6","mysql_public_addr":"evil.test:7","mongo_public_addr":"evil.test:8"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	want := Settings{WebAddr: "proxy.test:3", SSHAddr: "proxy.test:5", KubeAddr: "proxy.test:1", PostgresAddr: "proxy.test:6", MySQLAddr: "proxy.test:7", MongoAddr: "proxy.test:8"}
	if got := ping.Unproven().Settings("proxy.test:443"); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if name := ping.Unproven().ProfileName("proxy.test:443"); name != "proxy.test" {
		t.Error(name)
	}
	if ping.ProfileName("proxy.test:443") != "evil.test" {
		t.Error("the original has changed")
	}
	if got := new(Ping).Unproven().Settings("[::1]:443").WebAddr; got != "[::1]:443" {
		t.Error(got)
	}
}

// case N17: with --insecure it still counts who the server is.
func TestVerified(t *testing.T) {
	ca, stranger := newAuthority(t, "web"), newAuthority(t, "stranger")
	good, bad := pingServer(t, serverConfig(t, ca), "c"), pingServer(t, serverConfig(t, stranger), "c")
	for _, tt := range []struct {
		host     string
		peer     *peer
		insecure bool
		want     bool
	}{
		{"proxy.test", good, false, true}, {"proxy.test", good, true, true}, {"proxy.test", bad, false, false},
		{"proxy.test", bad, true, false}, {"other.example", good, true, false},
	} {
		dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, tt.peer.addr)
		}
		c := NewClient(Options{Addr: mustParse(t, tt.host+":443"), RootCAs: ca.pool(), Insecure: tt.insecure, Dial: dial})
		if c.Verified() {
			t.Error("verified before the first connection")
		}
		_, err := c.Ping(testContext(t), "")
		if (err == nil) != (tt.want || tt.insecure) || c.Verified() != tt.want {
			t.Errorf("%s, insecure %v: verified %v, %v", tt.host, tt.insecure, c.Verified(), err)
		}
		c.Close()
	}
}
