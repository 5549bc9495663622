package keystore

import (
	"bytes"
	"errors"
	"io/fs"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/seed-087d674e/tsh/internal/durable"
)

// maxReported bounds each list of InspectHosts.
const maxReported = 1000

// InspectHosts reads all of known_hosts and returns the numbers of the lines that are
// no entry or hold no key, of those that mean to revoke a key and do not, and the
// pairs of proxies, both with logins, that say to be the same cluster and have no key
// in common: one of each pair is not what it says. Each list has 1000 elements at
// most. The error is that of reading the file; a missing one is in order.
func (d Dir) InspectHosts() (unreadable, unrevoked []int, claims []*ConflictError, err error) {
	data, err := durable.Look(d.Home).ReadFile(knownHostsFile, maxKnownHosts)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil, nil
	}
	if err != nil {
		return nil, nil, nil, err
	}
	found := hostsInspection{active: d.activeProxies(), claims: map[string][]claim{}}
	for i, line := range bytes.SplitAfter(data, []byte("\n")) {
		found.line(i+1, line)
	}
	return found.unreadable, found.unrevoked, found.conflicts(), nil
}

// hostsInspection is what was seen in known_hosts so far.
type hostsInspection struct {
	unreadable, unrevoked []int
	active                map[string]bool // proxies
	order                 []string        // keys of claims as they came
	claims                map[string][]claim
}

func (h *hostsInspection) line(n int, line []byte) {
	l, ok, bad := parseHostLine(line)
	if !ok && !bad {
		return // blank, or a comment
	}
	if !bad {
		_, err := l.parseKey()
		bad = err != nil
	}
	if meansRevoked(line) {
		if bad || l.marker != markRevoked {
			note(&h.unrevoked, n)
		}
		return
	}
	if bad {
		note(&h.unreadable, n)
		return
	}
	if proxy, cluster := l.proxyCluster(); h.active[proxy] && CheckName("cluster", cluster) == nil {
		h.claim(proxy, cluster, l.key)
	}
}

func note(list *[]int, n int) {
	if len(*list) < maxReported {
		*list = append(*list, n)
	}
}

// activeProxies are those somebody is logged in to.
func (d Dir) activeProxies() map[string]bool {
	active := map[string]bool{}
	proxies, err := d.Proxies()
	if err != nil {
		return active
	}
	for _, p := range proxies {
		users, err := d.Users(p)
		active[p] = err != nil || len(users) > 0
	}
	return active
}

// claim is what a proxy brought for a cluster.
type claim struct {
	proxy, cluster string
	keys           map[string]bool // base64
}

func (c *claim) shares(other *claim) bool {
	for k := range c.keys {
		if other.keys[k] {
			return true
		}
	}
	return false
}

// claim groups by the cluster's name in lower case: some systems share its files.
func (h *hostsInspection) claim(proxy, cluster, key string) {
	name := strings.ToLower(cluster)
	list, known := h.claims[name]
	if !known {
		h.order = append(h.order, name)
	}
	for _, have := range list {
		if have.proxy == proxy {
			have.keys[key] = true
			return
		}
	}
	h.claims[name] = append(list, claim{proxy, cluster, map[string]bool{key: true}})
}

func (h *hostsInspection) conflicts() (out []*ConflictError) {
	for _, name := range h.order {
		list := h.claims[name]
		for i := range list {
			for j := range i {
				if len(out) == maxReported {
					return out
				}
				if !list[i].shares(&list[j]) {
					out = append(out, &ConflictError{
						Proxy: list[i].proxy, Cluster: list[i].cluster,
						OtherProxy: list[j].proxy, OtherCluster: list[j].cluster,
					})
				}
			}
		}
	}
	return out
}

// Authorities returns what is trusted for clusters at a proxy, as Load would, without
// an identity; with AllAuthorities also what is trusted for all others. Clusters of
// which nothing is known are left out.
func (d Dir) Authorities(proxy string, clusters ...string) ([]Authority, error) {
	found, _, err := d.trusted(proxy, clusters)
	return found, err
}

func (d Dir) trusted(proxy string, clusters []string) ([]Authority, trust, error) {
	if err := CheckName("proxy", proxy); err != nil {
		return nil, trust{}, err
	}
	for _, c := range clusters {
		if err := CheckName("cluster", c); err != nil {
			return nil, trust{}, err
		}
	}
	return barePaths(d.Home, proxy, "", "").loadAuthorities(clusters, d.AllAuthorities)
}

// HostKeys judges the keys that hosts show as an identity does that connects to a cluster
// through a proxy, at the time now, from what is trusted for the cluster there. The
// callback returns a *HostKeyError for a host that is not to be trusted.
func (d Dir) HostKeys(proxy, cluster string, now time.Time) (ssh.HostKeyCallback, error) {
	d.AllAuthorities = false
	found, t, err := d.trusted(proxy, []string{cluster})
	if err != nil {
		return nil, err
	}
	id := &Identity{Authorities: found, revoked: t.revoked, Now: func() time.Time { return now }}
	return id.checkHostKey, nil
}
