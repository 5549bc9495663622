package proxy

import "testing"

func TestTunnelAddress(t *testing.T) {
	type announced struct{ web, public, ssh, listen, tunnel string }
	for name, tt := range map[string]struct {
		a       announced
		routing bool
		set     string
		want    string
	}{
		"nothing said":                       {want: "w.example:3024"},
		"with TLS routing":                   {a: announced{public: "p.example:8443", tunnel: "t.example:1"}, routing: true, want: "p.example:8443"},
		"with TLS routing, no port":          {a: announced{public: "p.example", web: "0.0.0.0:3080"}, routing: true, want: "p.example:3080"},
		"with TLS routing, no port anywhere": {a: announced{public: "p.example"}, routing: true, want: "p.example:443"},
		"with TLS routing, where it listens": {a: announced{web: "[::]:3080"}, routing: true, want: "w.example:3080"},
		"with TLS routing, nothing said":     {routing: true, want: "w.example:443"},
		"public":                             {a: announced{tunnel: "t.example:99", public: "p.example:1"}, want: "t.example:99"},
		"public, no port":                    {a: announced{tunnel: "t.example", listen: "0.0.0.0:4024"}, want: "t.example:4024"},
		"host of SSH":                        {a: announced{ssh: "s.example:3023", public: "p.example:443", listen: "[::]:4024"}, want: "s.example:4024"},
		"host of the web":                    {a: announced{public: "p.example:443"}, want: "p.example:3024"},
		"listens":                            {a: announced{listen: "10.0.0.1:4024", web: "10.0.0.2:3080"}, want: "10.0.0.1:4024"},
		"listens everywhere":                 {a: announced{listen: "0.0.0.0:4024"}, want: "w.example:4024"},
		"the web listens":                    {a: announced{web: "10.0.0.2:3080"}, want: "10.0.0.2:3080"},
		"set":                                {a: announced{tunnel: "t.example:99"}, set: "env.example:7", want: "env.example:7"},
		"set, no port":                       {a: announced{tunnel: "t.example:99"}, set: "env.example", want: "env.example:3024"},
		"set to nonsense":                    {set: "good@evil.example"},
		"bad":                                {a: announced{tunnel: "good@evil.example"}},
		"bad, of no use":                     {a: announced{listen: "a b", public: "p.example"}, routing: true},
	} {
		t.Setenv(tunnelVariable, tt.set)
		var p Ping
		var f found
		p.Proxy.TLSRouting = tt.routing
		p.Proxy.SSH.WebListenAddr, p.Proxy.SSH.PublicAddr, p.Proxy.SSH.SSHPublicAddr = tt.a.web, tt.a.public, tt.a.ssh
		f.Proxy.SSH.TunnelListenAddr, f.Proxy.SSH.TunnelPublicAddr = tt.a.listen, tt.a.tunnel
		got, err := tunnelAddr(&p, &f, "w.example:443")
		if got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%s: %q, %v; want %q", name, got, err, tt.want)
		}
	}
}
