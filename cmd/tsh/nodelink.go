package main

import (
	"context"
	"errors"
	"strings"

	"github.com/seed-087d674e/tsh/proxy"
	"github.com/seed-087d674e/tsh/sshclient"
)

// dialProxy connects to the proxy of s: one connection, over which all its nodes are reached.
func (a *app) dialProxy(ctx context.Context, s *session) (*proxy.Transport, error) {
	tlsConfig, err := s.id.TLSConfig()
	if err != nil {
		return nil, err
	}
	authorities, err := a.globals.trust.authorities()
	if err != nil {
		return nil, err
	}
	return proxy.Dial(ctx, proxy.Config{
		WebAddr:     s.profile.WebProxyAddr,
		SSHAddr:     s.profile.SSHProxyAddr,
		TLSRouting:  s.profile.TLSRouting,
		ConnUpgrade: s.profile.ConnUpgrade,
		Insecure:    a.globals.insecure,
		RootCAs:     authorities,
		TLS:         tlsConfig,
		Cluster:     s.id.RootCluster(),

		StreamBuffer: a.streamBuffer,
	})
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
			a.ui.say("%s", message)
		}
		return nil
	}
	target.Cluster = s.cluster
	client, err := sshclient.Dial(ctx, over, target, config)
	if err != nil {
		return nil, a.explainSSH(ctx, err, s, target.Host)
	}
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
		return withHint(err, "name one of them by its ID: tsh ssh ACCOUNT@ID")
	}
	return err
}
