package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/seed-087d674e/tsh/api"
	"github.com/seed-087d674e/tsh/internal/text"
	"github.com/seed-087d674e/tsh/keystore"
	"github.com/seed-087d674e/tsh/login"
	"github.com/seed-087d674e/tsh/profile"
)

// rights are an access request to assume beside those that are assumed already, and those
// of them to drop.
type rights struct {
	assume string
	drop   []string
}

// reissue has certificates for the keys of the session issued again: for its cluster, and
// with the rights.
func (a *app) reissue(ctx context.Context, client *api.Client, s *session, r rights) (*keystore.Identity, error) {
	sshKey, tlsKey, err := keystore.PublicKeys(s.id.SSHKey, s.id.TLSKey)
	if err != nil {
		return nil, err
	}
	expires, _ := s.id.Expiry()
	var keep []string
	if r.assume != "" {
		keep = []string{r.assume}
	}
	for _, id := range readClaims(s.id.SSHCert, nil).activeRequests {
		if !slices.Contains(r.drop, id) {
			keep = append(keep, id)
		}
	}
	sshCert, tlsCert, err := client.GenerateCertificates(ctx, api.CertsRequest{
		User: s.id.User, Expires: expires, Cluster: s.cluster, SSHKey: sshKey, TLSKey: tlsKey,
		AccessRequests: keep, DropRequests: r.drop,
	})
	if err != nil {
		return nil, err
	}
	fresh, err := s.id.Reissued(s.cluster, sshCert, tlsCert)
	if err == nil {
		err = fresh.CheckTime(a.now())
	}
	if err == nil {
		err = r.check(fresh)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", login.ErrRejected, err)
	}
	return fresh, nil
}

// check compares what certificates have with what was asked for. TLS certificates have the
// requests somewhere in their subject.
func (r *rights) check(id *keystore.Identity) error {
	active := readClaims(id.SSHCert, nil).activeRequests
	wrong := r.assume != "" && !slices.Contains(active, r.assume)
	for _, name := range id.TLSCert.Subject.Names {
		if s, ok := name.Value.(string); ok {
			active = append(active, s)
		}
	}
	for _, dropped := range r.drop {
		wrong = wrong || slices.Contains(active, dropped)
	}
	if wrong {
		return errors.New("the certificates have other access requests than was asked for")
	}
	return nil
}

// switchCluster selects another cluster, root or leaf, for a login that is valid: new
// certificates for its keys that lead there. Those for other clusters stay.
func (a *app) switchCluster(ctx context.Context, store *profile.Store, s *session) (*session, error) {
	client, err := a.connectAPI(ctx, s)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	if !s.id.Knows(s.cluster) {
		if s.id, err = a.hostAuthorities(ctx, client, s); err != nil {
			return nil, err
		}
	}
	fresh, err := a.reissue(ctx, client, s, rights{})
	if errors.Is(err, api.ErrNotFound) {
		if _, gone := a.hostAuthorities(ctx, client, s); isA[*clusterError](gone) {
			return nil, gone
		}
		return nil, withHint(err, "the cluster is there, but your roles may not let you go to it")
	}
	if err != nil {
		return nil, err
	}
	s.profile.Cluster = fresh.Cluster
	return a.storeReissued(ctx, store, s.profile, fresh, store.Commit)
}

// storeReissued stores certificates that were issued again and makes the profile the
// current one.
func (a *app) storeReissued(ctx context.Context, store *profile.Store, p *profile.Profile, id *keystore.Identity,
	commit func(context.Context, *profile.Profile, *keystore.Identity) error,
) (*session, error) {
	p.Proven = p.Host() // its auth server was verified with the stored authorities
	if err := commit(ctx, p, id); err != nil {
		return nil, err
	}
	if !id.InAgent { // an agent that has the only key cannot be given it again
		a.offerToAgent(id)
	}
	return a.useSession(store, p)
}

// leafAtLogin adds the authority of the leaf to an identity that has just been
// issued for a leaf. Without them the login is good all the same.
func (a *app) leafAtLogin(ctx context.Context, s *session) {
	client, err := a.connectAPI(ctx, s)
	if err == nil {
		defer client.Close()
		var trusting *keystore.Identity
		if trusting, err = a.hostAuthorities(ctx, client, s); err == nil {
			s.id = trusting
		}
	}
	if err != nil && ctx.Err() == nil {
		a.ui.warn("the host authority of cluster %s is not known yet: %v", text.Line(s.cluster), err)
	}
}

// change does what login is to do with a login that is valid: select another cluster,
// ask for access.
func (a *app) change(ctx context.Context, store *profile.Store, p *profile.Profile, id *keystore.Identity, o loginOptions) error {
	s := a.readySession(store, p, id)
	if s.cluster != p.Cluster {
		var err error
		if s, err = a.switchCluster(ctx, store, s); err != nil {
			return err
		}
	}
	if o.request.wanted() {
		before := s.id
		if err := a.request(ctx, s, o.request); err != nil {
			return err
		}
		commit := store.CommitAlone
		if s.id == before { // nobody has decided yet
			commit = store.Commit
		}
		if _, err := a.storeReissued(ctx, store, s.profile, s.id, commit); err != nil {
			return err
		}
	}
	return a.showStatus(store, statusView{active: p.Name, verbose: o.verbose, format: a.loginFormat()})
}

// selectedLeaf is the leaf cluster that the stored login selects, empty for none: a
// new login selects it again.
func selectedLeaf(store *profile.Store, known *profile.Profile) string {
	if known == nil {
		return ""
	}
	id, err := store.IdentityPublic(known)
	if err != nil || id.RootCluster() == "" || id.RootCluster() == known.Cluster {
		return ""
	}
	return known.Cluster
}
