package main

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seed-087d674e/tsh/internal/text"
	"github.com/seed-087d674e/tsh/keystore"
	"github.com/seed-087d674e/tsh/proxy"
)

// takesJump marks, among the annotations of a command, those that can go through a jump
// host.
const takesJump = "jump"

// admitJump refuses --jumphost with a command that would not heed it.
func (a *app) admitJump(cmd *cobra.Command) error {
	if _, takes := cmd.Annotations[takesJump]; a.globals.jump != "" && !takes {
		return usagef("%s does not go through a jump host (-J); ssh, scp, proxy ssh and resolve do", cmd.CommandPath())
	}
	return nil
}

// jumpAddr reads [user@]host:port. The user has no meaning: who it is, the certificate
// says.
func jumpAddr(s string) (string, error) {
	if strings.Contains(s, ",") {
		return "", usagef("-J %s: one jump host is possible, not several", text.Line(s))
	}
	addr, err := proxy.ParseAddr(s[strings.LastIndexByte(s, '@')+1:])
	switch {
	case err != nil:
		return "", usagef("-J: %w", err)
	case !addr.WebPortGiven:
		return "", usagef("-J %s: a jump host needs its port: HOST:PORT", text.Line(s))
	}
	return addr.Web(), nil
}

// dialJump connects to the proxy that -J names instead of the one of the login. The
// session goes on with the cluster of that proxy, which has to be the root or one of its
// leaves.
func (a *app) dialJump(ctx context.Context, s *session) (*proxy.Transport, error) {
	addr, err := jumpAddr(a.globals.jump)
	if err != nil {
		return nil, err
	}
	transport, err := a.dialProxyAt(ctx, s, addr)
	if err == nil {
		if err := a.goTo(ctx, s, transport.Cluster()); err != nil {
			_ = transport.Close()
			return nil, err
		}
		return transport, nil
	}
	var untrusted interface {
		error
		ClaimedCluster() string
	}
	if !errors.As(err, &untrusted) || untrusted.ClaimedCluster() == "" || s.id.Knows(untrusted.ClaimedCluster()) {
		return nil, err
	}
	if unknown := a.goTo(ctx, s, untrusted.ClaimedCluster()); unknown != nil {
		return nil, withHint(errors.Join(unknown, err), "-J names a proxy of the cluster you logged in to, or of one of its leaf clusters")
	}
	return a.dialProxyAt(ctx, s, addr)
}

// throughJump makes the session one for the cluster of the proxy that -J names, if it
// does: for who looks something up there without going there.
func (a *app) throughJump(ctx context.Context, s *session) error {
	if a.globals.jump == "" {
		return nil
	}
	transport, err := a.dialJump(ctx, s)
	if err == nil {
		_ = transport.Close()
	}
	return err
}

// dialProxyAt connects to a proxy of any cluster that the session trusts.
func (a *app) dialProxyAt(ctx context.Context, s *session, addr string) (*proxy.Transport, error) {
	config, err := a.proxyConfig(s)
	if err != nil {
		return nil, err
	}
	config.AnyCluster, config.WebAddr, config.SSHAddr = true, addr, addr
	return proxy.Dial(ctx, config)
}

// goTo makes the session one for another cluster: with its authorities, and with
// certificates that lead there. Nothing is stored but the authorities.
func (a *app) goTo(ctx context.Context, s *session, cluster string) error {
	if err := keystore.CheckName("cluster", cluster); err != nil {
		return err
	}
	before := s.cluster
	s.cluster = cluster
	if !s.id.Knows(cluster) && !a.storeless {
		a.recall(s)
	}
	if !s.id.Knows(cluster) {
		if err := a.fetchAuthorities(ctx, s); err != nil {
			s.cluster = before
			return err
		}
	}
	if s.id.Cluster == cluster {
		return nil
	}
	client, err := a.connectAPI(ctx, s)
	if err != nil {
		return err
	}
	defer client.Close()
	fresh, err := a.reissue(ctx, client, s, rights{})
	if err != nil {
		return err
	}
	s.id = fresh
	return nil
}

// recall adds the authority of the session's cluster to its identity, if it is stored.
func (a *app) recall(s *session) {
	store, err := a.openStore()
	if err != nil {
		return
	}
	stored, err := keystore.Dir{Home: store.Home(), AllAuthorities: true}.Authorities(s.profile.Host(), s.cluster)
	if err == nil {
		s.id = s.id.Trusting(stored, func(cluster string) bool {
			return cluster == s.cluster || cluster == s.id.RootCluster()
		})
	}
}
