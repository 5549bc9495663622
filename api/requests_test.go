package api

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/seed-087d674e/tsh/api/access"
	"github.com/seed-087d674e/tsh/internal/wire"
	"github.com/seed-087d674e/tsh/internal/wire/accesswire"
)

func stored(id string, state access.State) *accesswire.AccessRequest {
	return &accesswire.AccessRequest{Kind: "access_request", Version: "v3", Metadata: wire.Metadata{Name: id},
		Spec: accesswire.AccessRequestSpec{User: "alice", Roles: []string{"dba"}, State: int32(state)}}
}

func lastOf(method string) string { return method[strings.LastIndexByte(method, '/')+1:] }

// A cluster of 14 makes requests without answering what it made, lists them as a
// stream, and this one tells of no changes either: they are looked up.
func TestRequestsOfOldClusters(t *testing.T) {
	var looked atomic.Int32
	s := startAuth(t, func(method string, request []byte) ([]byte, error) {
		switch lastOf(method) {
		case "CreateAccessRequest":
			var r accesswire.AccessRequest
			if err := wire.Unmarshal(request, &r); err != nil || r.Metadata.Name != "id-1" || access.State(r.Spec.State) != access.Pending {
				t.Errorf("asked for %+v, %v", r, err)
			}
			return nil, nil
		case "GetAccessRequestsV2":
			state := access.Pending
			if looked.Add(1) > 3 {
				state = access.Approved
			}
			return wire.Marshal(stored("id-1", state)), nil
		}
		return nil, status.Error(codes.Unimplemented, "unknown method")
	})
	c := s.connect(t)
	ctx := testContext(t)
	r, err := c.CreateAccessRequest(ctx, access.Draft{ID: "id-1", User: "alice", Roles: []string{"dba"}})
	if err != nil || r.Spec.State != access.Pending || r.ID() != "id-1" {
		t.Fatalf("%+v, %v", r, err)
	}
	r, err = c.waitRequest(ctx, waiting{"id-1", "alice", time.Hour, time.Millisecond})
	if err != nil || r.Spec.State != access.Approved || r.Spec.Roles[0] != "dba" {
		t.Fatalf("%+v, %v", r, err)
	}
	for _, id := range []string{"id-2", ""} {
		if r, err := c.AccessRequest(ctx, id, "alice"); !errors.Is(err, ErrNotFound) {
			t.Errorf("%q is another request: %+v, %v", id, r, err)
		}
	}
}

