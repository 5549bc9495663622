package proxy

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// seeds returns the bodies of the captured answers whose names contain one of
// the words. A directory that has moved fails the target.
func seeds(f testing.TB, least int, words ...string) (bodies [][]byte) {
	f.Helper()
	names, err := filepath.Glob(filepath.Join("testdata", "webapi-*", "*.http"))
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range names {
		base := filepath.Base(name)
		if slices.ContainsFunc(words, func(w string) bool { return strings.Contains(base, w) }) {
			rel, _ := filepath.Rel("testdata", name)
			bodies = append(bodies, fixtureBody(f, filepath.ToSlash(rel)))
		}
	}
	if len(bodies) < least {
		f.Fatalf("the fixtures that seed this are gone: %d of %d are there", len(bodies), least)
	}
	return bodies
}

// corpus fails a target whose committed corpus is gone.
func corpus(f *testing.F) {
	f.Helper()
	if entries, err := os.ReadDir(filepath.Join("testdata", "fuzz", f.Name())); err != nil || len(entries) == 0 {
		f.Fatalf("the corpus of %s is gone: %v", f.Name(), err)
	}
}

// capturedAddrs are the addresses in the captured answers.
func capturedAddrs(f testing.TB) (addrs []string) {
	f.Helper()
	addr := regexp.MustCompile(`_addr":"([^"]+)"`)
	for _, body := range seeds(f, 4, "ping", "find") {
		for _, m := range addr.FindAllSubmatch(body, -1) {
			addrs = append(addrs, string(m[1]))
		}
	}
	if len(addrs) < 8 {
		f.Fatalf("only %d addresses in the captured answers", len(addrs))
	}
	return addrs
}

// FuzzPing reads anything as an answer to ping: what is accepted has addresses
// that can be connected to and stored, and nothing in it panics.
func FuzzPing(f *testing.F) {
	corpus(f)
	for _, seed := range seeds(f, 4, "ping", "find") {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		ping, err := decodePing(data)
		if err != nil {
			if ping != nil || len(err.Error()) > 64<<10 {
				t.Fatalf("%+v and an error of %d bytes", ping, len(err.Error()))
			}
			return
		}
		for _, p := range []*Ping{ping, ping.Unproven()} {
			s := p.Settings("proxy.test:443")
			for _, addr := range []string{s.WebAddr, s.SSHAddr, s.KubeAddr, s.PostgresAddr, s.MySQLAddr, s.MongoAddr} {
				if _, err := ParseAddr(addr); addr != "" && err != nil {
					t.Fatalf("address %q: %v", addr, err)
				}
			}
			if s.SSHDialTimeout < 0 || s.SSHDialTimeout > maxSSHDialTimeout {
				t.Fatalf("dial timeout %v", s.SSHDialTimeout)
			}
			_ = p.Auth.SignatureSuite() + p.Auth.LocalName() + p.ProfileName("proxy.test:443")
		}
		if host := ping.Unproven().ProfileName("proxy.test:443"); host != "proxy.test" {
			t.Fatalf("who has proved nothing is called %q", host)
		}
		if ping.major() < firstWithSuites && ping.Auth.SignatureSuite() != "legacy" {
			t.Fatalf("version %q with keys of %s", ping.ServerVersion, ping.Auth.SignatureSuite())
		}
	})
}

// consoleAnswer is what begins a login through a connector.
type consoleAnswer struct {
	RedirectURL string `json:"redirect_url"`
	PostForm    string `json:"post_form"`
}

// FuzzLoginAnswers reads anything as each answer of a login, and as a refusal.
func FuzzLoginAnswers(f *testing.F) {
	corpus(f)
	for _, seed := range seeds(f, 10, "begin", "finish", "motd", "console", "ssh-certs", "sso") {
		f.Add(seed)
	}
	f.Add([]byte(`{"redirect_url":"https://idp.test/authorize?state=x","post_form":""}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, v := range []any{new(LoginResponse), new(Challenge), new(consoleAnswer)} {
			if decodeJSON(data, v) != nil {
				continue
			}
			// Exact names, in any order: reading again gives the same.
			again := reflect.New(reflect.TypeOf(v).Elem()).Interface()
			if err := decodeJSON(data, again); err != nil || !reflect.DeepEqual(v, again) {
				t.Fatalf("%+v and %+v, %v", v, again, err)
			}
		}
		if message, ok := errorMessage(data); ok && message == "" {
			t.Fatal("an empty message")
		}
	})
}

// case N06: the answers of a login, as that of ping.
func TestLoginAnswersRefused(t *testing.T) {
	for name, text := range map[string]string{
		"depth":          strings.Repeat(`{"host_signers":[`, 500000),
		"depth, closed":  strings.Repeat(`[`, 500000) + strings.Repeat(`]`, 500000),
		"duplicates":     `{"username":"a","username":"b"}`,
		"escaped twins":  `{"username":"a","user\u006eame":"b"}`,
		"NaN":            `{"username":"a","x":NaN}`,
		"Infinity":       `{"x":-Infinity}`,
		"invalid UTF-8":  "{\"username\":\"\xff\"}",
		"bad base64":     `{"cert":"!!"}`,
		"number as text": `{"username":1}`,
		"text as list":   `{"host_signers":"x"}`,
		"two documents":  `{}{}`,
	} {
		for _, v := range []any{new(LoginResponse), new(Challenge)} {
			err := decodeJSON([]byte(text), v)
			if _, login := v.(*LoginResponse); err == nil && (login || !slices.Contains([]string{"bad base64", "number as text", "text as list"}, name)) {
				t.Errorf("%s: accepted as %+v", name, v)
			}
		}
	}
	var answer LoginResponse
	if err := decodeJSON([]byte(`{"USERNAME":"evil","Cert":"AAAA","username":null,"cert":null,"tls_cert":null,"host_signers":[null,{"domain_name":null,"checking_keys":[null],"tls_certs":null}],"client_options":null}`), &answer); err != nil ||
		answer.Username != "" || answer.Cert != nil || len(answer.HostSigners) != 2 || answer.HostSigners[0].DomainName != "" {
		t.Errorf("nulls and other spellings: %+v, %v", answer, err)
	}
	if err := decodeJSON([]byte(`null`), &answer); err != nil {
		t.Errorf("null: %v", err)
	}
	start := time.Now()
	var raw json.RawMessage
	_ = decodeJSON([]byte(strings.Repeat(`{"a":`, 1_000_000)), &raw)
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("a depth of a million took %v", took)
	}
}
