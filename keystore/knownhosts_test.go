package keystore

import (
	"bytes"
	"strings"
	"testing"

	"github.com/seed-087d674e/tsh/internal/testenv"
	"golang.org/x/crypto/ssh"
)

// keyText is "type base64" of a new key.
func keyText(t testing.TB) (ssh.PublicKey, string) {
	t.Helper()
	k, _ := keysFor(t, SuiteBalanced)
	pub := testenv.SSHSigner(t, k).PublicKey()
	return pub, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(pub)))
}

func all(string) bool { return true }

// case F08: whatever else is in the file, the lines of this proxy are found.
func TestTrustIsReadFromAnyFile(t *testing.T) {
	key, text := keyText(t)
	good := "@cert-authority gate,harbor,*.harbor " + text + " type=host"
	for name, tc := range map[string]struct {
		file string
		want bool
	}{
		"alone":                               {good + "\n", true},
		"without last newline":                {good, true},
		"CRLF":                                {good + "\r\n", true},
		"after blank lines and comments":      {"\n  \n# comment\n" + good, true},
		"after half a line":                   {"@cert-author\n" + good, true},
		"after NUL runs":                      {strings.Repeat("\x00", 4096) + "\n" + good, true},
		"after 10 MB on one line":             {strings.Repeat("x y z ", 10<<20/6) + "\n" + good, true},
		"after an unknown key type":           {"@cert-authority gate,harbor,*.harbor ssh-future AAAA type=host\n" + good, true},
		"after a comment with spaces":         {"@cert-authority gate,harbor,*.harbor " + text + " my old comment\n" + good, true},
		"after a bad query":                   {"@cert-authority gate,pier,*.pier " + text + " %zz;\n" + good, true},
		"after hashed hosts":                  {"|1|abc=|def= " + text + "\n" + good, true},
		"tabs between":                        {strings.ReplaceAll(good, " ", "\t"), true},
		"extra query keys":                    {"@cert-authority gate,harbor,*.harbor " + text + " logins=root&type=host", true},
		"no comment":                          {"@cert-authority gate,harbor,*.harbor " + text, true},
		"no marker":                           {"gate,harbor,*.harbor " + text + " type=host", true},
		"of another proxy":                    {strings.ReplaceAll(good, "gate", "port"), false},
		"two hosts, as identity files have":   {"@cert-authority harbor,*.harbor " + text + " type=host", false},
		"one pattern, as old releases wrote":  {"@cert-authority *.harbor " + text + " type=host", false},
		"four hosts":                          {"@cert-authority gate,harbor,*.harbor,x " + text + " type=host", false},
		"an authority for users":              {"@cert-authority gate,harbor,*.harbor " + text + " type=user", false},
		"another marker":                      {"@other gate,harbor,*.harbor " + text + " type=host", false},
		"commented out":                       {"#" + good, false},
		"case S03: revoked before":            {"@revoked * " + text + "\n" + good, false},
		"case S03: revoked after":             {good + "\n@revoked elsewhere " + text + " reason", false},
		"case S03: revoked, with three hosts": {"@revoked gate,harbor,*.harbor " + text + " type=host", false},
		"empty":                               {"", false},
	} {
		got := readTrust([]byte(tc.file), "gate", all)
		if found := len(got.keys["harbor"]) == 1 && containsKey(got.keys["harbor"], key); found != tc.want {
			t.Errorf("%s: found is %v", name, found)
		}
	}
}

func TestTrustIsLimitedToTheClustersWanted(t *testing.T) {
	_, one := keyText(t)
	_, two := keyText(t)
	file := []byte("@cert-authority gate,harbor,*.harbor " + one + " type=host\n@cert-authority gate,pier,*.pier " + two + " type=host\n")
	got := readTrust(file, "gate", func(c string) bool { return c == "pier" })
	if len(got.keys) != 1 || len(got.keys["pier"]) != 1 {
		t.Errorf("got %v", got.keys)
	}
}

