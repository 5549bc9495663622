package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/seed-087d674e/tsh/api"
	"github.com/seed-087d674e/tsh/proxy"
	"github.com/seed-087d674e/tsh/sshclient"
	"github.com/seed-087d674e/tsh/sshclient/resume"
)

// dialProxy connects to the proxy of s: one connection, over which all its nodes are reached.
// Nodes are looked up after it, because a jump host decides on the cluster.
func (a *app) dialProxy(ctx context.Context, s *session) (*proxy.Transport, error) {
	if a.globals.jump != "" {
		return a.dialJump(ctx, s)
	}
	config, err := a.proxyConfig(s)
	if err != nil {
		return nil, err
	}
	ctx, cancel := a.link.limit(ctx)
	defer cancel()
	return proxy.Dial(ctx, config)
}

// proxyConfig says how to connect to the proxy of s.
func (a *app) proxyConfig(s *session) (proxy.Config, error) {
	tlsConfig, err := s.id.TLSConfig()
	if err != nil {
		return proxy.Config{}, err
	}
	authorities, err := a.globals.trust.authorities()
	if err != nil {
		return proxy.Config{}, err
	}
	// What another cluster's authority has signed is not this proxy.
	root := s.id.Trusting(nil, func(cluster string) bool { return cluster == s.id.RootCluster() })
	return proxy.Config{
		WebAddr:     s.profile.WebProxyAddr,
		SSHAddr:     s.profile.SSHProxyAddr,
		TLSRouting:  s.profile.TLSRouting,
		ConnUpgrade: s.profile.ConnUpgrade,
		Insecure:    a.globals.insecure,
		RootCAs:     authorities,
		TLS:         tlsConfig,
		SSH:         root.SSHClientConfig,
		Cluster:     s.id.RootCluster(),
		Headers:     a.settings.Headers,
		Dial:        a.link.dial(),

		StreamBuffer: a.streamBuffer,
	}, nil
}

// dialNode logs in to a node of the session's cluster over a connection to its proxy.
func (a *app) dialNode(ctx context.Context, s *session, over sshclient.Dialer, target sshclient.Target) (*sshclient.Client, error) {
	config, err := s.id.SSHClientConfig()
	if err != nil {
		return nil, err
	}
	config.BannerCallback = func(message string) error {
		if message = strings.TrimSuffix(message, "\n"); a.banner != nil {
			a.banner(message)
		} else {
			a.ui.note("%s", message)
		}
		return nil
	}
	a.link.apply(config)
	target.Cluster = s.cluster
	client, err := sshclient.Dial(ctx, a.nodeDialer(s, over), target, config)
	if errors.Is(err, resume.ErrIdentification) { // which has nothing to do with who it is
		client, err = sshclient.Dial(ctx, over, target, config)
	}
	if err != nil {
		return nil, a.explainSSH(ctx, err, s, target.Host)
	}
	a.link.watch(client)
	return client, nil
}

// explainSSH adds what a person can do about a connection that failed.
func (a *app) explainSSH(ctx context.Context, err error, s *session, host string) error {
	var auth *sshclient.AuthError
	if errors.As(err, &auth) {
		logins := readClaims(s.id.SSHCert, nil).logins
		if len(logins) == 0 {
			return withHint(err, "your certificate allows no account on any server; ask the cluster's administrator")
		}
		return withHint(err, "your certificate allows these accounts: %s", strings.Join(logins, ", "))
	}
	var node *proxy.NodeError
	if errors.As(err, &node) && node.Ambiguous() {
		a.showMatches(ctx, s, nodeQuery{host: host})
		// The proxy's words are a code on a second line.
		return withHint(fmt.Errorf("connect to %s: %w", host, api.ErrAmbiguous), hintAmbiguous)
	}
	return err
}
