package devcluster

import (
	"io"
	"time"
)

// Config says what cluster to run. Only Dir is required.
type Config struct {
	// Dir holds the state; it is made if missing. One process at a time.
	Dir string
	// Addr is where to listen, "127.0.0.1:3080" if empty; port 0 picks one.
	Addr string
	// AuthAddr is where the auth server is reached without the proxy, by mTLS; nowhere
	// if empty. Port 0 picks one.
	AuthAddr string
	// PublicAddr is the host:port that ping announces and the web
	// certificate names; localhost and the port of Addr if empty.
	PublicAddr string
	// Name of the cluster, "dev.example" if empty. A cluster keeps the name
	// and the suite it was made with.
	Name string
	// SecondFactor is "otp", "webauthn", "on" (both) or "off"; if empty, what the
	// state says, or "otp". Security keys need a host name in PublicAddr.
	SecondFactor string
	// Suite is "balanced-v1" or "legacy"; if empty, what the state says, or
	// "balanced-v1".
	Suite string
	// MOTD is the message of the day; none if empty.
	MOTD string
	// Nodes is how many there are, named node-1 to node-N; 1 if zero.
	Nodes int
	// Hostnames names the nodes instead. A name that is there twice makes an
	// ambiguous target.
	Hostnames []string
	// NodeLabels are the labels of all nodes; if nil, env=dev and tier=web,
	// and of every second node env=prod and tier=db.
	NodeLabels map[string]string
	// Leaf is the name of a leaf cluster that runs in the same process and is
	// reached through this one's proxy; none if empty. LeafHostnames names its
	// nodes, leaf-node-1 if nil.
	Leaf          string
	LeafHostnames []string
	// RequestAccess is what the role requester says about access requests:
	// "optional" (if empty), "always" or "reason". RequestPrompt is what
	// people are then told to give as the reason.
	RequestAccess string
	RequestPrompt string
	// Emulate is the major version to behave as: 14, or 0 for today's. A 14.x
	// server knows RSA keys only and fewer calls.
	Emulate int
	// NoResumption has nodes not offer to resume connections; those of 14.x never do.
	NoResumption bool
	// SeparatePorts makes a port of its own for SSH, as proxies had before TLS
	// routing; what ping announces says so.
	SeparatePorts bool
	// TunnelAddr is a port of its own for the SSH server for reverse tunnels; if empty,
	// with SeparatePorts any, and otherwise ALPN leads to it at Addr.
	TunnelAddr string
	// SSHOnly has that port speak nothing but SSH.
	SSHOnly bool
	// Clock is the time that certificates, lock-outs, codes and rate limits
	// go by; time.Now if nil. It is called from many goroutines.
	Clock func() time.Time
	// Log gets one line per event, without secrets; nothing if nil.
	Log io.Writer
	// PasswordCost is bcrypt's; its default if zero.
	PasswordCost int
	// Connectors are the ways to log in through the browser, DefaultConnector the
	// name of the one that is taken where nothing is said (a password if empty),
	// and People whom the identity provider knows: alice, bob and carol if nil.
	Connectors       []Connector
	DefaultConnector string
	People           []Person
	// TokensOnly has devices be added and deleted as 14.x does it, which takes
	// privilege tokens and no answers to challenges.
	TokensOnly bool
	// MFARefusal is how nodes turn away who needs a second factor for a session and
	// has none: "channel" (if empty) lets them log in and refuses every channel, in
	// words, "request" the first request, and "auth" refuses the login, without words.
	MFARefusal string
	// NoMFAReuse makes the answer to a challenge good for one certificate alone.
	NoMFAReuse bool
	// Home is the home directory of every login on every node; if empty, that of who
	// runs the cluster.
	Home string
	// NoRateLimit lifts the limits on web calls per address.
	NoRateLimit bool
	// HeadlessWait is how long a headless login is held, 3 minutes if zero;
	// HeadlessLook how long who looks for one waits for it to appear, 5 seconds
	// if zero.
	HeadlessWait, HeadlessLook time.Duration
}
