package proxy

import (
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"net"
	"testing"

	"github.com/seed-087d674e/tsh/internal/text"
)

// serverHello is the first message of a TLS 1.2 server that picks a protocol
// nobody has offered.
func serverHello(alpn string) []byte {
	name := append([]byte{byte(len(alpn))}, alpn...)
	list := binary.BigEndian.AppendUint16(nil, uint16(len(name)))
	list = append(list, name...)
	extension := binary.BigEndian.AppendUint16([]byte{0, 16}, uint16(len(list)))
	extension = append(extension, list...)
	body := append([]byte{3, 3}, make([]byte, 32)...)
	body = append(body, 0, 0xc0, 0x2f, 0) // no session, a cipher suite, no compression
	body = binary.BigEndian.AppendUint16(body, uint16(len(extension)))
	body = append(body, extension...)
	message := append([]byte{2, 0, 0, byte(len(body))}, body...)
	return append([]byte{22, 3, 3, 0, byte(len(message))}, message...)
}

// case N21: what the proxy, or something before it, does with ALPN.
func TestUpgradeProbe(t *testing.T) {
	ca, stranger := newAuthority(t, "web"), newAuthority(t, "stranger")
	withALPN := func(a *authority, names ...string) *tls.Config {
		cfg := serverConfig(t, a)
		cfg.NextProtos = names
		return cfg
	}
	idle := func(*tls.Conn) {}
	for name, tt := range map[string]struct {
		peer *peer
		want bool
	}{
		"knows the name":          {startTLS(t, withALPN(ca, "http/1.1", probeALPN), idle), false},
		"negotiates nothing":      {startTLS(t, withALPN(ca), idle), true},
		"alert: no protocol":      {startTLS(t, withALPN(ca, "http/1.1"), idle), true},
		"picks another":           {startPeer(t, func(c net.Conn) { _, _ = c.Read(make([]byte, 4096)); _, _ = c.Write(serverHello("h2")) }), true},
		"another alert":           {startPeer(t, func(c net.Conn) { _, _ = c.Read(make([]byte, 4096)); _, _ = c.Write([]byte{21, 3, 3, 0, 2, 2, 80}) }), false},
		"hangs up":                {startPeer(t, func(c net.Conn) { _, _ = c.Read(make([]byte, 4096)) }), false},
		"untrusted, without ALPN": {startTLS(t, withALPN(stranger), idle), false},
	} {
		c := clientFor(t, tt.peer.addr, ca.pool())
		if got := c.UpgradeRequired(testContext(t)); got != tt.want || tt.peer.conns.Load() != 1 {
			t.Errorf("%s: %v, %d connections", name, got, tt.peer.conns.Load())
		}
	}
	if clientFor(t, "127.0.0.1:1", ca.pool()).UpgradeRequired(testContext(t)) {
		t.Error("nobody listens: an upgrade is required")
	}
}

// case N17, case N12: the probe goes where the ping went, whatever that has announced.
func TestProbeConnectedAddress(t *testing.T) {
	ca := newAuthority(t, "web")
	for _, announced := range []string{"proxy.test:443", "evil.test:443", "evil.test"} {
		evil := startTLS(t, serverConfig(t, ca), func(*tls.Conn) {})
		web := startWeb(t, serverConfig(t, ca), func(*request) []byte {
			return reply(200, `{"cluster_name":"c","proxy":{"ssh":{"public_addr":"`+announced+`"}}}`)
		})
		c := NewClient(Options{Addr: mustParse(t, "proxy.test:3081"), RootCAs: ca.pool(),
			Dial: dialTo(map[string]string{"443": evil.addr, "3080": evil.addr, "3081": web.addr})})
		defer c.Close()
		if _, err := c.Ping(testContext(t), ""); err != nil {
			t.Fatal(err)
		}
		if !c.UpgradeRequired(testContext(t)) {
			t.Errorf("%s: the web server negotiates nothing", announced)
		}
		if evil.conns.Load() != 0 || web.conns.Load() != 2 {
			t.Errorf("%s: %d connections there, %d here", announced, evil.conns.Load(), web.conns.Load())
		}
		t.Setenv(upgradeVariable, "proxy.test:443=false,evil.test:443=no,evil.test:3080=0")
		if c.UpgradeRequired(testContext(t)) || evil.conns.Load() != 0 {
			t.Errorf("%s: the variable does not count for the announced address", announced)
		}
		t.Setenv(upgradeVariable, "")
	}
}

// case N12: what a TLS peer chooses gets into errors only as one printable line.
func TestTextOfTLSPeers(t *testing.T) {
	ca := newAuthority(t, "web")
	const evil = "\x1b[2J\nWARNING: x\u202e"
	alert := func(code byte) []byte { return []byte{21, 3, 3, 0, 2, 2, code} }
	for name, first := range map[string][]byte{
		"protocol nobody offered": serverHello(evil),
		"unknown alert":           alert(255),
		"expired":                 alert(45),
		"no protocol":             alert(120),
		"no TLS":                  []byte("HTTP/1.1 400 " + evil + "\r\n\r\n" + evil),
		"odd record":              []byte("\x16\x1b[2J\n\n\n" + evil),
		"nothing":                 nil,
	} {
		p := startPeer(t, func(c net.Conn) {
			_, _ = c.Read(make([]byte, 4096))
			_, _ = c.Write(first)
		})
		cfg := Config{WebAddr: p.addr, TLSRouting: true, TLS: clientIdentity(t, ca, nil), Cluster: "web"}
		_, auth := DialAuth(testContext(t), cfg)
		_, transport := Dial(testContext(t), cfg)
		cfg.ConnUpgrade, cfg.RootCAs = true, ca.pool()
		_, upgraded := DialAuth(testContext(t), cfg)
		_, ping := clientFor(t, p.addr, ca.pool()).Ping(testContext(t), "")
		for _, err := range []error{auth, transport, upgraded, ping} {
			if err == nil || text.Line(err.Error()) != err.Error() || len(err.Error()) > 2*maxShown {
				t.Errorf("%s: %q", name, fmt.Sprint(err))
			}
		}
	}
}

func TestUpgradeOverride(t *testing.T) {
	const addr = "proxy.test:443"
	for setting, want := range map[string][2]bool{
		"":                                       {false, false},
		"true":                                   {true, true},
		"no":                                     {false, true},
		"YES":                                    {true, true},
		"0":                                      {false, true},
		"maybe":                                  {false, false},
		"false;proxy.test:443=true":              {true, true},
		"proxy.test:443=false,true":              {false, true},
		"other.test:443=true":                    {false, false},
		"other.test:443=true, PROXY.test:443 =x": {false, false},
		"true,other.test:443=false":              {true, true},
		"; , 1 ,":                                {true, true},
	} {
		if required, ok := upgradeOverride(setting, addr); required != want[0] || ok != want[1] {
			t.Errorf("%q: %v %v, want %v", setting, required, ok, want)
		}
	}
	t.Setenv(upgradeVariable, "127.0.0.1:1=true")
	if !NewClient(Options{Addr: mustParse(t, "127.0.0.1:1")}).UpgradeRequired(testContext(t)) {
		t.Error("the variable is not heeded")
	}
}
