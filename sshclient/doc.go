// Package sshclient runs commands and shells on nodes: a target, a way to reach
// it and an SSH configuration go in, the exit status of the command comes out.
//
// It knows neither profiles nor proxies: the identity arrives as an
// *ssh.ClientConfig, the network as a [Dialer]. Which SSH transport does the
// work (today golang.org/x/crypto/ssh) does not show in what the package
// exports, apart from that configuration.
//
// A node is trusted only if it shows a host certificate that the configuration
// accepts, and the only proof of identity ever given is the configuration's
// user certificate: no password or prompt of a node is answered.
//
// # Round trips
//
// One command costs eight sequential round trips on a connection that is
// already open: identification, key exchange, service request, "none",
// "publickey" query, signed request, channel, command. Environment variables
// ride along with the command; a terminal costs one more, because a refused
// terminal must be known before anything runs on it. Four of the eight could
// be saved by a client that pipelines (RFC 4252, RFC 4254), but x/crypto/ssh
// offers no way to: ssh.AuthMethod has unexported methods only, so nothing
// outside that package can leave out the query that ssh.PublicKeys sends
// before it signs; "none" always goes first; and a channel gives no access to
// its requests until its opening was confirmed. Whether the node is still there
// is asked only when it has been silent for 15 seconds.
package sshclient

import (
	"context"
	"net"
)

// Dialer opens a byte stream to the SSH server of a node.
//
// hostport is [Target.HostPort]: port 0 stands for whatever port the node has.
// cluster is the cluster the node belongs to. The context governs the dialing;
// cancelling it after DialNode returned may or may not break the stream. Close
// of the returned connection must make a blocked Read or Write return. An
// answer of the far end that says no may come as the error of the first Read
// instead of DialNode's own.
type Dialer interface {
	DialNode(ctx context.Context, hostport, cluster string) (net.Conn, error)
}
