package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/seed-087d674e/tsh/credentials"
	"github.com/seed-087d674e/tsh/internal/wire"
)

func TestPing(t *testing.T) {
	server := startAuth(t, func(method string, request []byte) ([]byte, error) {
		if method != "/proto.AuthService/Ping" || len(request) != 0 {
			t.Errorf("%s %x", method, request)
		}
		return fixture(t, "Ping.response.binpb"), nil
	})
	got, err := server.connect(t).Ping(testContext(t))
	if err != nil || *got != (PingResponse{ClusterName: "real.example.test", ServerVersion: "18.3.0", ProxyPublicAddr: "localhost:4080", RemoteAddr: "127.0.0.1:41984"}) {
		t.Errorf("%+v, %v", got, err)
	}
}

func collect(t *testing.T, c *Client, req NodesRequest) ([]*Node, error) {
	t.Helper()
	var nodes []*Node
	for n, err := range c.Nodes(testContext(t), req) {
		if err != nil {
			return nodes, err
		}
		nodes = append(nodes, n)
	}
	return nodes, nil
}

// The JSON form of a node is what the reference client's own types print.
func TestNodeJSON(t *testing.T) {
	server := startAuth(t, func(method string, request []byte) ([]byte, error) {
		if want := "0a046e6f646510e8073a0612046b696e644200"; hex.EncodeToString(request) != want {
			t.Errorf("asked %x, the reference client asks %s", request, want)
		}
		return fixture(t, "ListUnifiedResources.response.binpb"), nil
	})
	nodes, err := collect(t, server.connect(t), NodesRequest{})
	if err != nil || len(nodes) != 1 {
		t.Fatalf("%v, %v", nodes, err)
	}
	var words struct {
		Resources []struct {
			Resource struct{ Node json.RawMessage }
		}
	}
	if err := json.Unmarshal(fixture(t, "ListUnifiedResources.response.json"), &words); err != nil {
		t.Fatal(err)
	}
	var want bytes.Buffer
	if err := json.Compact(&want, words.Resources[0].Resource.Node); err != nil {
		t.Fatal(err)
	}
	if got, err := json.Marshal(nodes[0]); err != nil || string(got) != want.String() {
		t.Errorf("%v\n got %s\nwant %s", err, got, want.String())
	}
}

// case T02: every field, and exact values of hostile text.
func TestNodeFields(t *testing.T) {
	hostile := "a\x1b[2J\u202e\n"
	page := wire.ListUnifiedResourcesResponse{Resources: []wire.PaginatedResource{{}, {Node: &wire.Server{
		Kind: "node", SubKind: "openssh", Version: "v2",
		Metadata: wire.Metadata{Name: "u1", Description: "d", Labels: map[string]string{"env": hostile, "up": "static"}},
		Spec: wire.ServerSpec{
			Hostname: hostile, UseTunnel: true, Version: "18", PeerAddr: "p:1", ProxyIDs: []string{"x"}, PublicAddrs: []string{"a:1"},
			CommandLabels: map[string]wire.CommandLabel{"up": {Period: 60e9, Command: []string{"uptime"}, Result: "3 days"}},
			CloudMetadata: &wire.CloudMetadata{AWS: &wire.AWSMetadata{AccountID: "1"}}, RelayGroup: "g", RelayIDs: []string{"r"},
			Rotation: wire.Rotation{State: "standby", GracePeriod: 3600e9, Started: &wire.Timestamp{Seconds: 1}},
		},
	}}}}
	server := startAuth(t, func(string, []byte) ([]byte, error) { return wire.Marshal(&page), nil })
	nodes, err := collect(t, server.connect(t), NodesRequest{})
	if err != nil || len(nodes) != 1 {
		t.Fatalf("%v, %v", nodes, err)
	}
	n := nodes[0]
	if labels := n.Labels(); len(labels) != 2 || labels["env"] != hostile || labels["up"] != "3 days" {
		t.Errorf("labels %q", labels)
	}
	data, err := json.Marshal(n)
	if err != nil || bytes.ContainsAny(data, "\x1b\n") {
		t.Errorf("%s, %v", data, err)
	}
	var back struct {
		SubKind  string `json:"sub_kind"`
		Metadata struct {
			Description string
			Expires     *time.Time
		}
		Spec struct {
			Hostname  string
			UseTunnel bool `json:"use_tunnel"`
			CmdLabels map[string]struct {
				Period, Result string
				Command        []string
			} `json:"cmd_labels"`
			CloudMetadata struct {
				AWS struct {
					AccountID string `json:"account_id"`
				}
			} `json:"cloud_metadata"`
			Rotation struct {
				State       string
				GracePeriod string `json:"grace_period"`
				Started     time.Time
			}
			RelayIDs []string `json:"relay_ids"`
		}
	}
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	if up := back.Spec.CmdLabels["up"]; back.SubKind != "openssh" || back.Metadata.Description != "d" || back.Metadata.Expires != nil ||
		back.Spec.Hostname != hostile || !back.Spec.UseTunnel || up.Period != "1m0s" || up.Result != "3 days" || len(up.Command) != 1 ||
		back.Spec.CloudMetadata.AWS.AccountID != "1" || back.Spec.Rotation.State != "standby" || back.Spec.Rotation.GracePeriod != "1h0m0s" ||
		back.Spec.Rotation.Started.Unix() != 1 || len(back.Spec.RelayIDs) != 1 {
		t.Errorf("%s", data)
	}
}

