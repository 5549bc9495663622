package sshagent

import (
	"fmt"
	"net/netip"
	"strings"
	"unicode"
)

// scheme begins the comment of every entry of a login, "teleport:<P>:<C>:<U>".
const scheme = "teleport:"

// owner is what the comment of an entry says.
//
// Nothing in a comment tells a separator from a colon in a proxy that is an IPv6
// address or in the name of a user; only names of clusters have none. So the
// comment is compared with the names one looks for (see is) wherever these are
// known: then only owners whose comments are the same, byte for byte, are taken for
// each other. That takes a user with a colon and a proxy whose name is also the
// beginning of another proxy's, up to a colon: two IPv6 addresses, or one and a
// host with a name like "2001". What can come of it is that one login of the
// person's own removes the other's entry, which the next login puts back.
type owner struct{ proxy, cluster, user string }

func (o owner) comment() string { return scheme + o.proxy + ":" + o.cluster + ":" + o.user }

// check refuses what would make a comment that is not found again.
func (o owner) check() error {
	switch {
	case !isProxy(o.proxy):
		return fmt.Errorf("%q is no name of a proxy", o.proxy)
	case !isCluster(o.cluster):
		return fmt.Errorf("%q is no name of a cluster", o.cluster)
	case o.user == "", strings.ContainsFunc(o.user, unicode.IsControl):
		return fmt.Errorf("%q is no name of a user", o.user)
	}
	return nil
}

// isProxy accepts a host name or an IPv6 address, as far as colons are concerned.
func isProxy(s string) bool {
	if strings.Contains(s, ":") {
		addr, err := netip.ParseAddr(s)
		return err == nil && addr.Zone() == "" // a zone may be any text
	}
	return s != "" && !strings.ContainsFunc(s, unicode.IsControl)
}

func isCluster(s string) bool {
	return s != "" && !strings.Contains(s, ":") && !strings.ContainsFunc(s, unicode.IsControl)
}

// is reports whether a comment is that of the user of the proxy, in any cluster.
func is(comment, proxy, user string) bool {
	rest, ok := strings.CutPrefix(comment, scheme+proxy+":")
	if !ok {
		return false
	}
	cluster, ok := strings.CutSuffix(rest, ":"+user)
	return ok && proxy != "" && user != "" && isCluster(cluster)
}

// read tells whose entry it is by its comment alone, for when one does not know whom
// to look for; false for a comment that is not of this kind. The id of the key's
// certificate, which Teleport sets to the user, settles where the user begins. Without
// it the longest IPv6 address in front is the proxy, or else the first word.
func read(comment, keyID string) (owner, bool) {
	rest, ok := strings.CutPrefix(comment, scheme)
	if !ok {
		return owner{}, false
	}
	if head, ok := strings.CutSuffix(rest, ":"+keyID); ok && keyID != "" {
		if i := strings.LastIndexByte(head, ':'); i > 0 {
			if o := (owner{head[:i], head[i+1:], keyID}); o.check() == nil {
				return o, true
			}
		}
	}
	const longest = 45 // bytes of an IPv6 address
	for i := min(len(rest), longest+1) - 1; i > 0; i-- {
		if rest[i] != ':' || !isProxy(rest[:i]) {
			continue
		}
		cluster, user, _ := strings.Cut(rest[i+1:], ":")
		if o := (owner{rest[:i], cluster, user}); o.check() == nil {
			return o, true
		}
	}
	proxy, rest, _ := strings.Cut(rest, ":")
	cluster, user, _ := strings.Cut(rest, ":")
	o := owner{proxy, cluster, user}
	return o, o.check() == nil
}
