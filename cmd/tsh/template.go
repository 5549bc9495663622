package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"github.com/seed-087d674e/tsh/api"
	"github.com/seed-087d674e/tsh/internal/text"
	"github.com/seed-087d674e/tsh/internal/tshconfig"
	"github.com/seed-087d674e/tsh/sshclient"
)

// jumpFromTemplate is the value of -J that asks for the proxy of a template, and makes
// it an error that there is none.
const jumpFromTemplate = "{{proxy}}"

// template applies the proxy templates to target, a host. What they say of the cluster
// and of the jump host is set as if it was typed, unless it was; the host is replaced in
// target. Where a template describes the host instead, find is what finds it: see found.
func (a *app) template(fs *pflag.FlagSet, target *sshclient.Target) (find *nodeQuery, err error) {
	if target.Host == "" { // labels stand for themselves
		return nil, nil
	}
	jump := fs.Lookup("jumphost")
	wanted := strings.Contains(jump.Value.String(), jumpFromTemplate)
	e, matched, err := tshconfig.Expand(a.settings.Templates, target.Host, target.Port)
	switch {
	case err != nil:
		return nil, withHint(err, "mend that template: nobody knows which server it means")
	case wanted && e.Proxy == "":
		return nil, withHint(fmt.Errorf("-J %s: no proxy template with a proxy fits %s", jumpFromTemplate, target.HostPort()), "templates are in config/config.yaml of the profile directory, and in /etc/tsh.yaml")
	case !matched:
		return nil, nil
	}
	if e.Cluster != "" && !a.globals.clusterFlag {
		a.globals.cluster = e.Cluster
	}
	if e.Proxy != "" && (wanted || !jump.Changed) {
		if err := fs.Set(jump.Name, e.Proxy); err != nil {
			return nil, usagef("the proxy template for %s: %w", target.HostPort(), err)
		}
	}
	return templated(e, target)
}

// templated puts the host that a template names into target, or returns what finds it.
func templated(e tshconfig.Expanded, target *sshclient.Target) (find *nodeQuery, err error) {
	switch {
	case e.Query != "":
		return &nodeQuery{query: e.Query}, nil
	case e.Search != "":
		return &nodeQuery{search: splitQuoted(e.Search)}, nil
	case e.Host == "":
		return nil, nil
	}
	// What is typed may be no more than this, so may what is made of it. case S17
	made, err := sshclient.ParseTarget(sshclient.Target{Host: e.Host, Port: e.Port}.HostPort())
	if err != nil {
		return nil, usagef("the proxy template for %s: %w", target.HostPort(), err)
	}
	target.Host, target.Port = made.Host, made.Port
	return nil, nil
}

// found is target, or the node that find describes, which the cluster is asked for.
func (a *app) found(ctx context.Context, s *session, find *nodeQuery, target sshclient.Target) (sshclient.Target, error) {
	if find == nil {
		return target, nil
	}
	node, err := a.resolveNode(ctx, s, *find)
	if errors.Is(err, api.ErrAmbiguous) || errors.Is(err, api.ErrNotFound) {
		err = withHint(err, "a proxy template looks for %s by: %s", text.Line(target.Host), text.Line(find.query+strings.Join(find.search, ",")))
	}
	if err != nil {
		return target, err
	}
	made, err := sshclient.ParseTarget(node.Metadata.Name)
	if err != nil || made.Port != 0 {
		return target, usagef("the cluster names a server %s, which is no ID", text.Line(node.Metadata.Name))
	}
	target.Host, target.Port = made.Host, 0
	return target, nil
}
