package profile

import (
	"fmt"
	"github.com/seed-087d674e/tsh/internal/testenv"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestFileOfTheReferenceClientIsWrittenByteForByte(t *testing.T) {
	want := testenv.Read(t, filepath.Join(fixtures, "18.3", "home", "localhost.yaml"))
	p := &Profile{
		Name: "localhost", WebProxyAddr: "localhost:4080", SSHProxyAddr: "localhost:4081", KubeProxyAddr: "localhost:4080",
		PostgresProxyAddr: "localhost:4080", MySQLProxyAddr: "localhost:4081", User: "fixture", Cluster: "real.example.test",
		TLSRouting: true, MFAMode: "auto", SSHDialTimeout: 30 * time.Second,
	}
	got, err := p.encode(nil)
	if err != nil || string(got) != want {
		t.Errorf("%v, got\n%s, want\n%s", err, got, want)
	}
}

func TestEveryKeyInItsOrder(t *testing.T) {
	p := &Profile{
		Name: "gate", WebProxyAddr: "gate:443", SSHProxyAddr: "gate:3023", KubeProxyAddr: "gate:3026", PostgresProxyAddr: "gate:5432",
		MySQLProxyAddr: "gate:3036", MongoProxyAddr: "gate:27017", RelayAddr: "none", DefaultRelayAddr: "relay:1", User: "on", Cluster: "1e3",
		DynamicForwardPorts: []string{"1080", "127.0.0.1:1081"}, TLSRouting: true, ConnUpgrade: true, AuthConnector: "local", LoadAllCAs: true,
		MFAMode: "auto", PrivateKeyPolicy: "none", PIVSlot: "9a", PIVPINCacheTTL: 90 * time.Second, MissingClusterDetails: true,
		SAMLSLOEnabled: true, SSHDialTimeout: time.Minute, SSOHost: "sso.example.net",
	}
	want := `web_proxy_addr: gate:443
ssh_proxy_addr: gate:3023
kube_proxy_addr: gate:3026
postgres_proxy_addr: gate:5432
mysql_proxy_addr: gate:3036
mongo_proxy_addr: gate:27017
relay_addr: none
default_relay_addr: relay:1
user: "on"
cluster: "1e3"
dynamic_forward_ports:
- "1080"
- 127.0.0.1:1081
dir: ""
tls_routing_enabled: true
tls_routing_conn_upgrade_required: true
auth_connector: local
load_all_cas: true
mfa_mode: auto
private_key_policy: none
piv_slot: 9a
piv_pin_cache_ttl: 1m30s
missingclusterdetails: true
saml_slo_enabled: true
ssh_dial_timeout: 1m0s
sso_host: sso.example.net
`
	got, err := p.encode(nil)
	if err != nil || string(got) != want {
		t.Errorf("%v, got\n%s, want\n%s", err, got, want)
	}
	back, err := decode("gate", got)
	if err != nil {
		t.Fatal(err)
	}
	back.raw = nil
	if !reflect.DeepEqual(back, p) {
		t.Errorf("back comes %+v", back)
	}
}

func TestTextThatYAMLWouldReadAsSomethingElseIsQuoted(t *testing.T) {
	q := newQuoting()
	for _, s := range []string{
		"", "~", "null", "Null", "y", "Y", "n", "yes", "No", "on", "OFF", "true", "False", "0", "007", "-1", "+1", "0x1f", "0b1", "0o7", "1_000",
		"1e3", "1.5", ".5", "1.", ".inf", "-.INF", ".nan", "190:20:30", "1:20", "2001-01-01", "2001-1-1T00:00:00Z", "=", "<<", "9e1", "12e03",
	} {
		if !q.needed(s) {
			t.Errorf("%q is left plain", s)
		}
	}
	for _, s := range []string{"alice", "a", "gate:443", "127.0.0.1:3080", "10.1.2.3", "9a", "real.example.test", "nope", "yEs", "30s", "2001-01", "inf", "e3", "_", "1.2.3"} {
		if q.needed(s) {
			t.Errorf("%q is quoted", s)
		}
	}
}

// Dialects of the files that are met.
func TestReadingOtherWriters(t *testing.T) {
	for name, tc := range map[string]struct {
		file string
		want func(*Profile) bool
	}{
		"booleans of YAML 1.1": {"tls_routing_enabled: yes\nload_all_cas: On\nsaml_slo_enabled: y\nmissingclusterdetails: OFF", func(p *Profile) bool {
			return p.TLSRouting && p.LoadAllCAs && p.SAMLSLOEnabled && !p.MissingClusterDetails
		}},
		"duration as text":           {"ssh_dial_timeout: 1m30s", func(p *Profile) bool { return p.SSHDialTimeout == 90*time.Second }},
		"duration as nanoseconds":    {"ssh_dial_timeout: 5000000000", func(p *Profile) bool { return p.SSHDialTimeout == 5*time.Second }},
		"duration with underscores":  {"ssh_dial_timeout: 5_000_000_000", func(p *Profile) bool { return p.SSHDialTimeout == 5*time.Second }},
		"duration left out":          {"user: a", func(p *Profile) bool { return p.SSHDialTimeout == 30*time.Second && p.PIVPINCacheTTL == 0 }},
		"repeated key":               {"user: first\nuser: second", func(p *Profile) bool { return p.User == "second" }},
		"numbers as text":            {"user: 007\ncluster: 1e3", func(p *Profile) bool { return p.User == "007" && p.Cluster == "1e3" }},
		"dates and booleans as text": {"user: 2001-01-01\ncluster: on", func(p *Profile) bool { return p.User == "2001-01-01" && p.Cluster == "on" }},
		"nothing":                    {"user: ~\nmfa_mode: null\ntls_routing_enabled:\ndynamic_forward_ports:", func(p *Profile) bool { return p.User == "" && p.MFAMode == "" && !p.TLSRouting }},
		"flow style":                 {"{user: alice, cluster: harbor}", func(p *Profile) bool { return p.User == "alice" && p.Cluster == "harbor" }},
		"quotes and comments":        {"# c\nuser: 'al''ice' # d\ncluster: \"har\\u0062or\"", func(p *Profile) bool { return p.User == "al'ice" && p.Cluster == "harbor" }},
		"CRLF":                       {"user: alice\r\ncluster: harbor\r\n", func(p *Profile) bool { return p.User == "alice" && p.Cluster == "harbor" }},
		"no cluster":                 {"user: alice", func(p *Profile) bool { return p.Cluster == "gate" }},
		"unknown keys":               {"future: {a: [1, 2]}\nuser: alice", func(p *Profile) bool { return p.User == "alice" }},
		"document start":             {"---\nuser: alice\n", func(p *Profile) bool { return p.User == "alice" }},
		"dir is ignored":             {"dir: /elsewhere\nuser: alice", func(p *Profile) bool { return p.User == "alice" }},
		"lists":                      {"dynamic_forward_ports: [1080, 'h:1']", func(p *Profile) bool { return reflect.DeepEqual(p.DynamicForwardPorts, []string{"1080", "h:1"}) }},
		"empty":                      {"", func(p *Profile) bool { return p.WebProxyAddr == "" }},
		"only a comment":             {"# nothing\n", func(p *Profile) bool { return p.WebProxyAddr == "" }},
	} {
		p, err := decode("gate", []byte(tc.file))
		if err != nil || !tc.want(p) {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
}

// case F10: hostile and broken files are a quick error with the file's name, and
// stay as they are.
func TestBrokenFiles(t *testing.T) {
	bomb := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'k'; c++ {
		bomb += string(c) + ": &" + string(c) + " [" + strings.Repeat("*"+string(c-1)+",", 9) + "]\n"
	}
	ok := "web_proxy_addr: gate:443\nuser: alice\n"
	for name, file := range map[string]string{
		"alias bomb":           ok + bomb,
		"one alias":            ok + "cluster: &c harbor\nx: *c\n",
		"merge":                "d: &d {user: x}\n<<: *d\n" + ok,
		"a little too large":   ok + strings.Repeat("#", maxFile),
		"byte order mark":      "\ufeff" + ok,
		"UTF-16":               "\xff\xfew\x00e\x00b\x00",
		"NUL":                  ok + "\x00",
		"escape":               ok + "# \x1b[2J\n",
		"binary":               "\x7fELF\x02\x01\x01",
		"tabs as indentation":  ok + "x:\n\t- y\n",
		"a list":               "- user\n",
		"a word":               "alice",
		"two documents":        ok + "---\n" + ok,
		"unclosed":             ok + "x: [1, 2\n",
		"deep":                 ok + "x: " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000),
		"key of 2000 letters":  ok + strings.Repeat("k", 2000) + ": x\n",
		"user is a list":       ok + "user: [alice]\n",
		"user is a mapping":    ok + "user: {a: b}\n",
		"bool is a word":       ok + "tls_routing_enabled: maybe\n",
		"bool in odd case":     ok + "tls_routing_enabled: yEs\n",
		"duration is a word":   ok + "ssh_dial_timeout: soon\n",
		"duration is negative": ok + "ssh_dial_timeout: -5s\n",
		"list is a word":       ok + "dynamic_forward_ports: 1080\n",
		"binary tag":           ok + "user: !!binary YWxpY2U=\n",
		"host that is a path":  "web_proxy_addr: ../../x:443\n",
		"user that is a path":  ok + "user: ../bob\n",
		"cluster is a pattern": ok + "cluster: '*'\n",
	} {
		home := t.TempDir()
		path := filepath.Join(home, "gate.yaml")
		testenv.Write(t, path, file)
		before := snapshot(t, home)
		p, err := Open(home).Load("gate")
		if err == nil || !strings.Contains(err.Error(), path) || len(err.Error()) > 600 {
			t.Errorf("%s: %+v, %v", name, p, err)
		} else if !isDamaged(err) {
			t.Errorf("%s: %v is not ErrDamaged", name, err)
		}
		if !reflect.DeepEqual(before, snapshot(t, home)) {
			t.Errorf("%s: the file was changed", name)
		}
	}
}

// case F10: size is judged before anything is read.
func TestFileOf100MB(t *testing.T) {
	home := t.TempDir()
	path := filepath.Join(home, "gate.yaml")
	testenv.Write(t, path, "web_proxy_addr: gate:443\n")
	if err := os.Truncate(path, 100<<20); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(home).Load("gate"); !isDamaged(err) || !strings.Contains(err.Error(), path) {
		t.Errorf("err = %v", err)
	}
}

// case F11: what a newer client or a person wrote stays.
func TestEditingKeepsWhatIsUnknown(t *testing.T) {
	file := `# my proxy
web_proxy_addr: gate:443 # the one
future_key:
- a
- b: c
user: alice
cluster: harbor
tls_routing_enabled: yes
user: bob
# last words
`
	p, err := decode("gate", []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	if same, err := p.encode([]byte(file)); err != nil || string(same) != file {
		t.Errorf("nothing changed, but it becomes\n%s", same)
	}
	p.User, p.SSHProxyAddr, p.TLSRouting, p.MFAMode = "carol", "gate:3023", false, "auto"
	got, err := p.encode([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"# my proxy", "# the one", "# last words", "future_key:\n- a\n- b: c\n", "web_proxy_addr: gate:443", "mfa_mode: auto"} {
		if !strings.Contains(string(got), part) {
			t.Errorf("%q is lost:\n%s", part, got)
		}
	}
	if strings.Contains(string(got), "tls_routing_enabled") || !strings.Contains(string(got), "# the one\nssh_proxy_addr: gate:3023\n") {
		t.Errorf("keys not at their place:\n%s", got)
	}
	back, err := decode("gate", got)
	if err != nil || back.User != "carol" || back.TLSRouting || back.SSHProxyAddr != "gate:3023" {
		t.Errorf("%+v, %v", back, err)
	}
}

func FuzzProfile(f *testing.F) {
	paths, err := filepath.Glob(filepath.Join(fixtures, "*", "home", "*.yaml"))
	if err != nil || len(paths) == 0 {
		f.Fatalf("no seeds below %s: %v", fixtures, err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for _, s := range []string{"a: &a [*a]", "user: on\nuser: 'x'\n# c", "ssh_dial_timeout: 0x10", "ssh_dial_timeout: 008", "piv_pin_cache_ttl: 0777", "user: 1e3", "user: 1_000", "user: 12:30:45", "user: 2001-01-01", "cluster: y", "user: NULL", "user: a\r\n", "user: a\nuser: b", "{}", "? a\n: b", "user: |\n  a\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := decode("gate", data)
		if plain, ok := parsePlain(data); ok {
			slow, slowErr := parse(data)
			if slowErr != nil {
				t.Fatalf("the short way reads what YAML refuses: %v", slowErr)
			}
			fast, slowly := &Profile{}, &Profile{}
			fastErr, slowErr := fast.fillPlain(plain), slowly.fillTree(slow)
			if fmt.Sprint(fastErr) != fmt.Sprint(slowErr) || fastErr == nil && !reflect.DeepEqual(fast, slowly) {
				t.Fatalf("the short way reads %+v (%v), YAML %+v (%v)", fast, fastErr, slowly, slowErr)
			}
		}
		if err != nil {
			return
		}
		p.User = "somebody"
		out, err := p.encode(data)
		if err != nil {
			t.Fatal(err)
		}
		back, err := decode("gate", out)
		if err != nil {
			t.Fatalf("written %q does not read: %v", out, err)
		}
		back.raw, p.raw = nil, nil
		if !reflect.DeepEqual(back, p) {
			t.Fatalf("%+v becomes %+v", p, back)
		}
	})
}
