package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/seed-087d674e/tsh/proxy"
)

const (
	// pingTimeout is what is waited for a proxy.
	pingTimeout = 5 * time.Second
	// maxAsked is how many proxies are asked, all at once.
	maxAsked = 100
	// maxSkew is by how much a clock may differ: certificates begin a minute early.
	maxSkew = time.Minute
)

// target is a proxy to ask and what it said.
type target struct {
	_    [0]func() // never compared
	name string    // of the profile
	addr proxy.Addr
	err  error
	skew time.Duration // what the clock here is ahead
	told bool          // it said what time it is
}

// askProxies begins to ask the proxies of all profiles; what it returns waits for the
// answers.
func (e *exam) askProxies() (answers func() []*target) {
	targets := e.targets()
	done := make(chan struct{})
	go func() {
		defer close(done)
		each(min(len(targets), maxAsked), maxAsked, func(i int) { e.ask(targets[i]) })
	}()
	return func() []*target {
		<-done
		return targets
	}
}

func (e *exam) targets() (all []*target) {
	for _, p := range e.profiles {
		t := &target{name: p.Name}
		t.addr, t.err = proxy.ParseAddr(p.WebProxyAddr)
		if e.Name == p.Name && e.Addr.WebPortGiven && e.Addr.Host == p.Name {
			t.addr = e.Addr
		}
		all = append(all, t)
	}
	if len(all) == 0 && e.Addr.Host != "" {
		all = append(all, &target{name: e.Name, addr: e.Addr})
	}
	return all
}

func (e *exam) ask(t *target) {
	if t.err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(e.ctx, pingTimeout)
	defer cancel()
	opts := e.Options.Proxy
	opts.Addr = t.addr
	client := proxy.NewClient(opts)
	defer client.Close()
	if _, t.err = client.Ping(ctx, ""); t.err != nil {
		return
	}
	if date, err := client.Time(ctx); err == nil {
		t.skew, t.told = e.Now().Sub(date), true
	}
}

// proxies reports what asking them has shown.
func (e *exam) proxies(targets []*target) {
	for i, t := range targets {
		f := Finding{Check: checkProxy, Status: Warning, Subject: t.name, Cause: t.err}
		var trust *proxy.TrustError
		switch {
		case i >= maxAsked:
			e.ok(checkProxy, e.Home, fmt.Sprintf("%d more proxies were not asked", len(targets)-i))
			e.skewed(targets[:i])
			return
		case t.err == nil:
			e.ok(checkProxy, t.name, "answers")
			continue
		case errors.As(t.err, &trust):
			f.Status, f.Message = Problem, t.err.Error()
		default:
			f.Message, f.Hint = "cannot be reached: "+t.err.Error(), "check the network and the proxy's address"
		}
		e.add(f)
	}
	e.skewed(targets)
}

// skewed compares the clock here with those of the proxies.
func (e *exam) skewed(targets []*target) {
	var off []string
	var skew time.Duration
	told := false
	for _, t := range targets {
		told = told || t.told
		if t.told && t.skew.Abs() > maxSkew {
			off = append(off, t.name)
			skew = t.skew
		}
	}
	if len(off) == 0 {
		if told {
			e.ok(checkClock, "clock", "is that of the proxies")
		}
		return
	}
	const most = 3
	if more := len(off) - most; more > 0 {
		off = append(off[:most], fmt.Sprintf("%d more", more))
	}
	way := "ahead of"
	if skew < 0 {
		way = "behind"
	}
	e.add(Finding{Check: checkClock, Status: Warning, Subject: "clock",
		Message: fmt.Sprintf("the clock here is %v %s that of %s", skew.Abs().Round(time.Second), way, strings.Join(off, ", ")),
		Hint:    "set the clock of this machine"})
}
