package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/seed-087d674e/tsh/api"
	"github.com/seed-087d674e/tsh/internal/text"
	"github.com/seed-087d674e/tsh/profile"
)

// How many proxies are asked for their clusters, and clusters for their servers, at once.
const (
	proxiesAtOnce  = 6
	clustersAtOnce = 10
)

// allList is a list of the servers of all clusters.
type allList struct {
	opts   lsOptions
	order  nodeOrder
	format string
	places []*clusterList
}

// clusterList is the part of it that one cluster has.
type clusterList struct {
	session *session
	client  *api.Client // of a root cluster, which is there already
	nodes   []*api.Node
	err     error
}

// runLsAll lists the servers of all clusters of all logins that are valid. What went wrong
// is said after what there is.
func (a *app) runLsAll(ctx context.Context, l *allList) error {
	if err := a.checkAll(); err != nil {
		return err
	}
	store, err := a.openStore()
	if err != nil {
		return err
	}
	a.globals.cluster = "" // from the environment
	roots, failed, err := a.validSessions(store)
	if err != nil {
		return err
	}
	done := a.ui.waiting(fmt.Sprintf("the clusters of %d logins", len(roots)))
	defer done()
	families := make([][]*clusterList, len(roots))
	atOnce(len(roots), proxiesAtOnce, func(i int) { families[i] = a.family(ctx, roots[i]) })
	for _, family := range families {
		l.places = append(l.places, family...)
	}
	atOnce(len(l.places), clustersAtOnce, func(i int) { a.fill(ctx, l, l.places[i]) })
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	done()
	return a.printAll(l, failed)
}

// checkAll refuses what is about one login or cluster, unless it is the environment that
// says so.
func (a *app) checkAll() error {
	g := &a.globals
	switch {
	case g.userFlag, g.clusterFlag, g.proxy != "" && g.proxy != os.Getenv("TELEPORT_PROXY"):
		return usagef("--all goes to all logins and their clusters: --proxy, --user and --cluster say otherwise")
	case g.headless.on:
		return usagef("--all lists stored logins, and --headless stores none")
	}
	return g.refuseIdentity("ls --all")
}

// validSessions are the logins that are valid, in the order of their names. Those that
// have expired are named, those that cannot be used are counted, too.
func (a *app) validSessions(store *profile.Store) (valid []*session, failed int, err error) {
	names, err := store.List()
	if err != nil {
		return nil, 0, err
	}
	expired := false
	for _, name := range names {
		p, err := store.Load(name)
		if err == nil {
			var s *session
			if s, err = a.rootSession(store, p); err == nil {
				valid = append(valid, s)
				continue
			}
		}
		switch e := a.profileEntry(store, name); e.State {
		case stateExpired, stateEarly:
			expired = true
			a.ui.say("left out: %s at %s, whose login is %s: tsh login --proxy=%s", text.Line(e.User), name, e.validity(a.now()), e.Proxy)
		case stateLoggedOut:
		default:
			failed++
			a.ui.warn("%s: %v", name, err)
		}
	}
	if len(valid) == 0 && failed == 0 {
		if expired {
			err = withHint(errors.New("no login is valid"), "log in again: tsh login --proxy=HOST")
		} else {
			err = profile.ErrNoCurrent
		}
	}
	return valid, failed, err
}

// rootSession is the stored login of a profile, to the cluster that was logged in to.
func (a *app) rootSession(store *profile.Store, p *profile.Profile) (*session, error) {
	s, err := a.useSession(store, p)
	if err == nil {
		s.cluster = s.id.RootCluster()
	}
	return s, err
}

// family are the clusters of a login: the root and its leaves, whose authorities are
// taken from the root for this one time.
func (a *app) family(ctx context.Context, root *session) []*clusterList {
	first := &clusterList{session: root}
	if first.client, first.err = a.connectAPI(ctx, root); first.err != nil {
		return []*clusterList{first}
	}
	all := []*clusterList{first}
	clusters, err := first.client.Clusters(ctx)
	leaves := clusters[1:]
	trusting := root.id
	if err == nil && len(leaves) > 0 {
		trusting, err = a.authoritiesOf(ctx, first.client, root, func(string) bool { return true })
	}
	if err != nil {
		return append(all, &clusterList{session: root, err: fmt.Errorf("its leaf clusters: %w", err)})
	}
	for _, leaf := range leaves {
		id := trusting.Trusting(nil, func(cluster string) bool { return cluster == root.cluster || cluster == leaf.Name })
		all = append(all, &clusterList{session: &session{profile: root.profile, id: id, cluster: leaf.Name}})
	}
	return all
}

// fill lists the servers of one cluster.
func (a *app) fill(ctx context.Context, l *allList, c *clusterList) {
	if c.err != nil {
		return
	}
	if c.client == nil {
		if c.client, c.err = a.connectCluster(ctx, c.session, c.session.cluster); c.err != nil {
			return
		}
	}
	defer c.client.Close()
	request := l.opts.request()
	request.Sort = l.order.streams()
	c.nodes, c.err = collectNodes(c.client.Nodes(ctx, request), l.order)
}

func (a *app) printAll(l *allList, failed int) error {
	var rows []placedNode
	for _, c := range l.places {
		var names []string
		for _, n := range c.nodes {
			names = append(names, n.Spec.Hostname)
			rows = append(rows, placedNode{c.session.profile.WebProxyAddr, c.session.cluster, n})
		}
		a.rememberHosts(c.session, names, c.err == nil && l.opts.selectsAll())
	}
	p := &nodePrinter{app: a, format: l.format, verbose: l.opts.verbose, places: true}
	if err := p.begin(rows); err != nil {
		return err
	}
	if err := p.end(); err != nil {
		return err
	}
	for _, c := range l.places {
		if c.err != nil {
			failed++
			a.ui.warn("%s, cluster %s: %v", c.session.profile.Name, text.Line(c.session.cluster), c.err)
		}
	}
	switch {
	case failed > 0:
		return fmt.Errorf("the list is not complete: %d could not be asked", failed)
	case len(rows) == 0 && l.format == formatText:
		a.ui.say("No server matches, or your roles show you none.")
	}
	return nil
}

// atOnce calls f with 0 to n-1, so many at once, and waits.
func atOnce(n, most int, f func(i int)) {
	var all sync.WaitGroup
	free := make(chan struct{}, most)
	for i := range n {
		free <- struct{}{}
		all.Go(func() {
			f(i)
			<-free
		})
	}
	all.Wait()
}
