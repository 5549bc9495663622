package sdktest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/api"
	"github.com/seed-087d674e/tsh/credentials"
	"github.com/seed-087d674e/tsh/internal/devcluster"
	"github.com/seed-087d674e/tsh/internal/testenv"
)

// rotatedUsers is of how many users the identity is, one after the other: who the cluster
// takes a caller for says which generation of the file its connection was made with.
const rotatedUsers = 8

// generations renews an identity file and knows what has to be seen of it.
type generations struct {
	*world
	creds    *credentials.DynamicIdentityFile
	config   *tls.Config  // made of creds at the beginning
	written  atomic.Int64 // the generation that is being written
	inForce  atomic.Int64 // the oldest that may be seen
	calls    [2]atomic.Int64
	failures atomic.Int64
}

func userOf(generation int64) string { return "user-" + strconv.FormatInt(generation%rotatedUsers, 10) }

func newGenerations(t *testing.T) *generations {
	g := &generations{world: newWorld(t)}
	for n := range int64(rotatedUsers) {
		spec := devcluster.UserSpec{Name: userOf(n), Password: alicePassword, Roles: []string{"access"}, Logins: []string{"root"}}
		if _, err := g.cluster.AddUser(spec); err != nil {
			t.Fatal(err)
		}
	}
	testenv.Write(t, g.path("rotated.id"), string(g.content(1)))
	g.written.Store(1)
	g.inForce.Store(1)
	var err error
	if g.creds, err = credentials.NewDynamicIdentityFile(g.path("rotated.id")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.creds.Close() })
	if g.config, err = g.creds.TLSConfig(); err != nil {
		t.Fatal(err)
	}
	return g
}

func (g *generations) must(err error) {
	g.t.Helper()
	if err != nil {
		g.t.Fatal(err)
	}
}

// content is a new identity file.
func (g *generations) content(generation int64) []byte {
	signed, err := g.cluster.SignUser(devcluster.SignSpec{User: userOf(generation), TTL: time.Hour})
	g.must(err)
	return signed.Files[0].Data
}

// renew puts the next generation into the file: by a rename, by writing where the file is,
// by switching a link, after something that is broken. It returns when that is in force,
// mostly because Reload was called.
func (g *generations) renew(n int64) {
	path, content := g.path("rotated.id"), g.content(n)
	switch n % 4 {
	case 0:
		testenv.Write(g.t, path+".new", string(content))
		g.written.Store(n)
		g.must(os.Rename(path+".new", path))
	case 1:
		g.written.Store(n)
		testenv.Write(g.t, path, string(content))
	case 2:
		target := g.path("generation-" + userOf(n))
		testenv.Write(g.t, target, string(content))
		g.written.Store(n)
		g.must(os.Symlink(filepath.Base(target), path+".link"))
		g.must(os.Rename(path+".link", path))
	default:
		testenv.Write(g.t, path, string(content[:len(content)/2]))
		if err := g.creds.Reload(); err == nil {
			g.t.Error("half a file is taken for an identity")
		}
		g.written.Store(n)
		testenv.Write(g.t, path, string(content))
	}
	if n%20 >= 4 { // the others have to be noticed
		g.must(g.creds.Reload())
	}
	g.awaitForce(n)
}

// awaitForce waits until handshakes have the generation.
func (g *generations) awaitForce(n int64) {
	ctx, cancel := context.WithTimeout(g.t.Context(), patience)
	defer cancel()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for {
		cert, err := g.config.GetClientCertificate(new(tls.CertificateRequestInfo))
		g.must(err)
		if cert.Leaf.Subject.CommonName == userOf(n) {
			g.inForce.Store(n)
			return
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			g.t.Fatalf("generation %d is not noticed", n)
		}
	}
}

// check makes a call and compares who the cluster took us for with what was in the file since
// the given generation.
func (g *generations) check(oldest int64, client *api.Client) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	user, err := client.CurrentUser(ctx)
	if err != nil {
		return err
	}
	for n := oldest; n <= g.written.Load(); n++ {
		if user.Name == userOf(n) {
			return nil
		}
	}
	return fmt.Errorf("%s, and not that of generation %d or later", user.Name, oldest)
}

// anew makes a call over a connection of its own.
func (g *generations) anew(config api.Config) error {
	oldest := g.inForce.Load()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	client, err := api.Connect(ctx, config)
	if err != nil {
		return err
	}
	return errors.Join(g.check(oldest, client), client.Close())
}

// lasting is one client that many callers share, and whose connection ends between calls.
type lasting struct {
	*api.Client
	calls  sync.RWMutex // held for writing while the connection ends
	oldest int64        // that the connection may be of

	mu    sync.Mutex
	conns []net.Conn
}

func (l *lasting) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err == nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.conns = append(l.conns, conn)
	}
	return conn, err
}

// cut ends the connection; the next one has generation n or a later one.
func (l *lasting) cut(n int64) (ended int) {
	l.calls.Lock()
	defer l.calls.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.oldest, ended = n, len(l.conns)
	for _, conn := range l.conns {
		_ = conn.Close()
	}
	l.conns = nil
	return ended
}

func (l *lasting) call(g *generations) error {
	l.calls.RLock()
	defer l.calls.RUnlock()
	return g.check(l.oldest, l.Client)
}

// callers makes 16 of them call until stop is closed: each second one over the lasting
// connection, the others over new ones, by all ways.
func (g *generations) callers(l *lasting, stop <-chan struct{}) *sync.WaitGroup {
	ways := []api.Config{
		{Addrs: []string{g.cluster.AuthAddr()}}, {Addrs: []string{g.cluster.PublicAddr()}},
		{TunnelAddr: g.cluster.TunnelAddr()}, {Addrs: []string{g.cluster.AuthAddr(), g.cluster.PublicAddr()}, TunnelAddr: g.cluster.TunnelAddr()},
	}
	var wg sync.WaitGroup
	for caller := range 16 {
		config := ways[caller/2%len(ways)]
		config.Credentials = []credentials.Credentials{g.creds}
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				var err error
				if caller%2 == 0 {
					err = g.anew(config)
				} else {
					err = l.call(g)
				}
				g.calls[caller%2].Add(1)
				if err != nil && g.failures.Add(1) < 5 {
					g.t.Errorf("caller %d: %v", caller, err)
				}
			}
		})
	}
	return &wg
}

// No call fails while the identity is renewed, neither over new connections nor over one
// that lasts and is made again with what is in force then.
func TestRotationUnderLoad(t *testing.T) {
	rotations := int64(20)
	if testenv.All() {
		rotations = 1000
	}
	g := newGenerations(t)
	l := &lasting{oldest: 1}
	var err error
	l.Client, err = api.Connect(t.Context(), api.Config{Addrs: []string{g.cluster.AuthAddr()}, Credentials: []credentials.Credentials{g.creds}, Dial: l.dial})
	g.must(err)
	defer l.Close()
	stop := make(chan struct{})
	wg := g.callers(l, stop)
	end := sync.OnceFunc(func() { close(stop); wg.Wait() })
	defer end()
	reconnected := 0
	for n := int64(2); n <= rotations+1 && g.failures.Load() == 0; n++ {
		g.renew(n)
		reconnected += l.cut(n)
	}
	end()
	t.Logf("%d rotations, %d calls over connections of their own, %d over one that was cut %d times, %d failed",
		rotations, g.calls[0].Load(), g.calls[1].Load(), reconnected, g.failures.Load())
	if int64(reconnected) < rotations/2 {
		t.Errorf("the lasting connection was made only %d times", reconnected)
	}
}
