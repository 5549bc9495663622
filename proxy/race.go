package proxy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

const (
	// raceTimeout limits finding out the port, altogether.
	raceTimeout = 5 * time.Second
	// headStart is how long a remembered port is tried alone.
	headStart = time.Second
)

// attempt is what became of pinging one port.
type attempt struct {
	link *link
	ping *Ping
	err  error
}

// race pings the ports that a proxy may listen on, all at once. The first real
// answer wins, and the connection it came over is the one that is kept; the
// others are closed.
func (c *Client) race(ctx context.Context, path string) (*link, *Ping, error) {
	ctx, cancel := context.WithTimeout(ctx, raceTimeout)
	defer cancel()
	ports := []int{httpsPort, defaultWebPort}
	together := len(ports)
	if remembered := c.opts.RememberedPort; remembered != 0 {
		ports, together = withFirst(remembered, ports), 1
	}
	done := make(chan attempt, len(ports))
	var links []*link
	start := func(until int) {
		for _, port := range ports[len(links):until] {
			l := newLink(&c.opts, port)
			links = append(links, l)
			go func() {
				ping, err := l.ping(ctx, path)
				done <- attempt{l, ping, err}
			}()
		}
	}
	start(together)
	patience := time.NewTimer(headStart)
	defer patience.Stop()

	var winner attempt
	var lost []attempt
	for winner.link == nil && len(lost) < len(ports) {
		select {
		case <-patience.C:
			start(len(ports))
		case a := <-done:
			if a.err == nil {
				winner = a
				break
			}
			lost = append(lost, a)
			start(len(ports))
		}
	}
	if winner.link == nil {
		winner = judge(ctx, c.opts.Addr.Host, lost)
	}
	for _, l := range links {
		if l != winner.link {
			l.close()
		}
	}
	return winner.link, winner.ping, winner.err
}

// withFirst is ports with one of them, or another, put first.
func withFirst(first int, ports []int) []int {
	ordered := []int{first}
	for _, port := range ports {
		if port != first {
			ordered = append(ordered, port)
		}
	}
	return ordered
}

// judge says what it means that no port gave a ping's answer. If exactly one
// has a proxy that says no, that is the proxy and its word counts.
func judge(ctx context.Context, host string, lost []attempt) attempt {
	var refused []attempt
	failure := &raceError{host: host}
	for _, a := range lost {
		var e *Error
		if errors.As(a.err, &e) && e.fromAPI {
			refused = append(refused, a)
		}
		failure.causes = append(failure.causes, a.err)
	}
	if len(refused) == 1 {
		return refused[0]
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.DeadlineExceeded) {
		return attempt{err: cause}
	}
	return attempt{err: failure}
}

// raceError is that no port of a host has a proxy.
type raceError struct {
	host   string
	causes []error
}

func (e *raceError) Error() string {
	var parts []string
	for _, cause := range e.causes {
		parts = append(parts, cause.Error())
	}
	return fmt.Sprintf("no Teleport proxy found on %s: %s", e.host, strings.Join(parts, "; "))
}

func (e *raceError) Unwrap() []error { return e.causes }
