package devcluster

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

func start14(t *testing.T, change func(*Config)) *fixture {
	return startCluster(t, func(cfg *Config) {
		cfg.Emulate, cfg.SeparatePorts = 14, true
		if change != nil {
			change(cfg)
		}
	})
}

// body14 is a login with one RSA key, as 14.x wants it.
func body14(t *testing.T, key *rsa.PrivateKey, change func(map[string]any)) string {
	t.Helper()
	signer, err := ssh.NewSignerFromSigner(key)
	if err != nil {
		t.Fatal(err)
	}
	req := map[string]any{
		"user": "alice", "password": alicePassword, "pub_key": ssh.MarshalAuthorizedKey(signer.PublicKey()), "ttl": time.Hour,
	}
	change(req)
	raw, err := json.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func newRSA(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// The answers of 14.x are the captured ones, member for member.
func TestCaptured14(t *testing.T) {
	f := start14(t, nil)
	key := newRSA(t)
	for _, test := range []struct{ name, method, path, body string }{
		{"ping", "GET", "/webapi/ping", ""},
		{"find", "GET", "/webapi/find", ""},
		{"begin-bad-password", "POST", "/webapi/mfa/login/begin", `{"user":"alice","pass":"wrong"}`},
		{"finish-ok", "POST", "/webapi/mfa/login/finish", body14(t, key, func(m map[string]any) { m["totp_code"] = f.code() })},
	} {
		t.Run(test.name, func(t *testing.T) {
			want := readCaptured(t, "14.0", test.name)
			resp, body := f.do(test.method, test.path, test.body)
			compareWith(t, want, test.name, resp, body)
			if test.name == "ping" || test.name == "find" {
				sameValues(t, want.body, body)
			}
		})
	}
	var ping ping14
	_, body := f.do("GET", "/webapi/ping/local", "")
	if err := json.Unmarshal(body, &ping); err != nil || ping.Auth.Local.Name != "local" || ping.Auth.DefaultSessionTTL != "0s" {
		t.Errorf("%s, %v", body, err)
	}
}

// sameValues compares what does not depend on where the cluster runs.
func sameValues(t *testing.T, want, got []byte) {
	t.Helper()
	var w, g map[string]any
	for raw, v := range map[*map[string]any][]byte{&w: want, &g: got} {
		if err := json.Unmarshal(v, raw); err != nil {
			t.Fatal(err)
		}
		delete(*raw, "cluster_name")
		delete((*raw)["proxy"].(map[string]any), "ssh")
	}
	if fmt.Sprint(w) != fmt.Sprint(g) {
		t.Errorf("\n got %v\nwant %v", g, w)
	}
}

// What a certificate of 14.x says, and that both are for the one key.
func TestCertificates14(t *testing.T) {
	f := start14(t, nil)
	var captured, fresh loginResponse14
	if err := json.Unmarshal(readCaptured(t, "14.0", "finish-ok").body, &captured); err != nil {
		t.Fatal(err)
	}
	key := newRSA(t)
	for _, path := range []string{"/webapi/mfa/login/finish", "/webapi/ssh/certs"} {
		f.clock.Advance(time.Minute) // a code works once
		status, body := f.do("POST", path, body14(t, key, func(m map[string]any) {
			m["totp_code"], m["otp_token"] = f.code(), f.code()
			m["ssh_pub_key"], m["tls_pub_key"] = []byte("rubbish"), []byte("rubbish") // not known here
		}))
		if status.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s", path, body)
		}
		if err := json.Unmarshal(body, &fresh); err != nil {
			t.Fatal(err)
		}
		want, _, _, _, err := ssh.ParseAuthorizedKey(captured.Cert)
		if err != nil {
			t.Fatal(err)
		}
		got, _, _, _, err := ssh.ParseAuthorizedKey(fresh.Cert)
		if err != nil {
			t.Fatal(err)
		}
		a, b := want.(*ssh.Certificate), got.(*ssh.Certificate)
		if w, g := slices.Sorted(maps.Keys(a.Extensions)), slices.Sorted(maps.Keys(b.Extensions)); !slices.Equal(w, g) {
			t.Errorf("%s: extensions %v, captured %v", path, g, w)
		}
		if r := b.Extensions["teleport-roles"]; r != `{"version":"v1","roles":["access"]}` {
			t.Errorf("%s: roles %s", path, r)
		}
		var w, g map[string]any
		if json.Unmarshal([]byte(a.Extensions["teleport-traits"]), &w) != nil || json.Unmarshal([]byte(b.Extensions["teleport-traits"]), &g) != nil ||
			!slices.Equal(slices.Sorted(maps.Keys(w)), slices.Sorted(maps.Keys(g))) {
			t.Errorf("%s: traits %v, captured %v", path, g, w)
		}
		theirs, _ := subjectShape(t, parseCert(t, captured.TLSCert).RawSubject)
		ours, _ := subjectShape(t, parseCert(t, fresh.TLSCert).RawSubject)
		if strings.Join(theirs, "\n") != strings.Join(ours, "\n") {
			t.Errorf("%s: subject\n%s\ncaptured\n%s", path, ours, theirs)
		}
		if !key.PublicKey.Equal(parseCert(t, fresh.TLSCert).PublicKey) {
			t.Errorf("%s: the TLS certificate is for another key", path)
		}
	}
}

func TestRefusals14(t *testing.T) {
	f := start14(t, nil)
	key := newRSA(t)
	for name, tt := range map[string]struct {
		path   string
		change func(map[string]any)
		status int
		text   string
	}{
		"no key of old": {"/webapi/mfa/login/finish", func(m map[string]any) {
			f.clock.Advance(time.Minute) // a code works once
			m["totp_code"] = f.code()
			delete(m, "pub_key")
		}, 500, "ssh: no key found"},
		"wrong password": {"/webapi/ssh/certs", func(m map[string]any) { m["password"], m["otp_token"] = "x", "000000" }, 403, textWrongFactor},
		"no code":        {"/webapi/ssh/certs", func(m map[string]any) {}, 403, textMissingFactor},
		"headless":       {"/webapi/ssh/certs", func(m map[string]any) { m["headless_id"] = "x" }, 403, "headless authentication failed"},
		"not there yet":  {"/webapi/headless/login", func(m map[string]any) {}, 404, "path not found"},
		"code of finish": {"/webapi/ssh/certs", func(m map[string]any) { m["totp_code"] = "123456" }, 403, textMissingFactor},
		"foreign cluster": {"/webapi/mfa/login/finish", func(m map[string]any) {
			f.clock.Advance(time.Minute)
			m["totp_code"], m["RouteToCluster"] = f.code(), "x"
		}, 404, "not found"},
	} {
		resp, body := f.do("POST", tt.path, body14(t, key, tt.change))
		if resp.StatusCode != tt.status || !strings.Contains(string(body), tt.text) {
			t.Errorf("%s: %d %s", name, resp.StatusCode, body)
		}
	}
	if resp, body := f.do("POST", "/webapi/headless/login", "{}"); !strings.Contains(string(body), `"string":"14.0.0-dev"`) || !strings.Contains(string(body), `"preRelease":"dev"`) {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	for _, cfg := range []Config{{Emulate: 13}, {Emulate: 14, Suite: suiteBalanced}} {
		cfg.Dir = t.TempDir()
		if c, err := Start(t.Context(), cfg); err == nil {
			t.Errorf("%+v was taken", cfg)
			_ = c.Close()
		} else if entries, _ := os.ReadDir(cfg.Dir); len(entries) > 0 {
			t.Errorf("a refused cluster left %v in %s", entries, filepath.Base(cfg.Dir))
		}
	}
}

// The transport negotiates no protocol there, the auth server does; both are
// reached on the port for SSH and on that of the web.
func TestALPN14(t *testing.T) {
	f := start14(t, func(cfg *Config) { cfg.SecondFactor = factorOff })
	for _, addr := range []string{f.Addr(), f.sshAddr()} {
		for proto, want := range map[string]string{alpnSSH: "", alpnAuth + encodeCluster(f.Name()): alpnH2} {
			conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{proto, alpnH2}, ServerName: encodeCluster(f.Name())})
			if err != nil {
				t.Fatal(err)
			}
			if got := conn.ConnectionState().NegotiatedProtocol; got != want {
				t.Errorf("%s: negotiated %q, want %q", proto, got, want)
			}
			_ = conn.Close()
		}
	}
}
