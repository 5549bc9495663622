package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"slices"

	"github.com/seed-087d674e/tsh/api"
	"github.com/seed-087d674e/tsh/internal/text"
	"github.com/seed-087d674e/tsh/keystore"
	"github.com/seed-087d674e/tsh/profile"
	"github.com/seed-087d674e/tsh/sshclient"
)

// A leaf cluster is reached through its root's proxy with the certificates of the
// root. What is needed besides is the leaf's host authority, and that is fetched
// from the root when a leaf is first gone to: a plain login does not wait for it.

// cluster is where commands go: what the flag or the environment says, else the
// cluster that is selected.
func (a *app) cluster(p *profile.Profile) string {
	if a.globals.cluster != "" {
		return a.globals.cluster
	}
	return p.Cluster
}

// checkCluster refuses a name, from the flag or the environment, that no cluster has.
func (a *app) checkCluster() error {
	if a.globals.cluster == "" {
		return nil
	}
	if err := keystore.CheckName("cluster", a.globals.cluster); err != nil {
		return usagef("--cluster or TELEPORT_CLUSTER: %w", err)
	}
	return nil
}

// narrow leaves the session with the authorities of the root and of the cluster that
// it goes to: what another leaf certifies counts for nothing there.
func (a *app) narrow(s *session) *session {
	if !s.profile.LoadAllCAs {
		root := s.id.RootCluster()
		s.id = s.id.Trusting(nil, func(cluster string) bool { return cluster == root || cluster == s.cluster })
	}
	return s
}

// onCluster runs use once the session knows the authority of its cluster. Where that
// has changed since it was stored, it is fetched and use runs once more.
func (a *app) onCluster(use func(context.Context, *session) error) func(context.Context, *session) error {
	return func(ctx context.Context, s *session) error {
		if s.cluster == s.id.RootCluster() {
			return use(ctx, s)
		}
		fetched := !s.id.Knows(s.cluster)
		if fetched {
			if err := a.fetchAuthorities(ctx, s); err != nil {
				return err
			}
		}
		err := use(ctx, s)
		if fetched || !distrusts(err) || a.fetchAuthorities(ctx, s) != nil {
			return err
		}
		return use(ctx, s)
	}
}

// distrusts reports whether err says that a server is not certified by an authority
// that is known.
func distrusts(err error) bool {
	return !isA[*begunError](err) && (isA[*sshclient.HostKeyError](err) || isA[*tls.CertificateVerificationError](err))
}

// fetchAuthorities asks the root for the host authority of the session's cluster, and
// stores it.
func (a *app) fetchAuthorities(ctx context.Context, s *session) error {
	client, err := a.connectAPI(ctx, s)
	if err != nil {
		return err
	}
	defer client.Close()
	trusting, err := a.hostAuthorities(ctx, client, s)
	if err != nil {
		return err
	}
	if !a.storeless && a.globals.keystore != string(keysInMemory) {
		store, err := a.openStore()
		if err == nil {
			err = store.AddAuthorities(ctx, s.profile, trusting)
		}
		if err != nil {
			return err
		}
		a.renewConfig(ctx, store, s.profile)
	}
	s.id = trusting
	a.narrow(s)
	return nil
}

// hostAuthorities is the identity of the session with the authorities, as the root names
// them now, of the root and of the session's cluster. Those of other leaves are left
// out: whatever may be wrong with them is not to be in the way here.
func (a *app) hostAuthorities(ctx context.Context, client *api.Client, s *session) (*keystore.Identity, error) {
	return a.authoritiesOf(ctx, client, s, func(cluster string) bool {
		return cluster == s.cluster || cluster == s.id.RootCluster() || s.profile.LoadAllCAs
	})
}

// authoritiesOf is the identity of the session with the authorities, as the root names
// them now, of the clusters that are wanted. The session's cluster has to be there.
func (a *app) authoritiesOf(ctx context.Context, client *api.Client, s *session, want func(cluster string) bool) (*keystore.Identity, error) {
	defer a.ui.waiting("cluster " + text.Line(s.id.RootCluster()))()
	authorities, err := client.HostAuthorities(ctx)
	if err != nil {
		return nil, err
	}
	var wanted []keystore.Authority
	var names []string
	for _, a := range authorities {
		names = append(names, a.Cluster)
		if want(a.Cluster) {
			wanted = append(wanted, keystore.Authority(a))
		}
	}
	if !slices.Contains(names, s.cluster) {
		return nil, &clusterError{s.cluster, names}
	}
	trusting := s.id.Trusting(wanted, func(string) bool { return true })
	if err := trusting.Check(); err != nil {
		return nil, fmt.Errorf("the authorities that cluster %s names were refused: %w", text.Line(s.id.RootCluster()), err)
	}
	return trusting, nil
}

// clusterError is a cluster that there is not, or not for this person.
type clusterError struct {
	cluster string
	known   []string
}

func (e *clusterError) Error() string {
	return fmt.Sprintf("there is no cluster %s here", text.Line(e.cluster))
}

// hint names the clusters there are.
func (e *clusterError) hint() string {
	return "the clusters here are: " + text.Cut(text.Line(someNames(slices.Sorted(slices.Values(e.known)))), 1000)
}
