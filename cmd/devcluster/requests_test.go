package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/seed-087d674e/tsh/internal/devcluster"
)

// Requests are listed and decided through the commands. (That tsh makes them, and is
// told, is in the scripts of tsh.)
func TestRequests(t *testing.T) {
	dir := t.TempDir()
	if _, text, s := run(t, "", "requests", "ls", "--dir", dir); s != 1 || !strings.Contains(text, "devcluster start") {
		t.Errorf("without a cluster: %d %q", s, text)
	}
	c, err := devcluster.Start(t.Context(), devcluster.Config{Dir: dir, Addr: "127.0.0.1:0", SecondFactor: "off"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	text, errText, s := run(t, "", "requests", "ls", "--dir", dir, "--json")
	var list []devcluster.AccessRequest
	if s != 0 || json.Unmarshal([]byte(text), &list) != nil || list == nil || len(list) != 0 {
		t.Errorf("ls: %d %q %q", s, text, errText)
	}
	for _, verb := range []string{"approve", "deny"} {
		if _, text, s := run(t, "", "requests", verb, "nope", "--dir", dir, "--reason", "x"); s != 1 || !strings.Contains(text, `access request "nope" is not found`) {
			t.Errorf("%s: %d %q", verb, s, text)
		}
	}
}