// case F08, case F09: adding keeps what is there.
func TestAddingLines(t *testing.T) {
	_, k1 := keyText(t)
	_, k2 := keyText(t)
	modern1 := "@cert-authority gate,harbor,*.harbor " + k1 + " type=host"
	modern2 := "@cert-authority gate,harbor,*.harbor " + k2 + " type=host"
	other := "@cert-authority port,pier,*.pier " + k2 + " type=host"
	big := "big " + strings.Repeat("x", 10<<20)
	for _, tc := range []struct {
		name, old string
		add       []string
		want      string
	}{
		{"to nothing", "", []string{modern1}, modern1 + "\n"},
		{"nothing new", modern1 + "\n", []string{modern1}, modern1 + "\n"},
		{"nothing new, CRLF", modern1 + "\r\n", []string{modern1}, modern1 + "\r\n"},
		{"nothing new, so even duplicates stay", modern1 + "\n" + modern1 + "\n", []string{modern1}, modern1 + "\n" + modern1 + "\n"},
		{"a rotated key beside the old one", modern1 + "\n", []string{modern2}, modern1 + "\n" + modern2 + "\n"},
		{"after a half line", other + "\n@cert-author", []string{modern1}, other + "\n@cert-author\n" + modern1 + "\n"},
		{"foreign lines byte for byte", "# mine \t\n\n\x00\x00\xff\r\nbad  line\n" + big + "\n", []string{modern1}, "# mine \t\n\n\x00\x00\xff\r\nbad  line\n" + big + "\n" + modern1 + "\n"},
		{"blank lines and comments twice", "\n#\n\n#\n", []string{modern1}, "\n#\n\n#\n" + modern1 + "\n"},
		{"exact duplicates go", other + "\n" + other + "\n", []string{modern1}, other + "\n" + modern1 + "\n"},
		{"an old line goes when the modern one comes", "harbor " + k1 + "\n" + other + "\n", []string{modern1}, other + "\n" + modern1 + "\n"},
		{"old lines of other keys move to the end", "harbor " + k2 + "\n" + other + "\n", []string{modern1}, other + "\n" + modern1 + "\nharbor " + k2 + "\n"},
		{"an old line with a comment is somebody's own", "harbor " + k1 + " mine\n", []string{modern1}, "harbor " + k1 + " mine\n" + modern1 + "\n"},
	} {
		if got := string(addHostLines([]byte(tc.old), tc.add)); got != tc.want {
			t.Errorf("%s: got %.300q, want %.300q", tc.name, got, tc.want)
		}
		if again := addHostLines([]byte(tc.want), tc.add); string(again) != tc.want {
			t.Errorf("%s: a second time changes it to %.300q", tc.name, again)
		}
	}
}

func TestOurLineIsTheOneOfTheReferenceClient(t *testing.T) {
	home := testenv.CopyHome(t, "18.3")
	data := testenv.Read(t, home+"/known_hosts")
	got := readTrust([]byte(data), "localhost", all)
	lines := hostLines("localhost", Authority{Cluster: "real.example.test", SSHKeys: got.keys["real.example.test"]})
	if len(lines) != 1 || lines[0]+"\n" != data {
		t.Errorf("line is %q, want %q", lines, data)
	}
}

func FuzzKnownHosts(f *testing.F) {
	seedFromFixtures(f, "known_hosts")
	_, text := keyText(f)
	f.Add([]byte("@revoked * " + text + "\r\n\x00\n# c\nharbor " + text + "\nharbor " + text))
	ours := "@cert-authority gate,harbor,*.harbor " + text + " type=host"
	f.Fuzz(func(t *testing.T, data []byte) {
		readTrust(data, "localhost", all)
		otherOwner(data, "gate", Authority{Cluster: "harbor"}, all)
		added := addHostLines(data, []string{ours})
		if !bytes.Equal(addHostLines(added, []string{ours}), added) {
			t.Fatal("adding twice differs from adding once")
		}
		if !bytes.Contains(data, []byte("@revoked")) && len(readTrust(added, "gate", all).keys["harbor"]) == 0 {
			t.Fatal("the added line is not found")
		}
		for line := range bytes.Lines(data) { // what is no entry is kept
			if _, ok, _ := parseHostLine(line); !ok && !bytes.Contains(added, bytes.TrimSuffix(line, []byte("\n"))) {
				t.Fatalf("line %q is lost", line)
			}
		}
	})
}
