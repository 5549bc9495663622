package fanout

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"unicode"
)

func TestUnique(t *testing.T) {
	nodes := []*Node{
		{Name: "web", ID: "1"}, {Name: "db", ID: "2"}, {Name: "web", ID: "3"}, {Name: "Web", ID: "4"}, {Name: "db", ID: "2"},
		{Name: "", ID: "5"}, {Name: "web.1", ID: "6"}, {Name: "a\x1b[2J\nb", ID: "7"}, {Name: strings.Repeat("x", 300), ID: "8"},
	}
	nodes = Unique(nodes)
	var got []string
	for _, n := range nodes {
		got = append(got, n.Label)
	}
	want := []string{"web.1", "db", "web.3", "Web.4", ".5", "web.1'", `a\x1b[2J\nb`, strings.Repeat("x", maxLabel-3) + "..."}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// case X01: a name from the cluster never leads out of the directory, nor to a device,
// an existing file or the file of another node.
func TestLogsStayInTheirDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "logs")
	logs, err := OpenLogs(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer logs.Close()
	if info, err := os.Stat(dir); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
	names := map[string]string{ // and the file
		"web-1.example.com": "web-1.example.com", "..": "%2E.", ".": "%2E", "../../x": "%2E.%2F..%2Fx", "/etc/passwd": "%2Fetc%2Fpasswd",
		"a/b": "a%2Fb", `a\b`: "a%5Cb", "C:x": "C%3Ax", "x::$DATA": "x%3A%3A%24DATA", "NUL": "%4EUL", "com1.txt": "%63om1.txt", "büro": "b%C3%BCro",
		"a b": "a%20b", "%2E": "%252E", "-rf": "-rf", ".bashrc": "%2Ebashrc", "hosts.failed": "hosts.failed", "x\n\x1b[2J": `x%5Cn%5Cx1b%5B2J`, "*": "%2A",
	}
	var nodes []*Node
	for name := range names {
		nodes = append(nodes, &Node{Name: name, ID: name})
	}
	long := strings.Repeat("ü", maxLabel)
	for _, name := range []string{long, long + "x"} { // cut to the same length
		nodes = append(nodes, &Node{Name: name, ID: name})
	}
	var results []*Result
	for _, n := range Unique(nodes) {
		log, err := logs.open(n)
		if err != nil {
			t.Fatalf("%q: %v", n.Name, err)
		}
		_, _ = log.stdout.WriteString("out of " + n.Name)
		_, _ = log.stderr.WriteString("err of " + n.Name)
		if err := log.close(); err != nil {
			t.Error(err)
		}
		if file, ok := names[n.Name]; ok {
			if data, err := os.ReadFile(filepath.Join(dir, file+".stdout")); err != nil || string(data) != "out of "+n.Name {
				t.Errorf("%q: %q, %v", n.Name, data, err)
			}
		}
		results = append(results, &Result{n, errors.New("no")})
	}
	results[0].Err = nil
	if err := logs.Write(results); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2*len(nodes)+2 {
		t.Errorf("%d files for %d nodes, %v", len(entries), len(nodes), err)
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil || runtime.GOOS != "windows" && info.Mode() != 0o600 || len(entry.Name()) > 255 {
			t.Errorf("%v: %v, %v", entry, info.Mode(), err)
		}
	}
	failed, err := os.ReadFile(filepath.Join(dir, "hosts.failed"))
	if err != nil || strings.Count(string(failed), "\n") != len(nodes)-1 ||
		strings.ContainsFunc(string(failed), func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }) {
		t.Errorf("%q, %v", failed, err)
	}
	// The next run succeeds everywhere.
	if err := logs.Write(results[:1]); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "hosts.failed")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the list of an earlier run is still there: %v", err)
	}
}

// case X05: what somebody has put in the place of a file is not written to.
func TestLogsDoNotFollow(t *testing.T) {
	dir := t.TempDir()
	victim := filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(victim, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(victim, filepath.Join(dir, "web.stdout")); err != nil {
		t.Skip("no symbolic links here:", err)
	}
	if err := os.Link(victim, filepath.Join(dir, "web.stderr")); err != nil {
		t.Fatal(err)
	}
	logs, err := OpenLogs(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer logs.Close()
	log, err := logs.open(&Node{Label: "web"})
	if err != nil {
		t.Fatal(err)
	}
	_, _ = log.stdout.WriteString("x")
	_, _ = log.stderr.WriteString("x")
	if err := log.close(); err != nil {
		t.Error(err)
	}
	if data, err := os.ReadFile(victim); err != nil || string(data) != "mine" {
		t.Errorf("%q, %v", data, err)
	}
}