// nodePage is a page of nodes named from first on.
func nodePage(first, n int, next string) []byte {
	page := wire.ListUnifiedResourcesResponse{NextKey: next}
	for i := range n {
		page.Resources = append(page.Resources, wire.PaginatedResource{Node: &wire.Server{Metadata: wire.Metadata{Name: fmt.Sprint("n", first+i)}}})
	}
	return wire.Marshal(&page)
}

func TestNodesPages(t *testing.T) {
	server := startAuth(t, func(_ string, request []byte) ([]byte, error) {
		var req wire.ListUnifiedResourcesRequest
		if err := wire.Unmarshal(request, &req); err != nil {
			t.Error(err)
		}
		if req.Labels["env"] != "dev" || len(req.SearchKeywords) != 2 || req.Predicate != "p" || req.Limit != 1000 {
			t.Errorf("asked for %+v", req)
		}
		switch req.StartKey {
		case "":
			return nodePage(0, 2, "k1"), nil
		case "k1":
			return nodePage(0, 0, "k2"), nil // shorter than the limit, and not the last
		case "k2":
			return nodePage(2, 1, ""), nil
		}
		return nil, status.Error(codes.InvalidArgument, "no such key")
	})
	c := server.connect(t)
	req := NodesRequest{Labels: map[string]string{"env": "dev"}, Search: []string{"a", "b"}, Predicate: "p"}
	for range 2 { // a sequence can be walked again
		nodes, err := collect(t, c, req)
		if err != nil || len(nodes) != 3 || nodes[2].Metadata.Name != "n2" {
			t.Errorf("%d nodes, %v", len(nodes), err)
		}
	}
	calls := server.calls.Load()
	for n, err := range c.Nodes(testContext(t), req) {
		if n == nil || err != nil {
			t.Error(err)
		}
		break
	}
	if asked := server.calls.Load() - calls; asked < 1 || asked > 2 || server.conns.Load() != 1 { // one page ahead
		t.Errorf("%d calls for one node, %d connections", server.calls.Load()-calls, server.conns.Load())
	}
}

func TestNodesHalvesPages(t *testing.T) {
	var limits []int32
	server := startAuth(t, func(_ string, request []byte) ([]byte, error) {
		var req wire.ListUnifiedResourcesRequest
		_ = wire.Unmarshal(request, &req)
		limits = append(limits, req.Limit)
		switch {
		case req.Limit > 500:
			return nil, status.Error(codes.ResourceExhausted, "too much")
		case req.Limit > 250:
			return make([]byte, 5<<20), nil // more than we accept
		}
		return nodePage(0, 1, ""), nil
	})
	if nodes, err := collect(t, server.connect(t), NodesRequest{}); err != nil || len(nodes) != 1 || fmt.Sprint(limits) != "[1000 500 250]" {
		t.Errorf("%d nodes, %v; limits %v", len(nodes), err, limits)
	}
	server = startAuth(t, func(string, []byte) ([]byte, error) {
		return nil, status.Error(codes.ResourceExhausted, "never enough")
	})
	if _, err := collect(t, server.connect(t), NodesRequest{}); err == nil || err.Error() != "never enough" || server.calls.Load() != 10 {
		t.Errorf("%v after %d calls", err, server.calls.Load())
	}
}

