package proxy

import (
	"bufio"
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"
)

// Settings must come out as the reference client has stored them.
func TestSettingsAsStored(t *testing.T) {
	for _, version := range []string{"18.3", "14.0"} {
		stored := map[string]string{}
		lines := bufio.NewScanner(bytes.NewReader(readFile(t, "webapi-"+version+"/profile.yaml")))
		for lines.Scan() {
			key, value, _ := strings.Cut(lines.Text(), ": ")
			stored[key] = value
		}
		ping, err := decodePing(fixtureBody(t, "webapi-"+version+"/ping.http"))
		if err != nil {
			t.Fatal(err)
		}
		s := ping.Settings("127.0.0.1:1234")
		for key, got := range map[string]string{
			"web_proxy_addr": s.WebAddr, "ssh_proxy_addr": s.SSHAddr, "kube_proxy_addr": s.KubeAddr,
			"postgres_proxy_addr": s.PostgresAddr, "mysql_proxy_addr": s.MySQLAddr, "mongo_proxy_addr": s.MongoAddr,
		} {
			if got != stored[key] {
				t.Errorf("%s: %s is %q, the reference client has %q", version, key, got, stored[key])
			}
		}
		if routing := stored["tls_routing_enabled"] == "true"; s.TLSRouting != routing {
			t.Errorf("%s: TLS routing %v", version, s.TLSRouting)
		}
		if s.SSHDialTimeout != 0 && s.SSHDialTimeout.String() != stored["ssh_dial_timeout"] {
			t.Errorf("%s: dial timeout %v", version, s.SSHDialTimeout)
		}
		if name := ping.ProfileName("127.0.0.1:1234"); name != "localhost" {
			t.Errorf("%s: profile name %q", version, name)
		}
	}
}

func TestSettings(t *testing.T) {
	for _, tt := range []struct {
		name, proxy string
		want        Settings
	}{
		{"nothing announced", `{}`,
			Settings{WebAddr: "h:1", SSHAddr: "h:3023", PostgresAddr: "h:1"}},
		{"public address without port", `{"ssh":{"public_addr":"p.example"},"tls_routing_enabled":true}`,
			Settings{WebAddr: "p.example:3080", SSHAddr: "p.example:3023", KubeAddr: "p.example:3080", PostgresAddr: "p.example:3080", TLSRouting: true}},
		{"port alone", `{"ssh":{"public_addr":":443","listen_addr":":2023"}}`,
			Settings{WebAddr: "h:443", SSHAddr: "h:2023", PostgresAddr: "h:443"}},
		{"separate ports", `{"kube":{"enabled":true,"listen_addr":"[::]:4026"},"ssh":{"listen_addr":"0.0.0.0:2023","ssh_public_addr":"s.example:22","dial_timeout":5000000000},
			"db":{"postgres_listen_addr":"0.0.0.0:5433","mysql_public_addr":"m.example","mongo_listen_addr":"1.2.3.4:9"}}`,
			Settings{WebAddr: "h:1", SSHAddr: "s.example:22", KubeAddr: "h:4026", PostgresAddr: "h:5433", MySQLAddr: "m.example:3036", MongoAddr: "h:9", SSHDialTimeout: 5 * time.Second}},
		{"kube elsewhere", `{"kube":{"enabled":true,"listen_addr":"10.0.0.1"}}`,
			Settings{WebAddr: "h:1", SSHAddr: "h:3023", KubeAddr: "10.0.0.1:3026", PostgresAddr: "h:1"}},
		{"kube public", `{"kube":{"enabled":true,"public_addr":"k.example:443"},"db":{"postgres_public_addr":"pg.example"}}`,
			Settings{WebAddr: "h:1", SSHAddr: "h:3023", KubeAddr: "k.example:443", PostgresAddr: "pg.example:5432"}},
		{"databases with TLS routing", `{"tls_routing_enabled":true,"db":{"postgres_listen_addr":"0.0.0.0:5","mysql_listen_addr":"0.0.0.0:6"}}`,
			Settings{WebAddr: "h:1", SSHAddr: "h:3023", KubeAddr: "h:1", PostgresAddr: "h:1", MySQLAddr: "h:6", TLSRouting: true}},
	} {
		ping, err := decodePing([]byte(`{"cluster_name":"c","proxy":` + tt.proxy + `}`))
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if got := ping.Settings("h:1"); got != tt.want {
			t.Errorf("%s:\n got %+v\nwant %+v", tt.name, got, tt.want)
		}
	}
}

