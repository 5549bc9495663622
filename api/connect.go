package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/seed-087d674e/tsh/internal/text"
)

// The ways to an auth server, as Attempt names them.
const (
	WayAuth   = "auth server" // directly
	WayProxy  = "web proxy"   // through a proxy: by TLS routing, upgraded from HTTP or not, or over its SSH address
	WayTunnel = "SSH tunnel"  // through the SSH server that a proxy has for reverse tunnels
)

const (
	dialTimeout = 30 * time.Second
	// maxCause limits, in columns, what is shown of the cause of a failure.
	maxCause = 1 << 10
)

var (
	errNoCredentials = errors.New("no credentials to connect with")
	errNoAddress     = errors.New("no address to connect to: none was given, and these credentials know none (those of LoadProfile do)")
)

// Attempt is one way to connect that was tried, and how it failed.
type Attempt struct {
	Addr string // host:port; empty where it did not come to that
	Way  string // WayAuth, WayProxy or WayTunnel; empty where it did not come to that
	Err  error
	// Credentials is the place in Config.Credentials, from 0, of those that were used.
	Credentials int
}

// ConnectError says that no way to connect works, and why. It wraps the causes of all attempts.
type ConnectError struct {
	Attempts []Attempt // in the order in which they failed
}

// Error has a line for each address and cause, with the ways that failed for it.
func (e *ConnectError) Error() string {
	several := slices.ContainsFunc(e.Attempts, func(a Attempt) bool { return a.Credentials > 0 })
	type line struct {
		where string // the credentials and the address
		ways  []string
		cause string
	}
	var lines []line
	for _, a := range e.Attempts {
		l := line{cause: text.Cut(text.Line(strings.TrimPrefix(a.Err.Error(), a.Addr+": ")), maxCause)}
		if several {
			l.where = fmt.Sprintf("credentials %d, ", a.Credentials+1)
		}
		l.where += text.Line(a.Addr)
		i := slices.IndexFunc(lines, func(o line) bool { return o.where == l.where && o.cause == l.cause })
		if i < 0 {
			i, lines = len(lines), append(lines, l)
		}
		if a.Way != "" && !slices.Contains(lines[i].ways, a.Way) {
			lines[i].ways = append(lines[i].ways, a.Way)
		}
	}
	var b strings.Builder
	b.WriteString("no way to connect works:")
	for _, l := range lines {
		b.WriteString("\n  " + l.where)
		if slices.Sort(l.ways); len(l.ways) > 0 {
			b.WriteString(" as " + strings.Join(l.ways, ", ") + ": ")
		}
		b.WriteString(l.cause)
	}
	return b.String()
}

// Unwrap returns the causes of all attempts.
func (e *ConnectError) Unwrap() []error {
	causes := make([]error, len(e.Attempts))
	for i, a := range e.Attempts {
		causes[i] = a.Err
	}
	return causes
}

// Connect connects to an auth server, whichever way works first: directly, through the web
// proxy by TLS routing (upgraded from HTTP where that is needed) or over its SSH address,
// or through its SSH tunnel. Addresses that the web proxy can be asked for need not be
// given. All ways of all addresses and credentials are tried at the same time; where the
// credentials know how their proxy is reached and no address is given, that way is tried
// alone for a quarter of a second. The first one that connects is kept, the others are
// closed. With several credentials a way has connected only once the server has accepted
// their certificate.
//
// Should the connection break, the next call makes a new one, by the way that worked and
// with what the credentials have then; if that fails, all ways are tried again.
//
// The error is a *ConnectError, as soon as the last way has failed, DialTimeout has passed
// or ctx has ended. It wraps what failed: the errors of package proxy, those of the
// credentials (*credentials.UnsupportedError for the SSH tunnel where they are for TLS
// alone, which leaves the other ways), ctx's. A certificate that has expired may show only
// with the first call.
func Connect(ctx context.Context, cfg Config) (*Client, error) {
	if len(cfg.Credentials) == 0 {
		return nil, errNoCredentials
	}
	c := &connector{cfg: cfg}
	conn, err := c.connect(ctx, nil)
	if err != nil {
		return nil, err
	}
	first := conn
	client, err := newClient(ctx, Client{addr: c.won.addr(), root: c.won.route.Cluster, dial: func(ctx context.Context, http1 bool) (net.Conn, error) {
		if http1 {
			return c.oldDial(ctx)
		}
		if known := first; known != nil { // rpc asks for one connection at a time
			first = nil
			return known, nil
		}
		return c.connect(ctx, c.winner())
	}})
	if err != nil {
		_ = conn.Close() // ctx may have ended before it was asked for
	}
	return client, err
}

// connector finds the way to connect, and remembers it.
type connector struct {
	cfg Config

	mu  sync.Mutex
	won *way // that has worked last
}

func (c *connector) winner() *way {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.won
}

// oldDial connects, by the way that has worked last, without HTTP/2.
func (c *connector) oldDial(ctx context.Context) (net.Conn, error) {
	w, err := c.winner().renewed()
	if err != nil {
		return nil, err
	}
	w.route.HTTP1, w.greeting = true, false // the server waits for a request
	return w.dial(ctx)
}

// connect tries the way that has worked before, if there is one, and else all.
func (c *connector) connect(ctx context.Context, before *way) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(c.cfg.DialTimeout, dialTimeout))
	defer cancel()
	tries := c.cfg.tries()
	if before != nil {
		tries = []*try{before.again(tries)}
	}
	won, conn, failed := run(ctx, cmp.Or(c.cfg.headStart, headStart), tries)
	if conn == nil {
		return nil, &ConnectError{failed}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.won = won
	return conn, nil
}
