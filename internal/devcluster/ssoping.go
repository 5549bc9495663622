package devcluster

// What ping says of a connector.
type (
	pingOIDC struct {
		Name      string `json:"name"`
		Display   string `json:"display"`
		IssuerURL string `json:"IssuerURL"`
	}
	pingSAML struct {
		Name                string `json:"name"`
		Display             string `json:"display"`
		SingleLogoutEnabled bool   `json:"singleLogoutEnabled,omitempty"`
		SSO                 string `json:"SSO"`
	}
	pingGitHub struct {
		Name        string `json:"name"`
		Display     string `json:"display"`
		EndpointURL string `json:"EndpointURL"`
	}
)

// addConnector turns settings into those for a connector, if name is one's.
func (c *Cluster) addConnector(a *pingAuth, name string) {
	connector := c.sso.named(name)
	if connector == nil {
		return
	}
	a.Type, a.Local, a.Webauthn, a.AllowPasswordless, a.AllowHeadless = connector.Kind, nil, nil, false, false
	url := "https://" + c.settings.PublicAddr + "/idp/" + name
	switch connector.Kind {
	case kindOIDC:
		a.OIDC = &pingOIDC{Name: name, Display: connector.Display, IssuerURL: url}
	case kindSAML:
		a.SAML = &pingSAML{Name: name, Display: connector.Display, SSO: url + "/sso", SingleLogoutEnabled: connector.PostForm}
	case kindGitHub:
		a.GitHub = &pingGitHub{Name: name, Display: connector.Display, EndpointURL: url}
	}
}

// edition is oss as long as nothing is there that an open-source 18.3 has not.
func (s *sso) edition() string {
	if s.has(kindOIDC) || s.has(kindSAML) {
		return "ent"
	}
	return "oss"
}
