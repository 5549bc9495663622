package api

import (
	"context"
	"fmt"
	"net"
	"strconv"

	"github.com/seed-087d674e/tsh/internal/wire"
)

const methodResolve = "/proto.AuthService/ResolveSSHTarget"

// ResolveNode finds the one node that host, port and req describe, all of them
// together. The cluster matches host (a host name, address or ID) and port (0 is any) as it
// does for a connection; "" leaves the choice to req. Clusters before 15 do not have the call:
// there host is a host name or an ID.
//
// Errors: *Error and others; they match ErrNotFound if there is no such node, and
// ErrAmbiguous if there are several.
func (c *Client) ResolveNode(ctx context.Context, host string, port int, req NodesRequest) (*Node, error) {
	request := &wire.ResolveSSHTargetRequest{
		Host:           host,
		Port:           strconv.Itoa(port),
		Labels:         req.Labels,
		Predicate:      req.Predicate,
		SearchKeywords: req.Search,
	}
	if host == "" {
		request.Port = ""
	}
	var reply wire.ResolveSSHTargetResponse
	err := c.call(ctx, methodResolve, request, &reply)
	if isUnimplemented(err) {
		return c.findNode(ctx, host, port, req)
	}
	if err != nil {
		return nil, err
	}
	if reply.Server == nil || reply.Server.Metadata.Name == "" {
		return nil, fmt.Errorf("%s answers %s without a node", c.addr, methodResolve)
	}
	return newNode(reply.Server), nil
}

// findNode does the same with a list that is cut short.
func (c *Client) findNode(ctx context.Context, host string, port int, req NodesRequest) (*Node, error) {
	if host != "" {
		field := "name"
		if isUUID(host) {
			field = "resource.metadata.name"
		}
		same := field + " == " + strconv.Quote(host)
		if req.Predicate != "" {
			same = "(" + req.Predicate + ") && " + same
		}
		req.Predicate = same
	}
	var found *Node
	for node, err := range c.list(ctx, req, 2) {
		if err != nil {
			return nil, err
		}
		if !node.hasPort(port) {
			continue
		}
		if found != nil {
			return nil, ErrAmbiguous
		}
		found = node
	}
	if found == nil {
		return nil, fmt.Errorf("no matching server: %w", ErrNotFound)
	}
	return found, nil
}

// hasPort reports whether the cluster may take the node for one on this port: those
// that are reached by tunnel have none.
func (n *Node) hasPort(port int) bool {
	if port == 0 || n.Spec.UseTunnel {
		return true
	}
	for _, addr := range append([]string{n.Spec.Addr}, n.Spec.PublicAddrs...) {
		if _, p, err := net.SplitHostPort(addr); err == nil && p == strconv.Itoa(port) {
			return true
		}
	}
	return false
}

// isUUID reports whether s has the form of a node's ID.
func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		hex := '0' <= s[i] && s[i] <= '9' || 'a' <= s[i]|0x20 && s[i]|0x20 <= 'f'
		if dash != (s[i] == '-') || !dash && !hex {
			return false
		}
	}
	return true
}
