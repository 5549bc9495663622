package profile

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/internal/durable"
	"github.com/seed-087d674e/tsh/internal/testenv"
	"github.com/seed-087d674e/tsh/keystore"
)

// scene is something that a person does in a home.
type scene struct {
	name    string
	prepare func(t testing.TB, s *Store)
	run     func(ctx context.Context, s *Store) error
	later   func(ctx context.Context, s *Store) error // a login, where the keyring is used
	child   *childDoes                                // run, in a process of its own

	sparse      bool // errors at every sixth step are enough: others are like it
	piecewise   bool // each login for itself is as before or as after
	elsewhere   bool // directories below keys are on another file system
	same        bool // a reader sees no difference
	touchesPort bool // the other proxy is meant, too
}

// childDoes is what operate is asked to do.
type childDoes struct {
	do      string
	profile *Profile // of the login to commit
	id      *keystore.Identity
}

// foreign is what others keep in known_hosts.
const foreign = "# hosts of mine\n" +
	"github.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl\n" +
	"|1|Gh3kTn4xDfEfVvqPbSBJ8xTfGlo=|kkv0iVEUtmhE2Mqk5kRCzNgwu0s= ssh-rsa AAAAB3NzaC1yc2E=\r\n" +
	"@revoked * ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB because\n" +
	"@cert-authority mole,tunnel,*.mole ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGG type=host\n" +
	"\x00\x00\x00\x00\n" +
	"half a line without its end"

// futureLine is a setting that a later version keeps in a profile.
const futureLine = "setting_of_the_future: 7\n"

// cast is who appears: alice at gate, whose cluster is harbor with the leaf pier, and
// bob at port, whose cluster is quay.
type cast struct {
	gate, leafGate, port              *Profile
	alice, again, reissued, leaf, bob *keystore.Identity
	rotated                           *keystore.Identity
}

func newCast(t testing.TB) *cast {
	t.Helper()
	c := &cast{}
	c.gate, c.alice = login(t, "gate", "alice", "harbor")
	c.gate.Proven = "gate"
	_, pier := login(t, "gate", "alice", "pier")
	c.alice.Authorities = append(c.alice.Authorities, pier.Authorities...)
	harborOnly := c.alice.Authorities[:1]
	_, c.again = login(t, "gate", "alice", "harbor")
	rotatedTo := c.again.Authorities
	c.again.Authorities = harborOnly
	c.reissued = reissue(t, c.alice, "harbor")
	c.reissued.Authorities = harborOnly
	c.leaf = reissue(t, c.alice, "pier")
	leafGate := *c.gate
	leafGate.Cluster = "pier"
	c.leafGate = &leafGate
	c.rotated = reissue(t, c.alice, "harbor")
	_, dock := login(t, "gate", "alice", "dock")
	c.rotated.Authorities = append(slices.Clone(rotatedTo), dock.Authorities...)
	c.port, c.bob = login(t, "port", "bob", "quay")
	return c
}

// reissue is what the cluster of id issues for the same keys an hour later.
func reissue(t testing.TB, id *keystore.Identity, cluster string) *keystore.Identity {
	t.Helper()
	caSSH, caTLS := keys(t)
	anew := *id
	anew.Cluster = cluster
	cert := *id.SSHCert
	cert.ValidBefore += 3600
	cert.Nonce, cert.Signature, cert.SignatureKey = nil, nil, nil
	if err := cert.SignCert(rand.Reader, testenv.SSHSigner(t, caSSH)); err != nil {
		t.Fatal(err)
	}
	anew.SSHCert = &cert
	issuer := &x509.Certificate{Subject: pkix.Name{CommonName: id.RootCluster()}}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(3), Subject: pkix.Name{CommonName: id.User},
		NotBefore: id.TLSCert.NotBefore, NotAfter: id.TLSCert.NotAfter.Add(time.Hour),
	}
	anew.TLSCert = testenv.Issuer{Cert: issuer, Key: caTLS}.Sign(t, leaf, id.TLSKey.Public())
	return &anew
}

// commit is the operation that stores a login.
func commit(p *Profile, id *keystore.Identity) func(context.Context, *Store) error {
	return func(ctx context.Context, s *Store) error { return s.Commit(ctx, p, id) }
}

func logout(name, user string) func(context.Context, *Store) error {
	return func(ctx context.Context, s *Store) error {
		_, err := s.Logout(ctx, name, user)
		return err
	}
}

// in returns p with its private keys in another place.
func in(p *Profile, where Keystore) *Profile {
	other := *p
	other.Keystore = where
	return &other
}

