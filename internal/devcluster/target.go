package devcluster

import (
	"net"
	"strings"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/seed-087d674e/tsh/internal/devcluster/clusterpb"
)

// textAmbiguous has the words of 18.x and the marker of older servers; clients
// look for either.
const textAmbiguous = "ambiguous host could match multiple nodes\n\terr-node-is-ambiguous"

// findTarget is the one node that a dial target means, or the status for none
// or several.
func (c *Cluster) findTarget(t *pb.TargetHost) (*node, error) {
	host, port, err := net.SplitHostPort(t.HostPort)
	if err != nil || host == "" {
		return nil, status.Error(codes.InvalidArgument, "dial target contains an invalid hostport")
	}
	if t.Cluster != c.settings.Name {
		return nil, unknownCluster(t.Cluster)
	}
	nodes, err := c.allNodes()
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	found := matchNodes(nodes, host, port)
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return nil, status.Error(codes.NotFound, textAmbiguous)
	case looksLikeID(host):
		return nil, status.Errorf(codes.NotFound, "unable to locate node matching UUID-like target %s", host)
	}
	return nil, status.Errorf(codes.Unavailable, "target host %s is offline or does not exist", host)
}

// matchNodes applies the routing rules: every node gets a score for host and
// port ("" and "0" are any), and those with the highest count.
func matchNodes(nodes []*node, host, port string) []*node {
	var found []*node
	best := 1
	for _, n := range nodes {
		score := n.score(host, port)
		if score < best {
			continue
		}
		if score > best {
			best, found = score, nil
		}
		found = append(found, n)
	}
	return found
}

// score is how well a target fits the node; 3 is an exact ID, which beats
// everything, 0 is not at all.
func (n *node) score(host, port string) int {
	if host == n.id {
		if looksLikeID(host) {
			return 3
		}
		return 1
	}
	addrHost, addrPort, err := net.SplitHostPort(n.addr)
	if err != nil || port != "" && port != "0" && port != addrPort {
		return 0
	}
	if host == n.hostname || host == addrHost {
		return 2
	}
	// The one name that is resolved: nothing here asks the network.
	if host == "localhost" && addrHost == "127.0.0.1" {
		return 1
	}
	return 0
}

// looksLikeID: a UUID, or an EC2 name, <digits>-i-<hex>.
func looksLikeID(s string) bool {
	if _, err := uuid.Parse(s); err == nil && len(s) == 36 {
		return true
	}
	account, instance, ok := strings.Cut(s, "-i-")
	return ok && account != "" && instance != "" &&
		strings.Trim(account, "0123456789") == "" && strings.Trim(instance, "0123456789abcdef") == ""
}
