package devcluster

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"

	"google.golang.org/grpc"
)

// version14 is the release that Config.Emulate 14 stands for: clients of 14.x
// exist, and their servers answer less than those of today.
const version14 = "14.0.0-dev"

// emulate14 is the value of Config.Emulate for it.
const emulate14 = 14

func checkEmulate(cfg *Config) error {
	if cfg.Emulate != 0 && cfg.Emulate != emulate14 {
		return fmt.Errorf("version %d cannot be emulated; %d can", cfg.Emulate, emulate14)
	}
	if cfg.Emulate == emulate14 {
		if cfg.Suite == suiteBalanced {
			return errors.New("14.x has no signature suites: its keys are RSA")
		}
		if slices.ContainsFunc(cfg.Connectors, func(c Connector) bool { return c.PostForm }) {
			return errors.New("14.x has no logins that begin with a form")
		}
		cfg.Suite = suiteLegacy
	}
	return nil
}

func (c *Cluster) is14() bool { return c.emulate == emulate14 }

// resumes reports whether the nodes offer to resume connections.
func (c *Cluster) resumes() bool { return !c.is14() && !c.noResumption }

// version is what the cluster says it is.
func (c *Cluster) version() string {
	if c.is14() {
		return version14
	}
	return serverVersion
}

// The members of ping and find, as 14.0 writes them.
type ping14 struct {
	Auth              ping14Auth  `json:"auth"`
	Proxy             ping14Proxy `json:"proxy"`
	ServerVersion     string      `json:"server_version"`
	MinClientVersion  string      `json:"min_client_version"`
	ClusterName       string      `json:"cluster_name"`
	AutomaticUpgrades bool        `json:"automatic_upgrades"`
}

type ping14Auth struct {
	Type                string        `json:"type"`
	SecondFactor        string        `json:"second_factor,omitempty"`
	PreferredLocalMFA   string        `json:"preferred_local_mfa,omitempty"`
	AllowPasswordless   bool          `json:"allow_passwordless,omitempty"`
	AllowHeadless       bool          `json:"allow_headless,omitempty"`
	Local               *pingLocal    `json:"local,omitempty"`
	OIDC                *connector14  `json:"oidc,omitempty"`
	SAML                *connector14  `json:"saml,omitempty"`
	GitHub              *connector14  `json:"github,omitempty"`
	Webauthn            *pingWebauthn `json:"webauthn,omitempty"`
	PrivateKeyPolicy    string        `json:"private_key_policy"`
	DeviceTrustDisabled bool          `json:"device_trust_disabled,omitempty"`
	DeviceTrust         pingDevice    `json:"device_trust"`
	HasMOTD             bool          `json:"has_motd"`
	DefaultSessionTTL   string        `json:"default_session_ttl"`
}

type ping14Proxy struct {
	Kube              pingKube  `json:"kube"`
	SSH               ping14SSH `json:"ssh"`
	DB                pingDB    `json:"db"`
	TLSRoutingEnabled bool      `json:"tls_routing_enabled"`
	AssistEnabled     bool      `json:"assist_enabled"`
}

type ping14SSH struct {
	ListenAddr       string `json:"listen_addr,omitempty"`
	TunnelListenAddr string `json:"tunnel_listen_addr,omitempty"`
	WebListenAddr    string `json:"web_listen_addr,omitempty"`
	PublicAddr       string `json:"public_addr,omitempty"`
}

func (c *Cluster) routes14(api apiFunc, limits apiLimits) {
	api("GET /webapi/ping", limits.high, func(*http.Request) (any, error) {
		p := c.found14()
		p.Auth = c.auth14(c.sso.fallback)
		p.Auth.DefaultSessionTTL = defaultSessionTTL.String()
		return p, nil
	})
	api("GET /webapi/ping/{connector}", limits.high, func(r *http.Request) (any, error) {
		name := r.PathValue("connector")
		if valid := append([]string{"local", "passwordless", "headless"}, c.sso.names()...); !slices.Contains(valid, name) {
			return nil, badParameter("invalid connector name %q; valid options: %s", name, strings.Join(valid, ", "))
		}
		p := c.found14()
		p.Auth = c.auth14(name)
		return p, nil
	})
	api("GET /webapi/find", nil, func(*http.Request) (any, error) { return c.found14(), nil })
	api("POST /webapi/mfa/login/begin", limits.normal, c.loginBegin14)
	api("POST /webapi/mfa/login/finish", limits.normal, c.loginFinish14)
}

func (c *Cluster) found14() *ping14 {
	listen := c.Addr()
	return &ping14{
		Auth: ping14Auth{DefaultSessionTTL: "0s"},
		Proxy: ping14Proxy{
			Kube: pingKube{Enabled: true},
			SSH: ping14SSH{
				ListenAddr: c.sshAddr(), TunnelListenAddr: c.TunnelAddr(), WebListenAddr: listen, PublicAddr: c.settings.PublicAddr,
			},
			TLSRoutingEnabled: c.sshListener == nil,
		},
		ServerVersion: version14, MinClientVersion: "13.0.0", ClusterName: c.settings.Name,
	}
}

