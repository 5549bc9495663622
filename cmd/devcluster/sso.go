package main

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"github.com/seed-087d674e/tsh/internal/devcluster"
)

// ssoOptions say which ways to log in through the browser there are.
type ssoOptions struct {
	connectors, people, hostnames, cidrs []string
	fallback                             string
}

func (o *ssoOptions) addFlags(f *pflag.FlagSet) {
	f.StringArrayVar(&o.connectors, "connector", nil, "a way to log in through the browser, `KIND:NAME` with kind github, oidc or saml; saml:NAME:form begins with a form")
	f.StringVar(&o.fallback, "default-connector", "", "`NAME` of the connector that is taken where nothing is said (default: a password)")
	f.StringArrayVar(&o.people, "person", nil, "somebody the identity provider knows, `NAME=GROUP,GROUP`; the groups admins, developers and auditors have roles (default alice, bob, carol)")
	f.StringSliceVar(&o.hostnames, "redirect-hostnames", nil, "`hosts` besides this machine that an answer may be brought to, by https")
	f.StringSliceVar(&o.cidrs, "redirect-cidrs", nil, "`networks` that an answer may be brought to")
}

// fill turns the flags into what the cluster takes.
func (o *ssoOptions) fill(cfg *devcluster.Config) error {
	for _, spec := range o.connectors {
		parts := strings.Split(spec, ":")
		if len(parts) < 2 || len(parts) > 3 || len(parts) == 3 && parts[2] != "form" {
			return fmt.Errorf("--connector %s: KIND:NAME or saml:NAME:form is needed", spec)
		}
		cfg.Connectors = append(cfg.Connectors, devcluster.Connector{
			Kind: parts[0], Name: parts[1], PostForm: len(parts) == 3, AllowedHostnames: o.hostnames, AllowedCIDRs: o.cidrs,
		})
	}
	for _, spec := range o.people {
		name, groups, _ := strings.Cut(spec, "=")
		p := devcluster.Person{Name: name}
		if groups != "" {
			p.Groups = strings.Split(groups, ",")
		}
		cfg.People = append(cfg.People, p)
	}
	cfg.DefaultConnector = o.fallback
	return nil
}
