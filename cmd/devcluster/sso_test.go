package main

import (
	"reflect"
	"testing"

	"github.com/seed-087d674e/tsh/internal/devcluster"
)

func TestConnectorFlags(t *testing.T) {
	var cfg devcluster.Config
	o := ssoOptions{connectors: []string{"github:gh", "saml:adfs:form"}, people: []string{"dave=developers,admins", "erin"}, fallback: "gh", cidrs: []string{"192.0.2.0/24"}}
	if err := o.fill(&cfg); err != nil {
		t.Fatal(err)
	}
	want := devcluster.Config{
		Connectors: []devcluster.Connector{
			{Kind: "github", Name: "gh", AllowedCIDRs: o.cidrs}, {Kind: "saml", Name: "adfs", PostForm: true, AllowedCIDRs: o.cidrs},
		},
		People:           []devcluster.Person{{Name: "dave", Groups: []string{"developers", "admins"}}, {Name: "erin"}},
		DefaultConnector: "gh",
	}
	if !reflect.DeepEqual(cfg, want) {
		t.Errorf("got %+v, want %+v", cfg, want)
	}
	for _, spec := range []string{"github", "saml:x:y", "a:b:c:d"} {
		if _, text, status := run(t, "", "start", "--dir", t.TempDir(), "--addr", "127.0.0.1:0", "--connector", spec); status != 1 {
			t.Errorf("%s: status %d %s", spec, status, text)
		}
	}
}
