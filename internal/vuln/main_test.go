package main

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestMain lets the test binary be the check: what it prints and how it ends is told by
// its environment.
func TestMain(m *testing.M) {
	if said := os.Getenv("VULN_TEST_SAYS"); said != "" {
		_, _ = os.Stderr.WriteString(said)
		if said != "No vulnerabilities found.\n" {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// case P01: a check that could not be made is never taken for one that found nothing.
func TestWhatTheCheckSaid(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	const (
		offline = "go: downloading golang.org/x/vuln v1.9.0\n" +
			`govulncheck: fetching vulnerabilities: Get "https://vuln.go.dev/index/modules.json.gz": dial tcp: lookup vuln.go.dev on 10.0.0.1:53: no such host` + "\nexit status 1\n"
		noProxy = `go: golang.org/x/vuln/cmd/govulncheck@v1.9.0: Get "https://proxy.golang.org/golang.org/x/vuln/@v/v1.9.0.info": dial tcp: i/o timeout` + "\n"
		noPart  = "/root/go/pkg/mod/golang.org/x/vuln@v1.9.0/internal/scan/run.go:18:2: golang.org/x/telemetry@v0.0.0: reading https://proxy.golang.org/golang.org/x/telemetry/@v/v0.0.0.zip: 403 Forbidden\n"
		found   = "=== Symbol Results ===\nVulnerability #1: GO-2026-0001\nexit status 3\n"
		broken  = "govulncheck: loading packages: there are errors with the provided package patterns\nexit status 1\n"
	)
	for _, tt := range []struct {
		said     string
		required bool
		want     int
		nothing  bool // it says that nothing was checked
	}{
		{"No vulnerabilities found.\n", false, 0, false},
		{"No vulnerabilities found.\n", true, 0, false},
		{found, false, 1, false},
		{broken, false, 1, false},
		{offline, false, 0, true},
		{offline, true, 3, true},
		{noProxy, false, 0, true},
		{noProxy, true, 3, true},
		{noPart, false, 0, true},
	} {
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), "VULN_TEST_SAYS="+tt.said)
		var out bytes.Buffer
		if got := run(cmd, tt.required, &out); got != tt.want || strings.Contains(out.String(), "NOTHING WAS CHECKED") != tt.nothing || !strings.HasPrefix(out.String(), tt.said) {
			t.Errorf("%q, required %v: %d\n%s", tt.said, tt.required, got, out.String())
		}
	}
}