// Clusters of version 14 have only the older call.
func TestNodesOlderCall(t *testing.T) {
	server := startAuth(t, func(method string, request []byte) ([]byte, error) {
		if strings.HasSuffix(method, "/ListUnifiedResources") {
			return nil, status.Error(codes.Unimplemented, "unknown method")
		}
		if want := "0a046e6f6465" + "120764656661756c74" + "18e807" + "4200" + "5200"; method != "/proto.AuthService/ListResources" || hex.EncodeToString(request) != want {
			t.Errorf("%s %x", method, request)
		}
		return fixture(t, "ListResources.response.binpb"), nil
	})
	nodes, err := collect(t, server.connect(t), NodesRequest{})
	if err != nil || len(nodes) != 1 || nodes[0].Spec.Hostname != "node-1" {
		t.Errorf("%v, %v", nodes, err)
	}
	server = startAuth(t, func(string, []byte) ([]byte, error) { return nil, status.Error(codes.Unimplemented, "neither") })
	if _, err := collect(t, server.connect(t), NodesRequest{}); err == nil || err.Error() != "neither" {
		t.Errorf("%v", err)
	}
}

func TestNodesWithoutEnd(t *testing.T) {
	for name, next := range map[string]func(i int) string{
		"repeats a page":             func(int) string { return "same" },
		"has not come to the end":    func(i int) string { return fmt.Sprint(i) },
		"malformed protobuf message": nil,
	} {
		i := 0
		server := startAuth(t, func(string, []byte) ([]byte, error) {
			if next == nil {
				return []byte{0x80}, nil
			}
			i++
			return nodePage(0, 0, next(i)), nil
		})
		if _, err := collect(t, server.connect(t), NodesRequest{}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// case T05: the text of a server starts no line.
func TestErrors(t *testing.T) {
	var answer error
	server := startAuth(t, func(string, []byte) ([]byte, error) { return nil, answer })
	c := server.connect(t)
	for _, tt := range []struct {
		code codes.Code
		text string
		want error
	}{
		{codes.PermissionDenied, "access denied to perform action\n\tinner\x1b[2J", ErrAccessDenied},
		{codes.NotFound, "no", ErrNotFound},
		{codes.PermissionDenied, "client credentials have expired", ErrExpired},
		{codes.Unavailable, "connection error: tls: expired certificate", ErrExpired},
		{codes.Unknown, "x509: certificate has expired or is not yet valid", ErrExpired},
		{codes.InvalidArgument, "bad predicate", nil},
	} {
		answer = status.Error(tt.code, tt.text)
		_, err := c.Ping(testContext(t))
		for _, sentinel := range []error{ErrAccessDenied, ErrNotFound, ErrExpired} {
			if errors.Is(err, sentinel) != (sentinel == tt.want) {
				t.Errorf("%v %q matches %v: %v", tt.code, tt.text, sentinel, errors.Is(err, sentinel))
			}
		}
		if want := strings.NewReplacer("\x1b", `\x1b`, "\n", "\n    ").Replace(tt.text); err == nil || err.Error() != want {
			t.Errorf("%q, want %q", err, want)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := c.Ping(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestExpiredCertificate(t *testing.T) {
	server := startAuth(t, func(string, []byte) ([]byte, error) { return nil, nil })
	id := server.user(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	c, err := Connect(testContext(t), Config{Credentials: []credentials.Credentials{id}})
	if err == nil {
		defer func() { _ = c.Close() }()
		_, err = c.Ping(testContext(t))
	}
	if !errors.Is(err, ErrExpired) || !strings.Contains(err.Error(), server.addr) {
		t.Error(err)
	}
}

// routedIdentity knows how its proxy is reached.
type routedIdentity struct {
	*identity
	route credentials.Route
}

func (r routedIdentity) Route() (credentials.Route, error) { return r.route, nil }

// What is tried with what is known, in the order in which it begins; what follows a failure
// is in brackets.
func TestTries(t *testing.T) {
	server := startAuth(t, func(string, []byte) ([]byte, error) { return nil, nil })
	known := func(route credentials.Route) credentials.Credentials {
		return routedIdentity{server.user(t, nil), route}
	}
	unknown := server.user(t, nil)
	unknown.addrs = []string{"d:443"}
	for name, tt := range map[string]struct {
		cfg   Config
		creds credentials.Credentials
		want  string
	}{
		"known": {Config{}, known(credentials.Route{WebAddr: "w:443", SSHAddr: "s:3023", TLSRouting: true}),
			"proxy w:443 (upgraded w:443, find w:443)"},
		"known, upgraded": {Config{}, known(credentials.Route{WebAddr: "w:443", TLSRouting: true, ConnUpgrade: true}),
			"upgraded w:443 (proxy w:443, find w:443)"},
		"known, separate ports": {Config{TunnelAddr: "t:3024"}, known(credentials.Route{WebAddr: "w:443", SSHAddr: "s:3023"}),
			"proxy s:3023 (find w:443, tunnel t:3024, TLS tunnel t:3024)"},
		"default address": {Config{}, unknown, "auth d:443, proxy d:443 (upgraded d:443), tunnel d:443, find d:443"},
		"given": {Config{Addrs: []string{"a:1", "b:2"}}, known(credentials.Route{}),
			"auth a:1, proxy a:1 (upgraded a:1), tunnel a:1, find a:1, auth b:2, proxy b:2 (upgraded b:2), tunnel b:2, find b:2"},
		"given separate ports": {Config{Addrs: []string{"a:1", "b:2"}, SSHAddr: "s:3"}, unknown,
			"auth a:1, proxy s:3, tunnel a:1, find a:1, auth b:2, tunnel b:2, find b:2"},
		"upgraded":          {Config{Addrs: []string{"a:1"}, ConnUpgrade: true}, unknown, "auth a:1, upgraded a:1, tunnel a:1, find a:1"},
		"a tunnel alone":    {Config{TunnelAddr: "t:3024"}, unknown, "tunnel t:3024, TLS tunnel t:3024"},
		"a tunnel, as well": {Config{Addrs: []string{"t:3024"}, TunnelAddr: "t:3024"}, unknown, "auth t:3024, proxy t:3024 (upgraded t:3024), tunnel t:3024, find t:3024, TLS tunnel t:3024"},
	} {
		tt.cfg.Credentials = []credentials.Credentials{tt.creds}
		tries, err := (&means{cfg: &tt.cfg, creds: tt.creds}).tries()
		if got := describe(tries); err != nil || got != tt.want {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
}

func describe(tries []*try) string {
	var said []string
	for _, t := range tries {
		kind := map[string]string{WayAuth: "auth", WayProxy: "proxy", WayTunnel: "tunnel"}[t.Way]
		switch {
		case t.way == nil:
			kind = "find"
		case t.way.kind == WayProxy && t.way.route.TLSRouting && t.way.route.ConnUpgrade:
			kind = "upgraded"
		case t.way.kind == WayTunnel && t.way.route.TLSRouting:
			kind = "TLS tunnel"
		}
		kind += " " + t.Addr
		if len(t.next) > 0 {
			kind += " (" + describe(t.next) + ")"
		}
		said = append(said, kind)
	}
	return strings.Join(said, ", ")
}

func TestConnect(t *testing.T) {
	server := startAuth(t, func(string, []byte) ([]byte, error) { return nil, nil })
	good := server.user(t, nil)
	broken := &identity{err: errors.New("no key")}
	lost := &identity{cert: good.cert, roots: good.roots}
	nameless := &identity{addrs: good.addrs}
	for _, tt := range []struct {
		name string
		cfg  Config
		want string // in the error; empty for none
	}{
		{"nothing", Config{}, "no credentials"},
		{"broken", Config{Credentials: []credentials.Credentials{broken}}, "no key"},
		{"no address", Config{Credentials: []credentials.Credentials{lost}}, "no address"},
		{"no certificate", Config{Credentials: []credentials.Credentials{nameless}}, "client certificate"},
		{"nobody listens", Config{Addrs: []string{"127.0.0.1:1"}, Credentials: []credentials.Credentials{good}}, "127.0.0.1:1"},
		{"two addresses fail", Config{Addrs: []string{"127.0.0.1:1", "127.0.0.1:2"}, Credentials: []credentials.Credentials{good}}, "127.0.0.1:2"},
		{"the second address", Config{Addrs: []string{"127.0.0.1:1", server.addr}, Credentials: []credentials.Credentials{good}}, ""},
		{"the second credential", Config{Credentials: []credentials.Credentials{broken, good}}, ""},
	} {
		c, err := Connect(testContext(t), tt.cfg)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if c != nil {
			_ = c.Close()
		}
	}
	if _, err := rootCluster(&tls.Config{Certificates: []tls.Certificate{good.cert}}); err != nil {
		t.Error(err)
	}
}