func (c *Cluster) auth14(connector string) ping14Auth {
	now := c.authSettings(connector)
	a := ping14Auth{
		Type: now.Type, SecondFactor: now.SecondFactor, PreferredLocalMFA: now.PreferredLocalMFA, Local: now.Local,
		PrivateKeyPolicy: now.PrivateKeyPolicy, DeviceTrustDisabled: true, DeviceTrust: now.DeviceTrust, HasMOTD: now.HasMOTD,
		DefaultSessionTTL: now.DefaultSessionTTL,
	}
	if a.SecondFactor != factorOTP && a.SecondFactor != factorOff { // keys may be registered
		a.Webauthn, a.AllowPasswordless, a.AllowHeadless = now.Webauthn, now.AllowPasswordless, now.AllowHeadless
	}
	a.addConnector(&now)
	return a
}

// loginBegin14 is loginBegin without the challenges that came later.
func (c *Cluster) loginBegin14(r *http.Request) (any, error) {
	v, err := c.loginBegin(r)
	if err != nil {
		return nil, err
	}
	now, ok := v.(beginResponse)
	if !ok {
		return nil, errors.New("an answer of another kind")
	}
	return struct {
		WebauthnChallenge any  `json:"webauthn_challenge"`
		TOTPChallenge     bool `json:"totp_challenge"`
	}{now.WebauthnChallenge, now.TOTPChallenge}, nil
}

// login14 is what both ways to get certificates come to.
type login14 struct {
	finishRequest
	PubKey     []byte `json:"pub_key"`
	OTPToken   string `json:"otp_token"`   // of ssh/certs
	HeadlessID string `json:"headless_id"` // of ssh/certs
}

type loginResponse14 struct {
	Username    string       `json:"username"`
	Cert        []byte       `json:"cert"`
	TLSCert     []byte       `json:"tls_cert"`
	HostSigners []hostSigner `json:"host_signers"`
}

func (c *Cluster) loginFinish14(r *http.Request) (any, error) {
	var req login14
	if err := readJSON(r, &req); err != nil {
		return nil, err
	}
	return c.login14(r, &req)
}

// sshCerts14 is the older of the two: one call, without a challenge.
func (c *Cluster) sshCerts14(r *http.Request) (any, error) {
	var req login14
	if err := readJSON(r, &req); err != nil {
		return nil, err
	}
	if req.HeadlessID != "" {
		return c.headlessLogin14(r, &req)
	}
	req.TOTPCode, req.WebauthnResponse = req.OTPToken, nil
	return c.login14(r, &req)
}

// login14 checks the credentials first; a code is used up even if the key turns
// out to be missing.
func (c *Cluster) login14(r *http.Request, req *login14) (answer any, err error) {
	note := loginNote{user: req.User, method: req.method(), from: r.RemoteAddr}
	defer func() { c.noteLogin(note, err) }()
	u, err := c.authenticate(&req.finishRequest)
	if err != nil {
		return nil, err
	}
	note.user = u.Name
	keys, err := oneKey(req.PubKey)
	if err != nil {
		return nil, err
	}
	issued, err := c.issueFor(&req.finishRequest, u, keys, remoteIP(r))
	if err != nil {
		return nil, err
	}
	return c.issued(issued), nil
}

// absent14 are the calls that 14.x does not have.
func absent14() []string {
	return []string{
		authName + "/ListUnifiedResources", authName + "/GetSSHTargets", authName + "/ResolveSSHTarget",
		presenceName + "/", usersName + "/",
	}
}

// servicesOf takes out of the services what the version does not have.
func (c *Cluster) servicesOf(all []*grpc.ServiceDesc) []*grpc.ServiceDesc {
	if !c.is14() {
		return all
	}
	absent := func(call string) bool {
		return slices.ContainsFunc(absent14(), func(name string) bool { return strings.HasPrefix(call, name) })
	}
	for _, service := range all {
		service.Methods = slices.DeleteFunc(service.Methods, func(m grpc.MethodDesc) bool {
			return absent(service.ServiceName + "/" + m.MethodName)
		})
	}
	return all
}

// listenSSH opens the port for SSH, where a cluster has separate ones.
func (c *Cluster) listenSSH() error {
	host, _, err := net.SplitHostPort(c.Addr())
	if err != nil {
		return err
	}
	c.sshListener, err = net.Listen("tcp", net.JoinHostPort(host, "0"))
	return err
}

// sshAddr is where connections to nodes and to the auth server begin.
func (c *Cluster) sshAddr() string {
	if c.sshListener != nil {
		return c.sshListener.Addr().String()
	}
	return c.Addr()
}

// rolesExtension is what an SSH certificate says about the user's roles.
func (c *Cluster) rolesExtension(names []string) any {
	if c.is14() {
		return struct {
			Version string   `json:"version"`
			Roles   []string `json:"roles"`
		}{"v1", names}
	}
	return map[string][]string{"roles": names}
}

// traitsOf are the traits that certificates carry.
func (c *Cluster) traitsOf(u *user) map[string][]string {
	traits := u.traits()
	if c.is14() {
		for _, later := range []string{"host_user_gid", "host_user_uid", "mcp_tools"} {
			delete(traits, later)
		}
	}
	return traits
}
