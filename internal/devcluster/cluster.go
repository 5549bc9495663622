package devcluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
)

// serverVersion is the release whose answers the dev cluster gives.
const serverVersion = "18.3.0"

// Cluster is a running dev cluster.
type Cluster struct {
	*registry
	settings   *settings
	auths      *authorities
	log        *slog.Logger
	audit      *auditLog // of a leaf: its root's
	motd       string
	ceremonies ceremonies
	enrolments enrolments
	tokensOnly bool
	sessionMFA sessionMFA
	nodes      []*node
	dials      atomic.Int64 // connections to nodes
	limits     *rateLimits
	sso        *sso
	browsers   webSessions
	trackers   trackers
	root       *Cluster               // of a leaf: the cluster it trusts
	leaf       *Cluster               // nil if there is none
	refusal    atomic.Pointer[string] // see RefuseCalls

	resumables   resumables
	noResumption bool
	sshProxyKey
	sshOnly bool

	headless     *headlessDesk
	headlessWait time.Duration
	home         string // of every login; see nodeHome

	listener net.Listener
	emulate  int
	admin    net.Listener
	router   *tlsRouter
	web      *http.Server
	adminWeb *http.Server
	legacy   *http.Server // see newLegacyServer
	grpcAuth *grpc.Server
	grpcSSH  *grpc.Server
	queues   [routeCount]*connQueue

	// Of the SSH proxy, the auth server and the tunnel; nil unless they have addresses of
	// their own.
	sshListener, authListener, tunnelListener net.Listener

	ctx      context.Context
	cancel   context.CancelFunc
	wg       sync.WaitGroup
	conns    connSet
	gate     sync.RWMutex // held for reading by web calls, for good by Close
	forget   func() bool  // the context that Start was called with
	stopOnce sync.Once
	stopErr  error

	dummyOnce sync.Once
	dummy     []byte
}

// Start runs a cluster until Close is called or ctx is done. An error names
// the directory if another process runs there; a start that fails makes no cluster.
func Start(ctx context.Context, cfg Config) (*Cluster, error) {
	if cfg.Dir == "" {
		return nil, errors.New("a dev cluster needs a directory")
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if err := checkEmulate(&cfg); err != nil {
		return nil, err
	}
	s, err := openState(cfg.Dir, true)
	if err != nil {
		return nil, err
	}
	existed, err := s.get(bucketMeta, "settings", new(settings))
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	c, err := start(s, cfg)
	if err != nil {
		if !existed { // without settings the state holds no cluster
			err = errors.Join(err, s.update(func(tx *stateTx) error { return tx.delete(bucketMeta, "settings") }))
		}
		return nil, errors.Join(err, s.close())
	}
	c.forget = context.AfterFunc(ctx, func() { _ = c.Close() })
	return c, nil
}

func start(s *state, cfg Config) (*Cluster, error) {
	listener, err := net.Listen("tcp", or(cfg.Addr, "127.0.0.1:3080"))
	if err != nil {
		return nil, err
	}
	c, err := assemble(s, cfg, listener)
	if err != nil {
		_ = listener.Close()
		return nil, err
	}
	if cfg.SeparatePorts {
		err = c.listenSSH()
	}
	if err == nil && (cfg.SeparatePorts || cfg.TunnelAddr != "") {
		err = c.listenTunnel(cfg.TunnelAddr)
	}
	if err == nil {
		err = c.listenAuth(cfg.AuthAddr)
	}
	if err == nil {
		c.audit, err = openAudit(s.dir, c.log)
	}
	if err == nil {
		err = c.openLeaf(cfg)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(s.dir, pidFile), []byte(strconv.Itoa(os.Getpid())+"\n"), 0o600)
	}
	if err == nil {
		c.admin, err = adminListen(s.dir)
	}
	if err != nil {
		return nil, errors.Join(err, c.closeListeners(), c.closeLeaf(), c.audit.close())
	}
	c.serve()
	return c, nil
}

// assemble reads or makes the state and everything that needs no goroutine.
func assemble(s *state, cfg Config, listener net.Listener) (*Cluster, error) {
	publicAddr, err := publicAddress(cfg.PublicAddr, listener.Addr())
	if err != nil {
		return nil, err
	}
	set, err := initState(s, cfg, publicAddr)
	if err != nil {
		return nil, err
	}
	c := &Cluster{
		registry: newRegistry(s, set, cfg.Clock),
		settings: set, motd: cfg.MOTD, listener: listener, emulate: cfg.Emulate, tokensOnly: cfg.TokensOnly,
		log:          newLogger(cfg.Log),
		headlessWait: cfg.HeadlessWait, noResumption: cfg.NoResumption, sshOnly: cfg.SSHOnly,
		sessionMFA: sessionMFA{cfg.MFARefusal, cfg.NoMFAReuse}, home: cfg.Home,
	}
	if c.sso, err = newSSO(cfg); err != nil {
		return nil, err
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	if c.auths, err = loadAuthorities(s); err != nil {
		return nil, err
	}
	if err := putRequestRoles(s, cfg); err != nil {
		return nil, err
	}
	if err := putMFARoles(s, cfg); err != nil {
		return nil, err
	}
	if c.nodes, err = c.makeNodes(cfg); err != nil {
		return nil, err
	}
	if c.headlessWait == 0 {
		c.headlessWait = headlessWait
	}
	c.headless = newHeadlessDesk(min(cmp.Or(cfg.HeadlessLook, headlessLook), c.headlessWait))
	if !cfg.NoRateLimit {
		c.limits = newRateLimits(cfg.Clock)
	}
	if c.router, err = c.newTLSRouter(); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(s.dir, caFile), c.auths.web.certPEM(), 0o644); err != nil {
		return nil, err
	}
	for i := range c.queues {
		c.queues[i] = newConnQueue(listener.Addr())
	}
	c.web = c.newWebServer()
	c.adminWeb = c.newAdminServer()
	c.legacy = c.newLegacyServer()
	if err := c.newGRPCServers(); err != nil {
		return nil, err
	}
	return c, nil
}

