package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/api/access"
	"github.com/seed-087d674e/tsh/api/resource"
	"github.com/seed-087d674e/tsh/internal/testenv"
)

// aRequest is one that ends in four hours, by the clock of the fixtures.
func aRequest(id string, change func(*access.RequestSpec)) *access.Request {
	now := testenv.FixtureTime()
	r := &access.Request{Metadata: resource.Metadata{Name: id}, Spec: access.RequestSpec{
		User: "bob", Roles: []string{"dba"}, State: access.Pending, Created: now.Add(-time.Hour), Expires: now.Add(4 * time.Hour)}}
	if change != nil {
		change(&r.Spec)
	}
	return r
}

// printing is a tsh by the clock of the fixtures, and what it prints and says.
func printing() (a *app, out, said *bytes.Buffer) {
	out, said = new(bytes.Buffer), new(bytes.Buffer)
	return &app{out: &dataWriter{w: out}, ui: &tui{err: said}, now: testenv.FixtureTime}, out, said
}

// The table of requests: what is long is cut, what is over is left out (quirk 22 of cli.md), and what
// others say starts no line and acts on no terminal.
func TestTableOfRequests(t *testing.T) {
	now := testenv.FixtureTime()
	a, out, said := printing()
	err := a.printRequests([]*access.Request{
		aRequest("id-1", func(s *access.RequestSpec) { s.Expiry, s.SessionTTL = now.Add(time.Hour), now.Add(2*time.Hour) }),
		aRequest("id-2", func(s *access.RequestSpec) {
			s.Roles, s.State, s.AssumeStartTime = []string{"reader-of-everything", "writer"}, access.Approved, now.Add(time.Hour)
			s.Resources = []access.ResourceID{{Cluster: "dev", Kind: "node", Name: "6f9f9e2e-0000-4000-8000-000000000000"}}
		}),
		aRequest("id-over", func(s *access.RequestSpec) { s.Expires = now.Add(-time.Second) }),
		aRequest("id-3", func(s *access.RequestSpec) { s.User = "eve\x1b[2J\nid-4" }),
	})
	want := `ID    User             Roles                    Resources                Created At (UTC)    Request TTL Session TTL Assume Time (UTC)   Status
----- ---------------- ------------------------ ------------------------ ------------------- ----------- ----------- ------------------- --------
id-1  bob              dba                                               31 Dec 26 23:00 UTC 1h0m        2h0m                            PENDING
id-2  bob              reader-of-everyth... [+] /dev/node/6f9f9e2... [+] 31 Dec 26 23:00 UTC 4h0m        4h0m        01 Jan 27 01:00 UTC APPROVED
id-3  eve\x1b[2J\nid-4 dba                                               31 Dec 26 23:00 UTC 4h0m        4h0m                            PENDING

`
	if err != nil || out.String() != want || !strings.Contains(said.String(), "cut at [+]") {
		t.Errorf("%v\n%q\n%s\nwant\n%q", err, out, said, want)
	}
}

// All about one request: first what is asked for, then a block for each word about it.
func TestOneRequest(t *testing.T) {
	a, out, _ := printing()
	now := testenv.FixtureTime()
	a.printRequest(aRequest("id-1", func(s *access.RequestSpec) {
		s.State, s.Reason, s.SuggestedReviewers = access.Denied, "ticket\n12\x1b[2J", []string{"carol", "dan"}
		s.Reviews = []access.Review{
			{Author: "carol", State: access.Approved, Created: now},
			{Author: "dan", State: access.Denied, Reason: "no\rYes", Created: now},
		}
	}))
	want := `Request ID:        id-1
Username:          bob
Roles:             dba
Reason:            ticket\n12\x1b[2J
Reviewers:         carol, dan (suggested)
Access Expires:    01 Jan 27 04:00 UTC
Status:            DENIED

Approval by:       carol
Reason:            [none]
Created At:        01 Jan 27 00:00 UTC

Denial by:         dan
Reason:            no\rYes
Created At:        01 Jan 27 00:00 UTC
`
	if out.String() != want {
		t.Errorf("%s\nwant\n%s", out, want)
	}
}
