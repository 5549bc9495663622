package devcluster

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"
)

// auditLines reads an audit log, each line of which has to be an event.
func auditLines(t *testing.T, path string) (events []auditEvent) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(raw) > 0 && raw[len(raw)-1] != '\n' {
		t.Fatalf("the last line has no end: %q", raw[max(0, len(raw)-100):])
	}
	for line := range bytes.Lines(raw) {
		var e auditEvent
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		events = append(events, e)
	}
	return events
}

func newAudit(t *testing.T, dir string) *auditLog {
	t.Helper()
	a, err := openAudit(dir, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

// Others say what is in the log, so nothing that they say leaves its place.
func TestAuditText(t *testing.T) {
	dir := t.TempDir()
	a := newAudit(t, dir)
	hostile := []string{
		"plain", "two\nlines", `"}` + "\n" + `{"event":"user.login","success":true}`, "\x1b[2J\x9b31m\x7f", "\u009b2J \u202e turned \u2066\u200b", "\xff\xfe",
		strings.Repeat("x", 5000), strings.Repeat("ü", 5000), "\U000e0041 tag", "<&>", "日本",
	}
	for _, text := range hostile {
		a.write(time.Date(2026, 11, 20, 13, 0, 0, 123456789, time.FixedZone("CET", 3600)), auditEvent{Event: eventLogin, User: text, Error: text, Roles: []string{text}})
	}
	raw, err := os.ReadFile(filepath.Join(dir, auditFile))
	if err != nil {
		t.Fatal(err)
	}
	if got := bytes.Count(raw, []byte("\n")); got != len(hostile) {
		t.Errorf("%d lines for %d events", got, len(hostile))
	}
	for _, r := range string(raw) {
		if r != '\n' && (r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r >= 0x200b && r <= 0x200f || r >= 0x2028 && r <= 0x202e || r >= 0x2060 && r <= 0x206f || r > 0xffff) {
			t.Errorf("%U is in the file", r)
		}
	}
	for i, e := range auditLines(t, filepath.Join(dir, auditFile)) {
		want := strings.ToValidUTF8(hostile[i], "\ufffd")
		if hostile[i] == "\xff\xfe" {
			want = "\ufffd\ufffd"
		}
		if len(want) > maxAuditText {
			if len(e.User) > maxAuditText || !utf8.ValidString(e.User) || !strings.HasPrefix(want, strings.TrimSuffix(e.User, "…")) || !strings.HasSuffix(e.User, "…") {
				t.Errorf("%d bytes of %d: %.40q", len(e.User), len(want), e.User)
			}
			continue
		}
		if e.User != want || e.Error != want || e.Roles[0] != want || e.Time != "2026-11-20T12:00:00.123Z" {
			t.Errorf("%q, want %q", e.User, want)
		}
	}
	many := make([]string, 1000)
	a.write(time.Now(), auditEvent{Roles: many})
	lines := auditLines(t, filepath.Join(dir, auditFile))
	if got := len(lines[len(lines)-1].Roles); got != maxAuditTexts {
		t.Errorf("%d roles", got)
	}
	if info, err := os.Stat(filepath.Join(dir, auditFile)); err != nil || info.Mode().Perm() != 0o600 && runtime.GOOS != "windows" {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// What a crash has left of a line is taken away, and nothing else.
func TestAuditAfterACrash(t *testing.T) {
	whole := `{"event":"one"}` + "\n" + `{"event":"two"}` + "\n"
	for name, tc := range map[string]struct{ before, after string }{
		"empty":       {"", ""},
		"whole":       {whole, whole},
		"torn":        {whole + `{"event":"thr`, whole},
		"torn, long":  {whole + strings.Repeat("x", 200<<10), whole},
		"only torn":   {`{"event":`, ""},
		"long before": {strings.Repeat("x", 64<<10) + "\n" + "torn", strings.Repeat("x", 64<<10) + "\n"},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, auditFile)
		if err := os.WriteFile(path, []byte(tc.before), 0o600); err != nil {
			t.Fatal(err)
		}
		a := newAudit(t, dir)
		if raw, err := os.ReadFile(path); err != nil || string(raw) != tc.after {
			t.Errorf("%s: %d bytes, want %d, %v", name, len(raw), len(tc.after), err)
		}
		a.write(time.Now(), auditEvent{Event: "next"})
		raw, _ := os.ReadFile(path)
		if !strings.HasPrefix(string(raw), tc.after+`{"time":"`) || !strings.HasSuffix(string(raw), "}\n") {
			t.Errorf("%s: %q", name, raw[max(0, len(raw)-200):])
		}
	}
}

// The log is two halves at most, and many may write: no line is lost or mixed but by age.
func TestAuditRotates(t *testing.T) {
	dir := t.TempDir()
	a := newAudit(t, dir)
	a.max = 4000
	const writers, each = 8, 50
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				a.write(time.Now(), auditEvent{Event: eventLogin, User: fmt.Sprintf("%d/%d", w, i)})
			}
		})
	}
	wg.Wait()
	path := filepath.Join(dir, auditFile)
	seen := map[string]bool{}
	for _, half := range []string{path, path + auditOld} {
		info, err := os.Stat(half)
		if err != nil || info.Size() > a.max {
			t.Fatalf("%s: %v, %v", half, info, err)
		}
		for _, e := range auditLines(t, half) {
			seen[e.User] = true
		}
	}
	var last int
	for w := range writers {
		if seen[fmt.Sprintf("%d/%d", w, each-1)] {
			last++
		}
	}
	if len(seen) < 30 || last == 0 || len(listOf(t, dir)) != 2 {
		t.Errorf("%d lines, the last of %d writers, %q", len(seen), last, listOf(t, dir))
	}
	// It goes on where it was.
	b := newAudit(t, dir)
	b.max = a.max
	for range 30 {
		b.write(time.Now(), auditEvent{Event: "again"})
	}
	if info, err := os.Stat(path); err != nil || info.Size() > a.max {
		t.Errorf("%v, %v", info.Size(), err)
	}
	if err := b.close(); err != nil {
		t.Fatal(err)
	}
	if err := b.append([]byte("x\n")); err == nil {
		t.Error("a log that is closed takes a line")
	}
	(*auditLog)(nil).write(time.Now(), auditEvent{})
}

// Where the old half cannot be moved away the log goes on.
func TestAuditThatCannotRotate(t *testing.T) {
	dir := t.TempDir()
	a, err := openAudit(dir, newLogger(nil))
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	a.max = 300
	if err := os.MkdirAll(filepath.Join(a.path+auditOld, "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		a.write(time.Now(), auditEvent{Event: eventLogin})
	}
	if got := len(auditLines(t, a.path)); got != 10 {
		t.Errorf("%d lines of 10", got)
	}
}
