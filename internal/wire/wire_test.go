package wire

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

func fixture(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "grpc", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func decode[T any](t *testing.T, data []byte) *T {
	t.Helper()
	v := new(T)
	if err := Unmarshal(data, v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestEncodeRequests(t *testing.T) {
	tests := []struct {
		name    string
		message any
		want    string // hex, spaces ignored
	}{
		{"dial target of ProxySSH", &ProxySSHRequest{DialTarget: &TargetHost{"web-1:0", "example.com"}},
			"0a16 0a07 7765622d313a30 120b 6578616d706c652e636f6d"},
		{"frame", &ProxySSHRequest{SSH: &Frame{[]byte("SSH-2.0-x\r\n")}}, "120d 0a0b 5353482d322e302d780d0a"},
		{"empty details", &ProxySSHResponse{Details: &ClusterDetails{}}, "0a00"},
		{"cluster target", &ProxyClusterRequest{Cluster: "c"}, "0a0163"},
		{"empty", &Empty{}, ""},
		{"list as tsh ls", &ListUnifiedResourcesRequest{Kinds: []string{"node"}, Limit: 1000, SortBy: SortBy{Field: "kind"}},
			"0a04 6e6f6465 10e807 3a06 1204 6b696e64 4200"},
		{"fixture ListUnifiedResources", &ListUnifiedResourcesRequest{Kinds: []string{"node"}, Limit: 100, SortBy: SortBy{Field: "name"}},
			hex.EncodeToString(fixture(t, "ListUnifiedResources.request.binpb"))},
		{"fixture ListResources", &ListResourcesRequest{ResourceType: "node", Namespace: "default", Limit: 10},
			hex.EncodeToString(fixture(t, "ListResources.request.binpb"))},
		{"fixture Ping", &Empty{}, hex.EncodeToString(fixture(t, "Ping.request.binpb"))},
		{"map keys are sorted", &Metadata{Labels: map[string]string{"b": "", "a": "1"}}, "2a06 0a0161 120131 2a05 0a0162 1200"},
		{"negative enum", &PingResponse{SignatureSuite: -1}, "48 ffffffffffffffffff01"},
	}
	for _, tt := range tests {
		want, err := hex.DecodeString(strings.ReplaceAll(tt.want, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		if got := Marshal(tt.message); !bytes.Equal(got, want) {
			t.Errorf("%s:\n got %x\nwant %x", tt.name, got, want)
		}
	}
}

func TestDecodePing(t *testing.T) {
	got := decode[PingResponse](t, fixture(t, "Ping.response.binpb"))
	var want struct {
		ClusterName   string `json:"cluster_name"`
		ServerVersion string `json:"server_version"`
		ProxyAddr     string `json:"proxy_public_addr"`
		RemoteAddr    string `json:"remote_addr"`
	}
	if err := json.Unmarshal(fixture(t, "Ping.response.json"), &want); err != nil {
		t.Fatal(err)
	}
	const balanced = 2 // "balanced-v1" in the fixture's words
	if *got != (PingResponse{want.ClusterName, want.ServerVersion, want.ProxyAddr, false, want.RemoteAddr, false, balanced}) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got.ClusterName == "" {
		t.Error("the fixture's words were not understood")
	}
}

func TestDecodeNodes(t *testing.T) {
	for _, name := range []string{"ListUnifiedResources", "ListResources"} {
		var words struct {
			Resources []struct {
				Resource struct {
					Node struct {
						Kind, Version string
						Metadata      struct {
							Name, Revision string
							Labels         map[string]string
							Expires        time.Time
						}
						Spec struct{ Addr, Hostname, Version string }
					}
				}
			}
		}
		if err := json.Unmarshal(fixture(t, name+".response.json"), &words); err != nil {
			t.Fatal(err)
		}
		// Both answers have the same fields under the same numbers.
		got := decode[ListUnifiedResourcesResponse](t, fixture(t, name+".response.binpb"))
		if len(got.Resources) != 1 || len(words.Resources) != 1 || got.NextKey != "" {
			t.Fatalf("%s: %+v", name, got)
		}
		node, want := got.Resources[0].Node, words.Resources[0].Resource.Node
		if node.Kind != want.Kind || node.Version != want.Version || node.Metadata.Name != want.Metadata.Name ||
			node.Metadata.Revision != want.Metadata.Revision || !node.Metadata.Expires.Time().Equal(want.Metadata.Expires) ||
			!maps.Equal(node.Metadata.Labels, want.Metadata.Labels) || node.Spec.Addr != want.Spec.Addr ||
			node.Spec.Hostname != want.Spec.Hostname || node.Spec.Version != want.Spec.Version {
			t.Errorf("%s:\n got %+v\nwant %+v", name, node, want)
		}
		if started := node.Spec.Rotation.Started; started == nil || !started.Time().IsZero() {
			t.Errorf("%s: rotation started %v, want a timestamp that is not set", name, started)
		}
		if again := decode[ListUnifiedResourcesResponse](t, Marshal(got)); !reflect.DeepEqual(again, got) {
			t.Errorf("%s: did not survive a round trip: %+v", name, again)
		}
	}
}

func TestDecodeTolerance(t *testing.T) {
	type message struct {
		S  string            `wire:"1"`
		N  int32             `wire:"2"`
		P  *SortBy           `wire:"3"`
		M  map[string]SortBy `wire:"4"`
		R  []*SortBy         `wire:"5"`
		B  bool              `wire:"6"`
		U  uint64            `wire:"7"`
		BB [][]byte          `wire:"8"`
		X  map[string]*Empty `wire:"9"`
		No string
	}
	tests := []struct {
		name, input string
		want        message
	}{
		{"last scalar counts", "0a0161 0a0162", message{S: "b"}},
		{"messages merge", "1a020801 1a03120178", message{P: &SortBy{true, "x"}}},
		{"present and empty", "1a00", message{P: &SortBy{}}},
		{"other wire type is skipped", "0801 1500000000 0a0161", message{S: "a"}},
		{"unknown fields are skipped", "7a0161 7d01020304 790102030405060708 7005 0a0161", message{S: "a"}},
		{"upper half of int32 is dropped", "10 ffffffffffffffffff01", message{N: -1}},
		{"entry without key and value", "2200", message{M: map[string]SortBy{"": {}}}},
		{"entry without value, pointers", "4a030a0161", message{X: map[string]*Empty{"a": {}}}},
		{"entry with stray fields", "2207 1801 0a0161 1200", message{M: map[string]SortBy{"a": {}}}},
		{"last entry counts", "22050a01611200 22070a016112020801", message{M: map[string]SortBy{"a": {Descending: true}}}},
		{"repeated", "2a00 2a020801 420161 4200", message{R: []*SortBy{{}, {Descending: true}}, BB: [][]byte{[]byte("a"), {}}}},
		{"bool of any value", "3005 38 ffffffffffffffffff01", message{B: true, U: 1<<64 - 1}},
	}
	for _, tt := range tests {
		input, err := hex.DecodeString(strings.ReplaceAll(tt.input, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		var got message
		if err := Unmarshal(input, &got); err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: got %+v, %v; want %+v", tt.name, got, err, tt.want)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	for name, input := range map[string]string{
		"tag cut":            "80",
		"length beyond end":  "0a05 61",
		"length of 2^63":     "0a ffffffffffffffff7f",
		"varint too long":    "10 ffffffffffffffffffff01",
		"field number zero":  "0001",
		"end of no group":    "0c",
		"group without end":  "a306",
		"wire type seven":    "0f00",
		"entry cut":          "22020a05",
		"entry tag cut":      "220180",
		"entry value broken": "2204 12020a05",
		"unknown cut":        "7a05",
	} {
		data, err := hex.DecodeString(strings.ReplaceAll(input, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		var m struct {
			S string            `wire:"1"`
			N int32             `wire:"2"`
			M map[string]SortBy `wire:"4"`
		}
		if err := Unmarshal(data, &m); !errors.Is(err, errTruncated) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

type recursive struct {
	Next *recursive `wire:"1"`
}

func TestDecodeBounds(t *testing.T) {
	var nested []byte
	for range maxDepth {
		nested = protowire.AppendBytes([]byte{0x0a}, nested)
	}
	if err := Unmarshal(nested, &recursive{}); !errors.Is(err, errTooDeep) {
		t.Errorf("%d messages inside each other: %v", maxDepth, err)
	}
	if err := Unmarshal(nested[2:], &recursive{}); err != nil && !errors.Is(err, errTooDeep) {
		t.Error(err)
	}
	// Four bytes that unpack to a whole node, as often as 4 MiB hold them.
	bomb := bytes.Repeat([]byte{0x0a, 0x02, 0x1a, 0x00}, 1<<20)
	if err := Unmarshal(bomb, &ListUnifiedResourcesResponse{}); !errors.Is(err, errTooBig) {
		t.Errorf("a million empty nodes: %v", err)
	}
	page := ListUnifiedResourcesResponse{Resources: make([]PaginatedResource, 10000)}
	for i := range page.Resources {
		page.Resources[i].Node = &Server{Metadata: Metadata{Labels: map[string]string{"env": "dev", "tier": "web"}}}
	}
	if err := Unmarshal(Marshal(&page), &ListUnifiedResourcesResponse{}); err != nil {
		t.Errorf("ten thousand ordinary nodes: %v", err)
	}
}

func TestTimestamp(t *testing.T) {
	for _, tt := range []struct {
		t    *Timestamp
		want string
	}{
		{nil, "0001-01-01T00:00:00Z"},
		{&Timestamp{}, "1970-01-01T00:00:00Z"},
		{&Timestamp{Seconds: -62135596800}, "0001-01-01T00:00:00Z"},
		{&Timestamp{Seconds: -1 << 63}, "0001-01-01T00:00:00Z"},
		{&Timestamp{Seconds: 1<<63 - 1, Nanos: 1<<31 - 1}, "0001-01-01T00:00:00Z"},
		{&Timestamp{Seconds: 1795208785, Nanos: 290865804}, "2026-11-20T21:06:25.290865804Z"},
	} {
		if got := tt.t.Time().Format(time.RFC3339Nano); got != tt.want {
			t.Errorf("%+v: %s, want %s", tt.t, got, tt.want)
		}
	}
}

// FuzzUnmarshal decodes anything as the answers of a server: it must not
// panic, and what it accepts must mean the same after a round trip.
func FuzzUnmarshal(f *testing.F) {
	seeds, err := filepath.Glob(filepath.Join("testdata", "grpc", "*.binpb"))
	if err != nil || len(seeds) < 10 {
		f.Fatalf("the fixtures that seed this are gone: found %d (%v)", len(seeds), err)
	}
	for _, seed := range seeds {
		f.Add(fixture(f, filepath.Base(seed)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, make := range []func() any{
			func() any { return new(ListUnifiedResourcesResponse) },
			func() any { return new(PingResponse) },
			func() any { return new(ProxySSHResponse) },
			func() any { return new(recursive) },
		} {
			first, second := make(), make()
			if Unmarshal(bytes.Clone(data), first) != nil {
				continue
			}
			encoded := Marshal(first)
			if err := Unmarshal(encoded, second); err != nil {
				t.Fatalf("own encoding refused: %v", err)
			}
			if again := Marshal(second); !bytes.Equal(again, encoded) {
				t.Fatalf("%x became %x", encoded, again)
			}
		}
	})
}

// The base of the encoding agrees with the library's on every input.
func FuzzBase(f *testing.F) {
	for _, seed := range [][]byte{{}, {0x08, 0x96, 0x01}, {0x0a, 0x02, 'h', 'i'}, {0x0d, 1, 2, 3, 4}, {0x09, 1, 2, 3, 4, 5, 6, 7, 8}, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		number, typ, n := consumeTag(b)
		wantNumber, wantType, want := protowire.ConsumeTag(b)
		if (n < 0) != (want < 0) || n >= 0 && (n != want || number != int32(wantNumber) || typ != wireType(wantType)) {
			t.Fatalf("tag of %x: %d, %d, %d; want %d, %d, %d", b, number, typ, n, wantNumber, wantType, want)
		}
		if n < 0 || wantType == protowire.StartGroupType || wantType == protowire.EndGroupType {
			return
		}
		got, want := skipValue(typ, b[n:]), protowire.ConsumeFieldValue(wantNumber, wantType, b[n:])
		if (got < 0) != (want < 0) || got >= 0 && got != want {
			t.Fatalf("value of %x: %d, want %d", b, got, want)
		}
	})
}