func publicAddress(addr string, listen net.Addr) (string, error) {
	if addr == "" {
		_, port, err := net.SplitHostPort(listen.String())
		return net.JoinHostPort("localhost", port), err
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil || host == "" || port == "" {
		return "", fmt.Errorf("public address %q is not host:port", addr)
	}
	return addr, nil
}

// serve starts the goroutines.
func (c *Cluster) serve() {
	c.serveLeaf()
	c.goFunc(func() { c.acceptLoop(c.listener, c.serveWebPort) })
	if c.sshListener != nil {
		c.goFunc(func() { c.acceptLoop(c.sshListener, c.serveSSHPort) })
	}
	if c.authListener != nil {
		c.goFunc(func() { c.acceptLoop(c.authListener, c.serveAuthPort) })
	}
	if c.tunnelListener != nil {
		c.goFunc(func() { c.acceptLoop(c.tunnelListener, c.serveTunnel) })
	}
	c.goFunc(func() { _ = c.web.Serve(c.queues[routeWeb]) })
	c.goFunc(func() { _ = c.adminWeb.Serve(c.admin) })
	c.goFunc(func() { _ = c.legacy.Serve(c.queues[routeAuthHTTP]) })
	c.goFunc(func() { _ = c.grpcAuth.Serve(c.queues[routeAuth]) })
	c.goFunc(func() { _ = c.grpcSSH.Serve(c.queues[routeSSH]) })
}

// goFunc runs f in a goroutine that Close waits for.
func (c *Cluster) goFunc(f func()) {
	c.wg.Add(1)
	go func() {
		defer c.wg.Done()
		f()
	}()
}

func (c *Cluster) acceptLoop(listener net.Listener, serve func(net.Conn)) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			if c.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			// Out of file descriptors, for instance: others may close some.
			select {
			case <-time.After(50 * time.Millisecond):
			case <-c.ctx.Done():
				return
			}
			continue
		}
		c.goFunc(func() { serve(conn) })
	}
}

// Close ends every connection and session, waits for all that the cluster
// started, and lets go of the directory. It may be called more than once.
func (c *Cluster) Close() error {
	c.stopOnce.Do(func() {
		if c.forget != nil {
			c.forget()
		}
		c.cancel()
		err := c.closeListeners()
		c.conns.closeAll()
		for _, q := range c.queues {
			_ = q.Close()
		}
		_ = c.web.Close()
		_ = c.adminWeb.Close()
		_ = c.legacy.Close()
		c.gate.Lock()
		c.grpcAuth.Stop()
		c.grpcSSH.Stop()
		err = errors.Join(err, c.closeLeaf())
		c.wg.Wait()
		err = errors.Join(err, c.audit.close())
		_ = os.Remove(filepath.Join(c.state.dir, pidFile))
		removeAdminSocket(c.state.dir)
		c.stopErr = errors.Join(err, c.state.close())
	})
	return c.stopErr
}

// Addr is the address that the cluster listens on, IP and port.
func (c *Cluster) Addr() string { return c.listener.Addr().String() }

func (c *Cluster) closeListeners() error {
	err := c.listener.Close()
	for _, own := range []net.Listener{c.sshListener, c.authListener, c.tunnelListener} {
		if own != nil {
			err = errors.Join(err, own.Close())
		}
	}
	return err
}

// SSHAddr is where connections to nodes begin: Addr, or a port of its own.
func (c *Cluster) SSHAddr() string { return c.sshAddr() }

// PublicAddr is the host:port that ping announces.
func (c *Cluster) PublicAddr() string { return c.settings.PublicAddr }

// Name of the cluster.
func (c *Cluster) Name() string { return c.settings.Name }

// CAFile is the path of a PEM file with the authority of the web certificate,
// for SSL_CERT_FILE.
func (c *Cluster) CAFile() string { return filepath.Join(c.state.dir, caFile) }

// AddUser adds a user. The user, a missing role or a bad name is an error.
func (c *Cluster) AddUser(spec UserSpec) (Enrolment, error) { return c.addUser(spec) }

// ResetUser gives a user a new password, made up if empty, and a new device,
// and lifts a lock.
func (c *Cluster) ResetUser(name, password string) (Enrolment, error) {
	return c.resetUser(name, password)
}

// RemoveDevices takes all second factors from a user, as an administrator does
// for one who has lost them.
func (c *Cluster) RemoveDevices(name string) error {
	return c.changeUser(name, func(u *user) error {
		u.Devices = nil
		return nil
	})
}

// RenameDevices gives all second factors of a user one name, whatever it is:
// what a cluster sends that nobody has checked.
func (c *Cluster) RenameDevices(owner, name string) error {
	return c.changeUser(owner, func(u *user) error {
		for _, d := range u.Devices {
			d.Name = name
		}
		return nil
	})
}

// RemoveUser removes a user. Certificates that were issued stay valid.
func (c *Cluster) RemoveUser(name string) error { return c.removeUser(name) }

// Users lists the users by name.
func (c *Cluster) Users() ([]User, error) { return c.users() }
