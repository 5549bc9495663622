package devcluster

import (
	"encoding/json"
	"html"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

func startSSOCluster(t *testing.T, change func(*Config)) *fixture {
	t.Helper()
	return startCluster(t, func(cfg *Config) {
		cfg.SecondFactor = "off"
		cfg.Connectors = []Connector{{Kind: "github", Name: "gh"}, {Kind: "oidc", Name: "corp"}, {Kind: "saml", Name: "adfs", PostForm: true}}
		if change != nil {
			change(cfg)
		}
	})
}

var zeroKey = strings.Repeat("00", 32)

// consoleBody is a good request to the console endpoint, changed.
func consoleBody(t *testing.T, change map[string]any) string {
	t.Helper()
	var body map[string]any
	if err := json.Unmarshal([]byte(finishBody(t, new(login), func(map[string]any) {})), &body); err != nil {
		t.Fatal(err)
	}
	req := map[string]any{
		"ssh_pub_key": body["ssh_pub_key"], "tls_pub_key": body["tls_pub_key"], "cert_ttl": time.Hour, "connector_id": "gh",
		"redirect_url": "http://127.0.0.1:4242/callback?secret_key=" + zeroKey, "PKCEVerifier": "canary-verifier", "RouteToCluster": "", "KubernetesCluster": "",
	}
	for k, v := range change {
		req[k] = v
	}
	raw, err := json.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// begin starts a login and returns its state.
func (f *fixture) begin(kind, connector string) (start consoleResponse, state string) {
	f.t.Helper()
	resp, raw := f.do("POST", "/webapi/"+kind+"/login/console", consoleBody(f.t, map[string]any{"connector_id": connector}))
	if resp.StatusCode != 200 || json.Unmarshal(raw, &start) != nil {
		f.t.Fatalf("%s: %s", resp.Status, raw)
	}
	if found := regexp.MustCompile(`[0-9a-f]{32}`).FindString(start.RedirectURL + string(start.PostForm)); found != "" {
		return start, found
	}
	f.t.Fatalf("no state in %+v", start)
	return start, ""
}

// back brings the browser back with a code and returns where it is sent.
func (f *fixture) back(kind, state, code string) *url.URL {
	f.t.Helper()
	_, raw := f.do("GET", "/v1/webapi/"+kind+"/callback?"+url.Values{"state": {state}, "code": {code}}.Encode(), "")
	found := regexp.MustCompile(`http-equiv="refresh" content="0;URL=(?:'|&#39;)(.*?)(?:'|&#39;)"`).FindSubmatch(raw)
	if found == nil {
		f.t.Fatalf("no refresh in %s", raw)
	}
	u, err := url.Parse(html.UnescapeString(string(found[1])))
	if err != nil {
		f.t.Fatal(err)
	}
	return u
}

func (f *fixture) signedIn(connector, person, challenge string) string {
	f.t.Helper()
	p, ok := f.sso.person(person)
	code, err := f.sso.issueCode(connector, p, challenge)
	if !ok || err != nil {
		f.t.Fatal(ok, err)
	}
	return code
}

func TestConsoleRefusals(t *testing.T) {
	f := startSSOCluster(t, nil)
	for name, tc := range map[string]struct {
		kind   string
		change map[string]any
		want   string
	}{
		"unknown connector":    {"github", map[string]any{"connector_id": "nope"}, textSSOFailed},
		"of another kind":      {"github", map[string]any{"connector_id": "corp"}, textSSOFailed},
		"no key":               {"github", map[string]any{"ssh_pub_key": nil, "tls_pub_key": nil}, textSSOFailed},
		"a second":             {"github", map[string]any{"cert_ttl": time.Second}, textSSOFailed},
		"two days":             {"github", map[string]any{"cert_ttl": 48 * time.Hour}, textSSOFailed},
		"short secret":         {"github", map[string]any{"redirect_url": "http://127.0.0.1/callback?secret_key=00"}, textSSOFailed},
		"elsewhere":            {"github", map[string]any{"redirect_url": "http://192.0.2.1/callback?secret_key=" + zeroKey}, textSSORedirect},
		"no verifier for PKCE": {"oidc", map[string]any{"connector_id": "corp", "PKCEVerifier": ""}, textSSOFailed},
		"another cluster":      {"github", map[string]any{"RouteToCluster": "leaf"}, textSSOFailed},
	} {
		resp, raw := f.do("POST", "/webapi/"+tc.kind+"/login/console", consoleBody(t, tc.change))
		if resp.StatusCode != 403 || errorText(t, raw) != tc.want {
			t.Errorf("%s: %s %s", name, resp.Status, raw)
		}
	}
	plain := startCluster(t, nil)
	for _, kind := range []string{"oidc", "saml"} { // an open-source proxy has no such call
		if resp, raw := plain.do("POST", "/webapi/"+kind+"/login/console", consoleBody(t, nil)); resp.StatusCode != 404 {
			t.Errorf("%s: %s %s", kind, resp.Status, raw)
		}
	}
}

func TestClientRedirects(t *testing.T) {
	c := &Connector{AllowedHostnames: []string{"*.example.com", `^re\d+\.example\.org$`}, AllowedCIDRs: []string{"192.0.2.0/24"}}
	const key = "?secret_key=k"
	for raw, want := range map[string]bool{
		"http://127.0.0.1:1/callback" + key: true, "http://localhost/callback" + key: true, "http://[::1]:9/callback" + key: true,
		"": false, "http://127.0.0.1/callback": false, "http://127.0.0.1/callback" + key + "&x=y": false, "http://127.0.0.1/callback" + key + "&secret_key=l": false,
		"http://127.0.0.1/callback/" + key: false, "http://127.0.0.1/call%62ack" + key: false, "http://u@127.0.0.1/callback" + key: false,
		"http://127.0.0.1/callback" + key + "#f": false, "ftp://127.0.0.1/callback" + key: false, "https://127.0.0.1/callback" + key: false,
		"http://127.0.0.2/callback" + key: false, "http://192.0.2.7:80/callback" + key: true, "https://192.0.2.7:8443/callback" + key: true,
		"http://[::ffff:192.0.2.7]/callback" + key: true, "http://198.51.100.1/callback" + key: false,
		"https://login.example.com/callback" + key: true, "https://login.example.com:443/callback" + key: true, "https://login.example.com:444/callback" + key: false,
		"http://login.example.com/callback" + key: false, "https://re7.example.org/callback" + key: true, "https://xre7.example.org/callback" + key: false,
		"/web/sso_confirm?channel_id=1": false, "mailto:x": false,
	} {
		if _, got := c.checkRedirect(raw); got != want {
			t.Errorf("%s: %v", raw, got)
		}
	}
	if _, ok := new(Connector).checkRedirect("https://login.example.com/callback" + key); ok {
		t.Error("a connector without settings allows another machine")
	}
}

func TestPingOfConnectors(t *testing.T) {
	f := startSSOCluster(t, func(cfg *Config) { cfg.DefaultConnector = "corp" })
	for path, want := range map[string]string{
		"/webapi/ping":       `"type":"oidc"`,
		"/webapi/ping/gh":    `"github":{"name":"gh","display":"gh","EndpointURL":"https://`,
		"/webapi/ping/corp":  `"oidc":{"name":"corp","display":"corp","IssuerURL":"https://`,
		"/webapi/ping/adfs":  `"saml":{"name":"adfs","display":"adfs","singleLogoutEnabled":true,"SSO":"https://`,
		"/webapi/ping/local": `"local":{"name":"local"}`,
	} {
		resp, raw := f.do("GET", path, "")
		if resp.StatusCode != 200 || !strings.Contains(string(raw), want) {
			t.Errorf("%s: %s", path, raw)
		}
		if local := path == "/webapi/ping/local"; strings.Contains(string(raw), `"webauthn"`) && !local || strings.Contains(string(raw), `"local"`) != local {
			t.Errorf("%s mixes ways to log in: %s", path, raw)
		}
	}
	if _, raw := f.do("GET", "/webapi/ping/nope", ""); !strings.Contains(string(raw), "gh, corp, adfs") {
		t.Errorf("%s", raw)
	}
}

// The callback is answered with a page that sends the browser to the client, once.
func TestCallbackOfProvider(t *testing.T) {
	f := startSSOCluster(t, nil)
	_, state := f.begin("github", "gh")
	code := f.signedIn("gh", "bob", "")
	target := f.back("github", state, code)
	if target.Host != "127.0.0.1:4242" || target.Path != "/callback" || len(target.Query()) != 1 || target.Query().Get("response") == "" {
		t.Errorf("the browser is sent to %s", target)
	}
	if again := f.back("github", state, code); again.Path != "/web/msg/error/login/callback" {
		t.Errorf("a state twice leads to %s", again)
	}
	users, err := f.Users()
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(users, func(u User) bool { return u.Name == "bob" })
	if i < 0 || users[i].Source != "github/gh" || !users[i].Expires.Equal(f.clock.Now().Add(time.Hour)) {
		t.Fatalf("users %+v", users)
	}
	if _, err := f.ResetUser("bob", ""); err == nil {
		t.Error("a user of a connector was given a password")
	}

	// Failures keep the client's key, which says that it is the proxy who speaks.
	for _, tc := range []struct{ kind, connector, person, challenge, want string }{
		{"github", "gh", "carol", "", "carol has no role in this cluster.\n\tGroups: [\"guests\"]"},
		{"github", "gh", "alice", "", "user alice exists already and is not from github/gh"},
		{"oidc", "corp", "bob", "", "user bob exists already and is not from oidc/corp"},
		{"oidc", "corp", "bob", "another challenge", "the identity provider refuses the PKCE verifier"},
		{"oidc", "gh", "bob", "", "the identity provider does not know the code"},
	} {
		_, state := f.begin(tc.kind, map[string]string{"github": "gh", "oidc": "corp"}[tc.kind])
		query := f.back(tc.kind, state, f.signedIn(tc.connector, tc.person, tc.challenge)).Query()
		if query.Get("err") != tc.want || query.Get("secret_key") != zeroKey || query.Has("response") {
			t.Errorf("%+v: %v", tc, query)
		}
	}
	if _, state := f.begin("github", "gh"); f.back("oidc", state, "x").Path != "/web/msg/error/login/callback" {
		t.Error("a login of another kind was taken")
	}

	// When the session is over the name is free.
	f.clock.Advance(2 * time.Hour)
	if users, _ := f.Users(); len(users) != 1 {
		t.Errorf("users %+v", users)
	}
	_, state = f.begin("oidc", "corp")
	if query := f.back("oidc", state, f.signedIn("corp", "bob", "")).Query(); !query.Has("response") {
		t.Errorf("%v", query)
	}
	f.clock.Advance(2 * time.Hour)
	if _, err := f.AddUser(UserSpec{Name: "bob", Roles: []string{"access"}}); err != nil {
		t.Error(err)
	}
	_, state = f.begin("github", "gh")
	f.clock.Advance(ssoPendingTTL + time.Second)
	if late := f.back("github", state, f.signedIn("gh", "carol", "")); late.Path != "/web/msg/error/login/callback" {
		t.Errorf("a login of long ago leads to %s", late)
	}
}

// What a SAML login begins with: one form and one script, which clients know.
func TestPostFormOfSAML(t *testing.T) {
	f := startSSOCluster(t, nil)
	start, state := f.begin("saml", "adfs")
	form := string(start.PostForm)
	if start.RedirectURL != "" || strings.Count(form, "<form") != 1 || !strings.HasSuffix(form, "<script>"+samlScript+"</script>") || !strings.Contains(form, state) {
		t.Errorf("%q %s", start.RedirectURL, form)
	}
	if sourceHash(samlScript) != "'sha256-AjPdJSbZmeWHnEc5ykvJFay8FTWeTeRbs9dutfZ0HqE='" {
		t.Error("the script is not the one that the protocol names")
	}
}

func TestConnectorsAreChecked(t *testing.T) {
	for name, cfg := range map[string]Config{
		"kind":            {Connectors: []Connector{{Kind: "ldap", Name: "x"}}},
		"name":            {Connectors: []Connector{{Kind: "oidc", Name: "a/b"}}},
		"built-in name":   {Connectors: []Connector{{Kind: "oidc", Name: "local"}}},
		"name twice":      {Connectors: []Connector{{Kind: "oidc", Name: "x"}, {Kind: "saml", Name: "x"}}},
		"form":            {Connectors: []Connector{{Kind: "oidc", Name: "x", PostForm: true}}},
		"network":         {Connectors: []Connector{{Kind: "oidc", Name: "x", AllowedCIDRs: []string{"x"}}}},
		"missing default": {DefaultConnector: "x"},
		"person":          {People: []Person{{Name: "../x"}}},
	} {
		cfg.Dir, cfg.Addr, cfg.PasswordCost = t.TempDir(), "127.0.0.1:0", 4
		if c, err := Start(t.Context(), cfg); err == nil {
			_ = c.Close()
			t.Errorf("%s: it starts", name)
		}
	}
}
