package wire_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/seed-087d674e/tsh/internal/devcluster/clusterpb"
	"github.com/seed-087d674e/tsh/internal/wire"
	"github.com/seed-087d674e/tsh/internal/wire/accesswire"
	"github.com/seed-087d674e/tsh/internal/wire/clusterwire"
	"github.com/seed-087d674e/tsh/internal/wire/mfawire"
	"github.com/seed-087d674e/tsh/internal/wire/rolewire"
	"github.com/seed-087d674e/tsh/internal/wire/sessionwire"
)

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// captured is a message that went between a real client and a real cluster.
type captured struct {
	file   string
	ours   any           // a request as the client makes it, or what an answer is read into; nil while it has no such message
	theirs proto.Message // the same message with the names that the words have
}

func capturedMessages() []captured {
	node, empty := []string{"node"}, new(clusterpb.Empty)
	return []captured{
		{"Ping.request", new(wire.Empty), empty},
		{"Ping.response", new(wire.PingResponse), new(clusterpb.PingResponse)},
		{"GetDomainName.request", new(wire.Empty), empty},
		{"GetDomainName.response", nil, new(clusterpb.GetDomainNameResponse)},
		{"GetUser.request", &rolewire.GetUserRequest{CurrentUser: true}, new(clusterpb.GetUserRequest)},
		{"GetUser.response", new(rolewire.GetUserResponse), new(clusterpb.GetUserResponse)},
		{"GetRole.request", &rolewire.GetRoleRequest{Name: "fixture"}, new(clusterpb.GetRoleRequest)},
		{"GetRole.response", new(rolewire.Role), new(clusterpb.Role)},
		{"GetRole.second.request", &rolewire.GetRoleRequest{Name: "nope"}, new(clusterpb.GetRoleRequest)},
		{"GetCertAuthorities.request", &accesswire.CertAuthoritiesRequest{Type: "host"}, new(clusterpb.GetCertAuthoritiesRequest)},
		{"GetCertAuthorities.response", new(accesswire.CertAuthoritiesResponse), new(clusterpb.GetCertAuthoritiesResponse)},
		{"GetClusterAlerts.request", nil, empty},
		{"GetClusterAlerts.response", nil, empty},
		{"GetMFADevices.request", new(wire.Empty), new(clusterpb.GetMFADevicesRequest)},
		{"GetMFADevices.response", new(mfawire.GetDevicesResponse), new(clusterpb.GetMFADevicesResponse)},
		{"CreateAuthenticateChallenge.request", &sessionwire.ChallengeRequest{ContextUser: new(wire.Empty)}, new(clusterpb.CreateAuthenticateChallengeRequest)},
		{"IsMFARequired.request", &sessionwire.RequiredRequest{Node: &sessionwire.NodeLogin{Node: "node-1", Login: "root"}}, new(clusterpb.IsMFARequiredRequest)},
		{"IsMFARequired.response", new(sessionwire.RequiredResponse), new(clusterpb.IsMFARequiredResponse)},
		{"ListAccessRequests.request", &accesswire.ListAccessRequestsRequest{Filter: new(accesswire.AccessRequestFilter)}, new(clusterpb.ListAccessRequestsRequest)},
		{"ListAccessRequests.response", new(accesswire.ListAccessRequestsResponse), new(clusterpb.ListAccessRequestsResponse)},
		{"ListRemoteClusters.request", new(clusterwire.RemoteClustersRequest), described(description(), "RemoteClustersRequest")},
		{"ListRemoteClusters.response", new(clusterwire.RemoteClustersResponse), new(clusterpb.RemoteClustersPage)},
		{"ListResources.request", &wire.ListResourcesRequest{ResourceType: "node", Namespace: "default", Limit: 10}, new(clusterpb.ListResourcesRequest)},
		{"ListResources.response", new(wire.ListResourcesResponse), new(clusterpb.ListResourcesResponse)},
		{"ListUnifiedResources.request", &wire.ListUnifiedResourcesRequest{Kinds: node, Limit: 100, SortBy: wire.SortBy{Field: "name"}}, new(clusterpb.ListUnifiedResourcesRequest)},
		{"ListUnifiedResources.response", new(wire.ListUnifiedResourcesResponse), new(clusterpb.ListUnifiedResourcesResponse)},
		{"ResolveSSHTarget.request", &wire.ResolveSSHTargetRequest{Host: "node-1", Port: "0"}, new(clusterpb.ResolveSSHTargetRequest)},
		{"ResolveSSHTarget.response", new(wire.ResolveSSHTargetResponse), new(clusterpb.ResolveSSHTargetResponse)},
	}
}

// Every message that was captured says what the words beside it do, to the generated code
// and to ours; and our requests are the ones that a real client has sent, byte by byte.
func TestCapturedMessages(t *testing.T) {
	left := make(map[string]bool)
	files, err := filepath.Glob(filepath.Join("testdata", "grpc", "*.binpb"))
	if err != nil || len(files) < 28 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, path := range files {
		left[strings.TrimSuffix(filepath.Base(path), ".binpb")] = true
	}
	for _, c := range capturedMessages() {
		if !left[c.file] {
			t.Errorf("%s is not there, or checked twice", c.file)
			continue
		}
		delete(left, c.file)
		t.Run(c.file, func(t *testing.T) { checkCaptured(t, c) })
	}
	for file := range left {
		t.Errorf("nothing checks %s: see capturedMessages", file)
	}
}

