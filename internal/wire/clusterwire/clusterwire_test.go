package clusterwire

import (
	"encoding/hex"
	"reflect"
	"strings"
	"testing"

	"github.com/seed-087d674e/tsh/internal/wire"
)

func bytesOf(t *testing.T, parts ...string) []byte {
	t.Helper()
	raw, err := hex.DecodeString(strings.Join(parts, ""))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// A page of leaf clusters, put together by hand from the tables of the auth API (4, 10.2).
func TestRemoteClusterBytes(t *testing.T) {
	var got RemoteClustersResponse
	raw := bytesOf(t,
		"0a18",
		"0a0178", "1a027633", // 1 kind, 3 version
		"2203", "0a016c", // 4 metadata: name l
		"2a0a", "0a066f6e6c696e65", "1200", // 5 status: online, a heartbeat of 0
		"12016b", // 2: the next page
	)
	if err := wire.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	want := RemoteClustersResponse{NextPageToken: "k", Clusters: []*RemoteCluster{{
		Metadata: wire.Metadata{Name: "l"}, Status: RemoteClusterStatus{Connection: "online", LastHeartbeat: &wire.Timestamp{}},
	}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("read %+v", got.Clusters[0])
	}
	if ask := hex.EncodeToString(wire.Marshal(&RemoteClustersRequest{PageSize: 200, PageToken: "k"})); ask != "08c80112016b" {
		t.Errorf("asked with %s", ask)
	}
}

// A session, put together by hand from the table of the auth API (12).
func TestSessionTrackerBytes(t *testing.T) {
	var got SessionTracker
	raw := bytesOf(t,
		"0a09", "0a0173", "1a027631", "2200", // 1 header: kind, version, metadata
		"1228",                                                 // 2 spec
		"0a0169", "1203737368", "1801", "22020805", "2a020806", // 1 ID, 2 kind, 3 state, 4 created, 5 expires
		"4a0168", "6a06", "0a0170", "120175", "7a0175", // 9 host, 13 participant {1 p, 2 u}, 15 who began it
		"aa010166", // 21 host's ID
	)
	raw[12] = byte(len(raw) - 13)
	if err := wire.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	want := SessionTracker{
		Header: ResourceHeader{Kind: "s", Version: "v1"},
		Spec: SessionSpec{SessionID: "i", Kind: "ssh", State: 1, Created: &wire.Timestamp{Seconds: 5}, Expires: &wire.Timestamp{Seconds: 6},
			Hostname: "h", Participants: []*SessionParticipant{{ID: "p", User: "u"}}, HostUser: "u", HostID: "f"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("read %+v", got)
	}
}
