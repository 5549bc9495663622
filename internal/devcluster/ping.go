package devcluster

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// dialTimeout is announced for dials through the proxy.
const dialTimeout = 30 * time.Second

// The members of ping and find are in the order, and present or absent, as
// 18.3 writes them.
type pingResponse struct {
	Auth              pingAuth       `json:"auth"`
	Proxy             pingProxy      `json:"proxy"`
	ServerVersion     string         `json:"server_version"`
	MinClientVersion  string         `json:"min_client_version"`
	AutoUpdate        pingAutoUpdate `json:"auto_update"`
	ClusterName       string         `json:"cluster_name"`
	AutomaticUpgrades bool           `json:"automatic_upgrades"`
	Edition           string         `json:"edition"`
	FIPS              bool           `json:"fips"`
}

type pingAuth struct {
	Type                    string        `json:"type"`
	SecondFactor            string        `json:"second_factor,omitempty"`
	PreferredLocalMFA       string        `json:"preferred_local_mfa,omitempty"`
	AllowPasswordless       bool          `json:"allow_passwordless,omitempty"`
	AllowHeadless           bool          `json:"allow_headless,omitempty"`
	Local                   *pingLocal    `json:"local,omitempty"`
	Webauthn                *pingWebauthn `json:"webauthn,omitempty"`
	OIDC                    *pingOIDC     `json:"oidc,omitempty"`
	SAML                    *pingSAML     `json:"saml,omitempty"`
	GitHub                  *pingGitHub   `json:"github,omitempty"`
	PrivateKeyPolicy        string        `json:"private_key_policy"`
	PIVSlot                 string        `json:"piv_slot"`
	PIVPINCacheTTL          time.Duration `json:"piv_pin_cache_ttl"`
	DeviceTrust             pingDevice    `json:"device_trust"`
	HasMOTD                 bool          `json:"has_motd"`
	DefaultSessionTTL       string        `json:"default_session_ttl"`
	SignatureAlgorithmSuite string        `json:"signature_algorithm_suite,omitempty"`
}

type pingLocal struct {
	Name string `json:"name"`
}

type pingWebauthn struct {
	RPID string `json:"rp_id"`
}

type pingDevice struct {
	Disabled bool `json:"disabled,omitempty"`
}

type pingProxy struct {
	Kube              pingKube `json:"kube"`
	SSH               pingSSH  `json:"ssh"`
	DB                pingDB   `json:"db"`
	TLSRoutingEnabled bool     `json:"tls_routing_enabled"`
}

type pingKube struct {
	Enabled    bool   `json:"enabled,omitempty"`
	ListenAddr string `json:"listen_addr,omitempty"`
}

type pingSSH struct {
	ListenAddr       string        `json:"listen_addr,omitempty"`
	TunnelListenAddr string        `json:"tunnel_listen_addr,omitempty"`
	WebListenAddr    string        `json:"web_listen_addr,omitempty"`
	PublicAddr       string        `json:"public_addr,omitempty"`
	DialTimeout      time.Duration `json:"dial_timeout,omitempty"`
}

type pingDB struct {
	PostgresListenAddr string `json:"postgres_listen_addr,omitempty"`
	MySQLListenAddr    string `json:"mysql_listen_addr,omitempty"`
}

type pingAutoUpdate struct {
	ToolsVersion             string `json:"tools_version"`
	ToolsAutoUpdate          bool   `json:"tools_auto_update"`
	AgentVersion             string `json:"agent_version"`
	AgentAutoUpdate          bool   `json:"agent_auto_update"`
	AgentUpdateJitterSeconds int    `json:"agent_update_jitter_seconds"`
}

// ping answers with the default way to log in.
func (c *Cluster) ping(*http.Request) (any, error) {
	p := c.find18()
	p.Auth = c.authSettings(c.sso.fallback)
	p.Auth.DefaultSessionTTL = defaultSessionTTL.String()
	return p, nil
}

// pingConnector answers for one named way to log in. Like 18.3 it leaves out
// the session TTL and what is about the server rather than the connector.
func (c *Cluster) pingConnector(r *http.Request) (any, error) {
	name := r.PathValue("connector")
	valid := append([]string{"local", "passwordless", "headless"}, c.sso.names()...)
	if !slices.Contains(valid, name) {
		return nil, badParameter("invalid connector name %q; valid options: %s", name, strings.Join(valid, ", "))
	}
	p := c.find18()
	p.Auth = c.authSettings(name)
	p.AutoUpdate, p.Edition = pingAutoUpdate{}, ""
	return p, nil
}

// find answers without the ways to log in.
func (c *Cluster) find(*http.Request) (any, error) { return c.find18(), nil }

func (c *Cluster) find18() *pingResponse {
	// In single-port mode everything listens where the web does. Kubernetes
	// and databases are named because an 18.3 proxy names them; nothing
	// answers for them here.
	listen := c.Addr()
	return &pingResponse{
		Auth: pingAuth{
			DefaultSessionTTL:       "0s",
			SignatureAlgorithmSuite: c.settings.Suite,
		},
		Proxy: pingProxy{
			Kube: pingKube{Enabled: true, ListenAddr: listen},
			SSH: pingSSH{
				ListenAddr: c.sshAddr(), TunnelListenAddr: c.TunnelAddr(), WebListenAddr: listen,
				PublicAddr: c.settings.PublicAddr, DialTimeout: dialTimeout,
			},
			DB:                pingDB{PostgresListenAddr: listen, MySQLListenAddr: listen},
			TLSRoutingEnabled: c.sshListener == nil,
		},
		ServerVersion:    serverVersion,
		MinClientVersion: "17.0.0-aa",
		AutoUpdate: pingAutoUpdate{
			ToolsVersion: serverVersion, AgentVersion: serverVersion, AgentUpdateJitterSeconds: 60,
		},
		ClusterName: c.settings.Name,
		Edition:     c.sso.edition(),
	}
}

func (c *Cluster) authSettings(connector string) pingAuth {
	a := pingAuth{
		Type:                    "local",
		SecondFactor:            c.secondFactor,
		Local:                   &pingLocal{Name: connector},
		PrivateKeyPolicy:        "none",
		DeviceTrust:             pingDevice{Disabled: true},
		HasMOTD:                 c.motd != "",
		DefaultSessionTTL:       "0s",
		SignatureAlgorithmSuite: c.settings.Suite,
	}
	if rpID := relyingParty(c.settings.PublicAddr); rpID != "" {
		a.Webauthn = &pingWebauthn{RPID: rpID}
	}
	switch {
	case c.allows(kindWebAuthn):
		a.PreferredLocalMFA, a.AllowPasswordless, a.AllowHeadless = factorWebAuthn, true, true
	case c.allows(kindTOTP):
		a.PreferredLocalMFA = factorOTP
	}
	c.addConnector(&a, connector)
	return a
}

func (c *Cluster) messageOfTheDay(*http.Request) (any, error) {
	return struct{ Text string }{c.motd}, nil
}