// settled is a home where bob is logged in at port and alice at gate, with what other
// clients leave there.
func (c *cast) settled(where Keystore) func(testing.TB, *Store) {
	return func(t testing.TB, s *Store) {
		t.Helper()
		c.otherProxy(t, s)
		must(t, s.Commit(t.Context(), in(c.gate, where), c.alice))
		must(t, s.Commit(t.Context(), in(c.leafGate, where), c.leaf))
		must(t, s.Commit(t.Context(), in(c.gate, where), c.alice))
		testenv.Write(t, s.path("gate"), testenv.Read(t, s.path("gate"))+futureLine)
		must(t, s.change(t.Context(), func(tx *durable.Tx) error {
			state := s.readKeys()
			if state.Profiles == nil {
				state.Profiles = map[string]Keystore{}
			}
			state.Profiles["port"] = KeysInKeyringOrFiles
			return s.stageKeys(tx, state)
		}))
		for _, f := range []string{"alice.ppk", "kube_credentials.lock", "alice-kube/harbor/dev.crt", "alice-x509.pem"} {
			testenv.Write(t, filepath.Join(s.Home(), "keys", "gate", f), "of another client")
		}
	}
}

func (c *cast) otherProxy(t testing.TB, s *Store) {
	t.Helper()
	testenv.Write(t, filepath.Join(s.Home(), "known_hosts"), foreign)
	must(t, s.Commit(t.Context(), c.port, c.bob))
}

// pending is settled, with a new login of alice that counts and of which only the first
// file is in place.
func (c *cast) pending(t testing.TB, s *Store) {
	t.Helper()
	c.settled(KeysInFiles)(t, s)
	renames := 0
	ctx := durable.WithFaults(t.Context(), func(op, _ string) error {
		if op == "rename" {
			renames++
		}
		if renames > 2 { // the journal, a private key
			return errKilled
		}
		return nil
	})
	var unfinished *durable.UnfinishedError
	if err := s.Commit(ctx, c.gate, c.again); !errors.As(err, &unfinished) {
		t.Fatal(err)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func nothing(testing.TB, *Store) {}

// scenes are all that changes a home.
func scenes(t testing.TB) []*scene {
	c := newCast(t)
	ringed := in(c.gate, KeysInKeyring)
	relogin := commit(c.gate, c.again)
	migrate := func(to Keystore) func(context.Context, *Store) error {
		return func(ctx context.Context, s *Store) error {
			p, err := s.Load("gate")
			if err != nil {
				return err
			}
			return s.MigrateKeys(ctx, p, to)
		}
	}
	choose := func(ctx context.Context, s *Store) error { return s.Select(ctx, "port") }
	settle := func(ctx context.Context, s *Store) error { return s.Settle(ctx) }
	files, sealed := c.settled(KeysInFiles), c.settled(KeysInKeyring)
	return []*scene{
		{name: "first login", sparse: true, prepare: nothing, run: commit(c.gate, c.alice), child: &childDoes{"commit", c.gate, c.alice}},
		{name: "login beside another proxy", sparse: true, prepare: c.otherProxy, run: commit(c.gate, c.alice), child: &childDoes{"commit", c.gate, c.alice}},
		{name: "new login", prepare: files, run: relogin, child: &childDoes{"commit", c.gate, c.again}},
		{name: "reissue", prepare: files, run: commit(c.gate, c.reissued), child: &childDoes{"commit", c.gate, c.reissued}},
		{name: "switch of profile", prepare: files, run: choose, child: &childDoes{do: "select"}},
		{name: "switch of cluster", prepare: files, run: commit(c.leafGate, c.leaf), child: &childDoes{"commit", c.leafGate, c.leaf}},
		{name: "rotation", sparse: true, prepare: files, run: commit(c.gate, c.rotated)},
		{name: "logout", prepare: files, run: logout("gate", "alice"), piecewise: true, child: &childDoes{do: "logout"}},
		{name: "logout of all", prepare: files, run: logout("", ""), piecewise: true, touchesPort: true},
		{name: "new login, keys elsewhere", prepare: files, run: relogin, sparse: true, elsewhere: true},

		{name: "recovery", sparse: true, prepare: c.pending, run: settle, same: true},
		{name: "recovery, switch of profile", sparse: true, prepare: c.pending, run: choose},
		{name: "recovery, new login", sparse: true, prepare: c.pending, run: commit(c.gate, c.alice), child: &childDoes{"commit", c.gate, c.alice}},
		{name: "recovery, logout", sparse: true, prepare: c.pending, run: logout("gate", "alice"), piecewise: true},

		{name: "first login, keyring", sparse: true, prepare: nothing, run: commit(ringed, c.alice), later: relogin},
		{name: "new login, keyring", sparse: true, prepare: sealed, run: relogin, later: relogin},
		{name: "reissue, keyring", sparse: true, prepare: sealed, run: commit(c.gate, c.reissued), later: relogin},
		{name: "logout, keyring", sparse: true, prepare: sealed, run: logout("gate", "alice"), piecewise: true, later: relogin},
		{name: "to the keyring", sparse: true, prepare: files, run: migrate(KeysInKeyring), later: relogin},
		{name: "to files", sparse: true, prepare: sealed, run: migrate(KeysInFiles), later: relogin},
	}
}