// What a wait ends with, whatever the server does.
func TestWaitEnds(t *testing.T) {
	list := func(requests ...*accesswire.AccessRequest) []byte {
		return wire.Marshal(&accesswire.ListAccessRequestsResponse{AccessRequests: requests})
	}
	for name, tc := range map[string]struct {
		watch func() ([]byte, error)
		looks []func() ([]byte, error) // the last one stays
		state string
		is    error
	}{
		"the watch ends at once": {
			looks: []func() ([]byte, error){
				func() ([]byte, error) { return list(stored("id", access.Pending)), nil },
				func() ([]byte, error) { return list(stored("id", access.Denied)), nil },
			}, state: "denied",
		},
		"no INIT": {
			watch: func() ([]byte, error) { return wire.Marshal(&accesswire.Event{Type: int32(access.Changed)}), nil },
			looks: []func() ([]byte, error){func() ([]byte, error) { return list(stored("id", access.Promoted)), nil }}, state: "promoted",
		},
		"garbage": {
			watch: func() ([]byte, error) { return []byte{0xff}, nil },
			looks: []func() ([]byte, error){func() ([]byte, error) { return list(stored("id", 77)), nil }}, state: "in state 77",
		},
		"taken back": {
			looks: []func() ([]byte, error){
				func() ([]byte, error) { return list(stored("id", access.Pending)), nil },
				func() ([]byte, error) { return list(stored("other", access.Approved)), nil },
			}, is: ErrNotFound,
		},
		"away for a moment": {
			looks: []func() ([]byte, error){
				func() ([]byte, error) { return nil, status.Error(codes.Unavailable, "restarting") },
				func() ([]byte, error) { return list(stored("id", access.Approved)), nil },
			}, state: "approved",
		},
		"refused": {
			looks: []func() ([]byte, error){func() ([]byte, error) { return nil, status.Error(codes.PermissionDenied, "no") }}, is: ErrAccessDenied,
		},
	} {
		t.Run(name, func(t *testing.T) {
			var n atomic.Int32
			s := startAuth(t, func(method string, _ []byte) ([]byte, error) {
				if lastOf(method) == "WatchEvents" {
					if tc.watch == nil {
						return nil, status.Error(codes.Unavailable, "no watches")
					}
					return tc.watch()
				}
				i := int(n.Add(1)) - 1
				return tc.looks[min(i, len(tc.looks)-1)]()
			})
			r, err := s.connect(t).waitRequest(testContext(t), waiting{"id", "alice", time.Hour, time.Millisecond})
			if tc.is != nil {
				if !errors.Is(err, tc.is) {
					t.Errorf("%v", err)
				}
				return
			}
			if err != nil || r.Spec.State.String() != tc.state {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
}

// Ctrl-C ends a wait at once.
func TestWaitIsCancelled(t *testing.T) {
	looked := make(chan struct{}, 1)
	s := startAuth(t, func(method string, _ []byte) ([]byte, error) {
		if lastOf(method) == "WatchEvents" {
			return wire.Marshal(&accesswire.Event{}), nil
		}
		select {
		case looked <- struct{}{}:
		default:
		}
		return wire.Marshal(&accesswire.ListAccessRequestsResponse{AccessRequests: []*accesswire.AccessRequest{stored("id", access.Pending)}}), nil
	})
	stop := errors.New("the person has had enough")
	ctx, cancel := context.WithCancelCause(testContext(t))
	go func() {
		<-looked
		cancel(stop)
	}()
	if _, err := s.connect(t).WaitAccessRequest(ctx, "id", "alice"); !errors.Is(err, stop) {
		t.Errorf("%v", err)
	}
}

// What a server forgets in silence, at its end, is not waited for any longer.
func TestWaitEndsWithTheRequest(t *testing.T) {
	end := time.Now().Truncate(time.Second).Add(2 * time.Second)
	s := startAuth(t, func(method string, _ []byte) ([]byte, error) {
		if lastOf(method) == "WatchEvents" {
			return wire.Marshal(&accesswire.Event{}), nil
		}
		r := stored("id", access.Pending)
		r.Spec.ResourceExpiry = &wire.Timestamp{Seconds: end.Unix()}
		if time.Now().After(end) {
			return nil, status.Error(codes.NotFound, "over")
		}
		return wire.Marshal(&accesswire.ListAccessRequestsResponse{AccessRequests: []*accesswire.AccessRequest{r}}), nil
	})
	if _, err := s.connect(t).waitRequest(testContext(t), waiting{"id", "alice", time.Hour, time.Hour}); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

// Servers of 14 take the one key of their logins from a field that later ones do not
// look at: it is filled for one key only.
func TestReissueSendsKeys(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	line := func(key any) []byte {
		pub, err := ssh.NewPublicKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return ssh.MarshalAuthorizedKey(pub)
	}
	block := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	ecDER, err := x509.MarshalPKIXPublicKey(ecKey.Public())
	if err != nil {
		t.Fatal(err)
	}
	rsaPEM := block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&rsaKey.PublicKey))
	for _, tc := range []struct {
		ssh, tls []byte
		one      bool
	}{
		{line(rsaKey.Public()), rsaPEM, true},
		{line(ecKey.Public()), block("PUBLIC KEY", ecDER), true},
		{line(ecKey.Public()), rsaPEM, false},
	} {
		var got accesswire.UserCertsRequest
		s := startAuth(t, func(_ string, request []byte) ([]byte, error) {
			if err := wire.Unmarshal(request, &got); err != nil {
				t.Error(err)
			}
			return wire.Marshal(&accesswire.Certs{SSH: tc.ssh, TLS: []byte("no PEM")}), nil
		})
		_, _, err := s.connect(t).GenerateCertificates(testContext(t), CertsRequest{User: "alice", Cluster: "leaf", AccessRequests: []string{"r"}, SSHKey: tc.ssh, TLSKey: tc.tls})
		if err == nil || !strings.Contains(err.Error(), "plain key") {
			t.Errorf("an answer without a certificate: %v", err)
		}
		if (len(got.PublicKey) > 0) != tc.one || string(got.SSHPublicKey) != string(tc.ssh) || string(got.TLSPublicKey) != string(tc.tls) ||
			got.RouteToCluster != "leaf" || got.Username != "alice" || got.AccessRequests[0] != "r" {
			t.Errorf("sent %+v", got)
		}
	}
}

// Authorities that cannot be told apart or read are no authorities.
func TestHostileAuthorities(t *testing.T) {
	ca := func(cluster string, key, cert string) *accesswire.CertAuthority {
		return &accesswire.CertAuthority{Spec: accesswire.CertAuthoritySpec{ClusterName: cluster, ActiveKeys: accesswire.CAKeySet{
			SSH: []*accesswire.SSHKeyPair{{PublicKey: []byte(key)}}, TLS: []*accesswire.TLSKeyPair{{Cert: []byte(cert)}}}}}
	}
	good := "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g"
	empty := &accesswire.CertAuthority{Spec: accesswire.CertAuthoritySpec{ClusterName: "a"}}
	for name, all := range map[string][]*accesswire.CertAuthority{
		"twice": {empty, empty}, "no key": {ca("a", "nonsense", "")}, "no certificate": {ca("a", good, "-----BEGIN X-----\n-----END X-----\n")},
	} {
		s := startAuth(t, func(string, []byte) ([]byte, error) {
			return wire.Marshal(&accesswire.CertAuthoritiesResponse{Authorities: all}), nil
		})
		if got, err := s.connect(t).HostAuthorities(testContext(t)); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
