package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/seed-087d674e/tsh/internal/devcluster"
)

const stagingRole = `kind: role
version: v7
metadata:
  name: staging
spec:
  allow:
    logins: [deploy]
    node_labels: {env: staging}
`

// Roles are created, shown, given, replaced and removed, whether the cluster runs or not.
func TestRoles(t *testing.T) {
	dir := t.TempDir()
	if _, text, s := run(t, stagingRole, "create", "-f", "-", "--dir", dir); s != 1 || !strings.Contains(text, "devcluster start --dir "+dir) {
		t.Errorf("without a cluster: %d %q", s, text)
	}
	c, err := devcluster.Start(t.Context(), devcluster.Config{Dir: dir, Addr: "127.0.0.1:0", SecondFactor: "off"})
	if err != nil {
		t.Fatal(err)
	}
	rolesOf(t, dir)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	rolesOf(t, dir)
}

func rolesOf(t *testing.T, dir string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "role.yaml")
	if err := os.WriteFile(file, []byte(stagingRole), 0o600); err != nil {
		t.Fatal(err)
	}
	wide := strings.Replace(stagingRole, "env: staging", "'*': '*'", 1)
	for _, c := range []struct {
		stdin, line, out, err string // regular expressions; no error means that the command has to work
	}{
		{"", "create -f " + file, `^role staging created\n$`, ""},
		{"", "create -f " + file, "", `role\.yaml: role staging exists already; --force replaces it\n$`},
		{"", "create -f " + file + ".no", "", `no such file|cannot find`},
		{"", "create", "", `required flag\(s\) .*"file"`},
		{wide + "  more: {}\n", "create -f - --force", "", `^devcluster: -: line 9: spec\.more: unknown field, there are allow, deny, options\n$`},
		{strings.Repeat("# x\n", 80_000), "create -f -", "", `the file has more than 256 KiB`},
		{"", "get role/staging", `(?s)^kind: role\nversion: v7\n.*  name: staging\n.*logins:\n +- deploy\n +node_labels:\n +env:\n +- staging\n`, ""},
		{wide, "create -f - --force --json", `"name": "staging",\n +"replaced": true`, ""},
		{"", "get roles --format=text", `(?m)^NAME +LOGINS +NODES +USERS +DESCRIPTION\n(.*\n)*staging +deploy +\*=\* +$`, ""},
		{"", "get role/staging --json", `(?s)^\[\n.*"kind": "role"`, ""},
		{"", "get role/nope", "", `role "nope" does not exist, there are access, .*staging, x11\n$`},
		{"", "get nodes", "", `"nodes" is not role/NAME, nor roles\n$`},
		{"", "get roles/access", `^kind: role\nversion: v7\nmetadata:\n  name: access\n`, ""},
		{"", "get roles --format=xml", "", `format "xml" is not one of yaml, json, text\n$`},
		{"", "users add bot --generate --roles staging,stagign", "", `role "stagign" does not exist, there are access, `},
		{"", "users add bot --generate --roles staging --trait team=web,db --trait team=x", `^user bot added\n`, ""},
		{"", "users add cat --generate --trait nonsense", "", `"nonsense" is not NAME=VALUE,VALUE`},
		{"", "users add cat --generate --trait logins=root", "", `"logins" is no name for a trait`},
		{"", "get roles --format=text", `(?m)^staging +deploy +\*=\* +bot +$`, ""},
		{"", "rm role/staging", "", `role staging is in use by bot: give them other roles first\n$`},
		{"", "users update bot", "", `nothing to change: name --roles, --logins or --trait\n$`},
		{"", "users update bot --roles nope", "", `role "nope" does not exist, there are access, `},
		{"", "users update bot --logins a,-b", "", `"-b" is no login name\n$`},
		{"", "users update nobody --roles access", "", `user nobody does not exist\n$`},
		{"", "users update bot --roles access --logins deploy", `^user bot changed\n$`, ""},
		{"", "users ls", `(?m)^bot +access +deploy `, ""},
		{"", "rm role/access", "", `role access comes with the cluster and cannot be removed\n$`},
		{"", "rm staging", "", `"staging" is not role/NAME\n$`},
		{"", "rm role/staging", `^role staging removed\n$`, ""},
		{"", "rm role/staging", "", `role "staging" does not exist, there are access, `},
		{"", "users rm bot", `^user bot removed\n$`, ""},
	} {
		out, text, status := run(t, c.stdin, append(strings.Fields(c.line), "--dir", dir)...)
		if c.err == "" && (status != 0 || text != "" || !regexp.MustCompile(c.out).MatchString(out)) {
			t.Errorf("%s: %d %q\n%s", c.line, status, text, out)
		}
		if c.err != "" && (status != 1 || out != "" || !regexp.MustCompile(c.err).MatchString(text)) {
			t.Errorf("%s: %d %q %q", c.line, status, out, text)
		}
	}
	// What get prints, create accepts: all roles, in both formats.
	for _, format := range []string{"yaml", "json"} {
		all, _, _ := run(t, "", "get", "roles", "--dir", dir, "--format", format)
		out, text, status := run(t, all, "create", "-f", "-", "--force", "--json", "--dir", dir)
		var changes []devcluster.RoleChange
		if err := json.Unmarshal([]byte(out), &changes); err != nil || status != 0 || len(changes) < 9 {
			t.Errorf("%s: %d %s %v", format, status, text, changes)
		}
		if again, _, _ := run(t, "", "get", "roles", "--dir", dir, "--format", format); again != all {
			t.Errorf("%s: after a round\n%s\nbefore\n%s", format, again, all)
		}
	}
}
