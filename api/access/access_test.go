package access

import (
	"encoding/json"
	"testing"
)

// Text forms of resource IDs, there and back; what is none is refused.
func TestResourceID(t *testing.T) {
	for s, want := range map[string]ResourceID{
		"/c/node/n":     {Cluster: "c", Kind: "node", Name: "n"},
		"/c/pod/n/a/b":  {Cluster: "c", Kind: "pod", Name: "n", Sub: "a/b"},
		"/c/node/n/sub": {Cluster: "c", Kind: "node", Name: "n", Sub: "sub"},
	} {
		got, err := ParseResourceID(s)
		if err != nil || got != want || got.String() != s {
			t.Errorf("%s: %+v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "/", "node", "/c/node", "c/node/n", "//node/n", "/c//n", "/c/node/", "/c/node/n/"} {
		if id, err := ParseResourceID(s); err == nil {
			t.Errorf("%q is %+v", s, id)
		}
	}
}

// All conditions of a filter have to hold.
func TestFilter(t *testing.T) {
	r := &Request{Spec: RequestSpec{User: "bob", State: Pending, SuggestedReviewers: []string{"carol"}}}
	r.Metadata.Name = "id"
	reviewed := *r
	reviewed.Spec.Reviews = []Review{{Author: "carol"}}
	decided := *r
	decided.Spec.State = Denied
	for _, tc := range []struct {
		filter Filter
		of     *Request
		match  bool
	}{
		{Filter{}, r, true},
		{Filter{ID: "id", User: "bob", State: Pending, Reviewer: "carol", Suggested: "carol"}, r, true},
		{Filter{ID: "other"}, r, false},
		{Filter{User: "carol"}, r, false},
		{Filter{State: Approved}, r, false},
		{Filter{Suggested: "dan"}, r, false},
		{Filter{Reviewer: "bob"}, r, false},
		{Filter{Reviewer: "carol"}, &reviewed, false},
		{Filter{Reviewer: "dan"}, &reviewed, true},
		{Filter{Reviewer: "carol"}, &decided, false},
		{Filter{Search: []string{"nowhere"}}, r, true}, // the server's
	} {
		if got := tc.filter.Match(tc.of); got != tc.match {
			t.Errorf("%+v: %v", tc.filter, got)
		}
	}
}

// States are numbers in JSON and words for people.
func TestState(t *testing.T) {
	for state, want := range map[State]string{Pending: "pending", Approved: "approved", Denied: "denied", Promoted: "promoted", 0: "in state 0", 9: "in state 9", -1: "in state -1"} {
		if got := state.String(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	raw, err := json.Marshal(RequestSpec{State: Denied, Reviews: []Review{{Author: "carol", State: Denied}}})
	want := `{"user":"","state":3,"created":"0001-01-01T00:00:00Z","expires":"0001-01-01T00:00:00Z","reviews":[{"author":"carol","proposed_state":3,"created":"0001-01-01T00:00:00Z"}],` +
		`"max_duration":"0001-01-01T00:00:00Z","session_ttl":"0001-01-01T00:00:00Z"}`
	if err != nil || string(raw) != want {
		t.Errorf("%s, %v", raw, err)
	}
}
