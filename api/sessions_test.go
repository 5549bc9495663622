package api

import (
	"encoding/json"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/seed-087d674e/tsh/internal/wire"
	"github.com/seed-087d674e/tsh/internal/wire/clusterwire"
)

// Sessions come in any order and state; those under way are listed, oldest first.
func TestSessions(t *testing.T) {
	var messages struct {
		Messages [][]byte `wire:"1"`
	}
	for i, s := range []clusterwire.SessionSpec{
		{SessionID: "late", State: 1, Created: &wire.Timestamp{Seconds: 30}},
		{SessionID: "over", State: 2, Created: &wire.Timestamp{Seconds: 10}},
		{SessionID: "early", State: 1, Created: &wire.Timestamp{Seconds: 20}},
		{SessionID: "waiting", Created: &wire.Timestamp{Seconds: 25}, Hostname: "a\x1b[2J", Participants: []*clusterwire.SessionParticipant{{User: "bob"}}},
		{SessionID: "odd", State: 7},
	} {
		tracker := &clusterwire.SessionTracker{Header: clusterwire.ResourceHeader{Kind: "session_tracker", Version: "v1"}, Spec: s}
		tracker.Header.Metadata.Name = s.SessionID
		if i == 0 {
			tracker.Header.Metadata.Expires = &wire.Timestamp{Seconds: 40}
		}
		messages.Messages = append(messages.Messages, wire.Marshal(tracker))
	}
	server := startAuth(t, func(method string, request []byte) ([]byte, error) {
		if method != "/proto.AuthService/GetActiveSessionTrackers" || len(request) != 0 {
			t.Errorf("%s %x", method, request)
		}
		return wire.Marshal(&messages), nil
	})
	sessions, err := server.connect(t).Sessions(testContext(t))
	var ids []string
	for _, s := range sessions {
		ids = append(ids, s.Spec.ID)
	}
	if err != nil || strings.Join(ids, " ") != "early waiting late" {
		t.Fatalf("%q, %v", ids, err)
	}
	data, err := json.Marshal(sessions)
	if err != nil || strings.Count(string(data), `"state":1`) != 2 || strings.Contains(string(data), "\x1b") ||
		!strings.Contains(string(data), `"participants":[{"user":"bob","last_active":"0001-01-01T00:00:00Z"}]`) ||
		!strings.Contains(string(data), `"expires":"1970-01-01T00:00:40Z"`) {
		t.Errorf("%s, %v", data, err)
	}
	// case N08: a list that never ends.
	for range maxItems {
		messages.Messages = append(messages.Messages, nil)
	}
	if _, err := server.connect(t).Sessions(testContext(t)); err == nil || !strings.Contains(err.Error(), "more than 20000 things") {
		t.Error(err)
	}
	server = startAuth(t, func(string, []byte) ([]byte, error) { return nil, status.Error(codes.PermissionDenied, "not for you") })
	if _, err := server.connect(t).Sessions(testContext(t)); err == nil || err.Error() != "not for you" {
		t.Error(err)
	}
}

// Pages of leaf clusters are put together and sorted; a list without end is given up.
func TestRemoteClusterPages(t *testing.T) {
	endless := false
	server := startAuth(t, func(_ string, request []byte) ([]byte, error) {
		var req clusterwire.RemoteClustersRequest
		if err := wire.Unmarshal(request, &req); err != nil || req.PageSize != listPage {
			t.Errorf("%+v, %v", req, err)
		}
		page := &clusterwire.RemoteClustersResponse{Clusters: []*clusterwire.RemoteCluster{{Status: clusterwire.RemoteClusterStatus{Connection: "online"}}}}
		page.Clusters[0].Metadata.Name = map[string]string{"": "b", "2": "a"}[req.PageToken]
		if page.NextPageToken = "2"; req.PageToken == "2" && !endless {
			page.NextPageToken = ""
		}
		return wire.Marshal(page), nil
	})
	c := server.connect(t)
	all, err := c.Clusters(testContext(t))
	if err != nil || len(all) != 3 || !all[0].Root || all[0].Status != "online" || all[1].Name != "a" || all[2].Name != "b" || !all[1].LastHeartbeat.IsZero() {
		t.Errorf("%v, %v", all, err)
	}
	endless = true
	if _, err := c.Clusters(testContext(t)); err == nil || !strings.Contains(err.Error(), "without end") {
		t.Error(err)
	}
}