func checkCaptured(t *testing.T, c captured) {
	raw := readFile(t, filepath.Join("testdata", "grpc", c.file+".binpb"))
	var parsed any
	if err := json.Unmarshal(readFile(t, filepath.Join("testdata", "grpc", c.file+".json")), &parsed); err != nil {
		t.Fatal(err)
	}
	words := make(map[string]string)
	flattenWords(words, nil, parsed)
	if err := proto.Unmarshal(raw, c.theirs); err != nil {
		t.Fatal(err)
	}
	read := make(map[string]string)
	flattenMessage(read, nil, c.theirs.ProtoReflect())
	// The words leave out what is always the same.
	maps.DeleteFunc(read, func(path, value string) bool {
		_, said := words[path]
		return !said && value == "default" && (strings.HasSuffix(path, "metadata/namespace") || strings.HasSuffix(path, "/namespaces"))
	})
	if !maps.Equal(read, words) {
		for _, path := range slices.Sorted(maps.Keys(words)) {
			if read[path] != words[path] {
				t.Errorf("%s is %q, the words have %q", path, read[path], words[path])
			}
		}
		for _, path := range slices.Sorted(maps.Keys(read)) {
			if _, ok := words[path]; !ok {
				t.Errorf("%s is %q, of which the words say nothing", path, read[path])
			}
		}
	}
	if c.ours == nil {
		return
	}
	ours := reflect.ValueOf(c.ours)
	if strings.HasSuffix(c.file, ".request") {
		if encoded := wire.Marshal(c.ours); !bytes.Equal(encoded, raw) {
			t.Errorf("we send %x, a real client %x", encoded, raw)
		}
		ours = reflect.New(ours.Type().Elem())
	}
	if err := wire.Unmarshal(raw, ours.Interface()); err != nil {
		t.Fatal(err)
	}
	for _, d := range differences(c.file, ours.Elem(), c.theirs.ProtoReflect()) {
		t.Error(d)
	}
	if strings.HasSuffix(c.file, ".response") && len(raw) > 0 && ours.Elem().IsZero() {
		t.Error("nothing was read of it")
	}
}

// join makes the name of a value out of those on the way to it. Words and messages have
// different ideas of underscores and capitals, and of what only wraps something.
func join(path []string) string {
	var kept []string
	for _, name := range path {
		switch name = strings.ToLower(strings.ReplaceAll(name, "_", "")); name {
		case "resource", "target", "request", "values", "value", "device":
			continue // the name of a oneof, or a message around one value
		case "certauthoritiesv2":
			name = "certauthorities"
		case "certformat":
			name = "certificateformat"
		}
		kept = append(kept, name)
	}
	return strings.Join(kept, "/")
}

// flattenWords collects the values of the words that are not zero.
func flattenWords(to map[string]string, path []string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for name, inner := range v {
			flattenWords(to, append(slices.Clone(path), name), inner)
		}
	case []any:
		for i, inner := range v {
			flattenWords(to, numbered(path, i), inner)
		}
	case string:
		put(to, path, v)
	case bool:
		put(to, path, fmt.Sprint(v))
	case float64:
		put(to, path, fmt.Sprint(int64(v)))
	}
}

// numbered is the path of an element; the first goes by the name of the list, because
// words have some lists of one as that one.
func numbered(path []string, i int) []string {
	if i == 0 {
		return path
	}
	return append(slices.Clone(path), fmt.Sprint(i))
}

// put keeps a value in the form in which messages have it.
func put(to map[string]string, path []string, value string) {
	name := join(path)
	switch {
	case value == "", value == "0", value == "false", value == "0001-01-01T00:00:00Z":
		return
	case name == "signaturealgorithmsuite" && value == "balanced-v1":
		value = "2"
	case name == "spec/options/maxsessionttl":
		if d, err := time.ParseDuration(value); err == nil {
			value = fmt.Sprint(d.Nanoseconds())
		}
	}
	to[name] = value
}

// flattenMessage does the same with a message.
func flattenMessage(to map[string]string, path []string, m protoreflect.Message) {
	if m.Descriptor().FullName() == "google.protobuf.Timestamp" {
		fields := m.Descriptor().Fields()
		at := time.Unix(m.Get(fields.ByNumber(1)).Int(), m.Get(fields.ByNumber(2)).Int()).UTC()
		put(to, path, at.Format(time.RFC3339Nano))
		return
	}
	m.Range(func(g protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		at := append(slices.Clone(path), string(g.Name()))
		switch {
		case g.IsMap():
			v.Map().Range(func(key protoreflect.MapKey, v protoreflect.Value) bool {
				flattenValue(to, append(slices.Clone(at), key.String()), v)
				return true
			})
		case g.IsList():
			for i := range v.List().Len() {
				flattenValue(to, numbered(at, i), v.List().Get(i))
			}
		default:
			flattenValue(to, at, v)
		}
		return true
	})
}

func flattenValue(to map[string]string, path []string, v protoreflect.Value) {
	switch v := v.Interface().(type) {
	case protoreflect.Message:
		flattenMessage(to, path, v)
	case []byte:
		put(to, path, base64.StdEncoding.EncodeToString(v))
	default:
		put(to, path, fmt.Sprint(v))
	}
}