func TestPingSpellings(t *testing.T) {
	for text, want := range map[string]string{
		``: "legacy", `,"signature_algorithm_suite":null`: "legacy", `,"signature_algorithm_suite":""`: "legacy", `,"signature_algorithm_suite":0`: "legacy",
		`,"signature_algorithm_suite":2`: "balanced-v1", `,"signature_algorithm_suite":4`: "hsm-v1", `,"signature_algorithm_suite":1`: "legacy", `,"signature_algorithm_suite":3`: "fips-v1",
		`,"signature_algorithm_suite":"SIGNATURE_ALGORITHM_SUITE_BALANCED_V1"`: "balanced-v1", `,"signature_algorithm_suite":"SIGNATURE_ALGORITHM_SUITE_UNSPECIFIED"`: "legacy",
		`,"signature_algorithm_suite":"future-v9"`: "future-v9",
	} {
		ping, err := decodePing([]byte(`{"cluster_name":"c","auth":{"type":"local"` + text + `}}`))
		if err != nil || ping.Auth.SignatureSuite() != want {
			t.Errorf("%s: %v, %v", text, ping, err)
		}
	}
	for text, want := range map[string]time.Duration{`"12h0m0s"`: 12 * time.Hour, `"never"`: 0, `"0s"`: 0, `60000000000`: time.Minute, `null`: 0, `""`: 0} {
		ping, err := decodePing([]byte(`{"cluster_name":"c","auth":{"default_session_ttl":` + text + `}}`))
		if err != nil || ping.Auth.DefaultSessionTTL() != want {
			t.Errorf("%s: %v, %v", text, ping, err)
		}
	}
}

// case N06
func TestAnswersRefused(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 1000000)
	for name, text := range map[string]string{
		"depth":             deep,
		"depth of arrays":   `{"x":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`,
		"duplicate members": `{"cluster_name":"a","cluster_name":"b"}`,
		"duplicates inside": `{"cluster_name":"a","auth":{"x":[{"y":1,"y":2}]}}`,
		"NaN":               `{"cluster_name":"a","x":NaN}`,
		"invalid UTF-8":     "{\"cluster_name\":\"\xff\"}",
		"two documents":     `{"cluster_name":"a"}{}`,
		"rubbish after":     `{"cluster_name":"a"}x`,
		"cut":               `{"cluster_name":"a"`,
		"empty":             ``,
		"number":            `5`,
		"array":             `[]`,
		"wrong type":        `{"cluster_name":5}`,
		"wrong type inside": `{"cluster_name":"a","auth":{"has_motd":"yes"}}`,
		"object as string":  `{"cluster_name":"a","auth":[]}`,
		"bad duration":      `{"cluster_name":"a","auth":{"default_session_ttl":"soon"}}`,
		"huge number":       `{"cluster_name":"a","auth":{"piv_pin_cache_ttl":1e400}}`,
		// case N14, in what a proxy announces
		"user name":  `{"cluster_name":"a","proxy":{"ssh":{"public_addr":"good@evil.example:443"}}}`,
		"bad port":   `{"cluster_name":"a","proxy":{"ssh":{"ssh_public_addr":"h:0"}}}`,
		"escape":     `{"cluster_name":"a","proxy":{"kube":{"public_addr":"\u001b[2J"}}}`,
		"path":       `{"cluster_name":"a","proxy":{"ssh":{"public_addr":"h:1/../x"}}}`,
		"two dots":   `{"cluster_name":"a","proxy":{"ssh":{"public_addr":".."}}}`,
		"other name": `{"Cluster_Name":"a","SERVER_VERSION":"18"}`, // exact case only
		"null":       `null`,
		"all null":   `{"auth":null,"proxy":null,"cluster_name":null,"server_version":null}`,
	} {
		ping, err := decodePing([]byte(text))
		if err == nil || ping != nil {
			t.Errorf("%s: accepted as %+v", name, ping)
		} else if len(err.Error()) > 400 || strings.ContainsAny(err.Error(), "\x1b\n") {
			t.Errorf("%s: %.500q", name, err)
		}
	}
	for name, text := range map[string]string{
		"null everywhere": `{"cluster_name":"a","auth":{"type":null,"local":null,"default_session_ttl":null,"has_motd":null},"proxy":{"kube":null,"ssh":{"public_addr":null}}}`,
		"unknown members": `{"cluster_name":"a","auth":{"LOCAL":{"name":"x"},"Type":"oidc"},"x":{"y":[1,2,{"z":null}]}}`,
	} {
		ping, err := decodePing([]byte(text))
		if err != nil || ping.Auth.Type != "" || ping.Auth.LocalName() != "" {
			t.Errorf("%s: %+v, %v", name, ping, err)
		}
	}
	if _, err := decodePing([]byte(`{"hello":"world"}`)); !errors.Is(err, ErrNotTeleport) {
		t.Errorf("an object of something else: %v", err)
	}
}
