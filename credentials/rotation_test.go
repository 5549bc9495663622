package credentials

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/seed-087d674e/tsh/internal/testenv"
)

// rotator renews an identity file in all the ways that programs do.
type rotator struct {
	t    *testing.T
	c    *testCluster
	path string
	d    *DynamicIdentityFile // nil before the first

	written  atomic.Int64 // the generation that is being written
	seen     atomic.Int64 // the last one that was seen in force
	failures atomic.Int64 // reports of broken content
}

// ways are those in which a file is renewed.
func (r *rotator) ways() []func(content string) {
	return []func(string){r.rename, r.write, r.swapLink, r.recreate, r.brokenBefore, r.swapDirectory}
}

func (r *rotator) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rotator) rename(content string) { replace(r.t, r.path, content) }

// write truncates the file and writes it in two parts, as an editor or a tool does that
// knows no better.
func (r *rotator) write(content string) {
	file, err := os.OpenFile(r.path, os.O_WRONLY|os.O_TRUNC, 0)
	r.must(err)
	cut := rand.IntN(len(content))
	_, err = file.WriteString(content[:cut])
	r.must(err)
	if r.failures.Load() == 0 || rand.IntN(4) == 0 { // long enough to be looked at
		r.d.Expiry()
	}
	_, err = file.WriteString(content[cut:])
	r.must(errors.Join(err, file.Close()))
}

// swapLink is what Kubernetes does: id leads to ..data/id, and ..data to a new directory.
func (r *rotator) swapLink(content string) {
	dir := filepath.Dir(r.path)
	fresh, err := os.MkdirTemp(dir, "..")
	r.must(err)
	testenv.Write(r.t, filepath.Join(fresh, "id"), content)
	before, _ := os.Readlink(filepath.Join(dir, "..data"))
	r.link(filepath.Base(fresh), filepath.Join(dir, "..data"))
	r.link(filepath.Join("..data", "id"), r.path)
	if before != "" {
		r.must(os.RemoveAll(filepath.Join(dir, before)))
	}
}

// link puts a link in the place of what is there, as a whole.
func (r *rotator) link(to, path string) {
	r.must(os.Symlink(to, path+".link"))
	r.must(os.Rename(path+".link", path))
}

func (r *rotator) recreate(content string) {
	r.must(os.Remove(r.path))
	testenv.Write(r.t, r.path, content)
}

// brokenBefore leaves something broken there until that was noticed.
func (r *rotator) brokenBefore(content string) {
	before := r.failures.Load()
	switch rand.IntN(3) {
	case 0:
		r.rename(content[:rand.IntN(len(content)-30)])
	case 1:
		r.rename("junk\n" + strings.Replace(content, "BEGIN", "BEGIN X", 1))
	default:
		r.must(os.Remove(r.path))
	}
	until(r.t, "report of broken content", func() bool { return r.failures.Load() > before })
	r.rename(content)
}

// swapDirectory gives the directory to another one that has its name.
func (r *rotator) swapDirectory(content string) {
	dir := filepath.Dir(r.path)
	r.must(os.RemoveAll(dir + ".old"))
	testenv.Write(r.t, filepath.Join(dir+".new", "id"), content)
	r.must(os.Rename(dir, dir+".old"))
	r.must(os.Rename(dir+".new", dir))
}

// check makes sure that what is in force was written as a whole, and is no older than what
// was seen before.
func (r *rotator) check(oldest int64) error {
	id := r.d.current.Load().id
	n := id.TLSCert.SerialNumber.Int64()
	switch {
	case n < oldest || n > r.written.Load():
		return fmt.Errorf("generation %d, after %d", n, oldest)
	case int64(id.SSHCert.Serial) != n, len(id.Authorities) != 1, len(id.Authorities[0].SSHKeys) != 1, len(id.Authorities[0].TLSCerts) != 1,
		id.Authorities[0].TLSCerts[0].SerialNumber.Int64() != n:
		return fmt.Errorf("generation %d is mixed with another", n)
	}
	_, err := serial(r.d)
	return err
}

// uses are what callers do, over and over. They return the generation that showed.
func (r *rotator) uses() []func() (int64, error) {
	config, err := r.d.TLSConfig()
	r.must(err)
	overSSH, err := r.d.SSHClientConfig()
	r.must(err)
	return []func() (int64, error){
		func() (int64, error) { return serial(r.d) },
		func() (int64, error) { // a configuration that was just made
			config, err := r.d.SSHClientConfig()
			if err != nil {
				return 0, err
			}
			return r.c.dialSSH(config)
		},
		func() (int64, error) { return r.c.dialTLS(config) }, // those from the beginning
		func() (int64, error) { return r.c.dialSSH(overSSH) },
	}
}

// rotate renews the identity many times while 16 callers use it.
func rotate(t *testing.T, rotations int64) {
	t.Helper()
	r := &rotator{t: t, c: newTestCluster(t), path: filepath.Join(testenv.FastDir(t), "secrets", "id")}
	r.written.Store(1)
	testenv.Write(t, r.path, r.c.file(t, 1))
	r.d = dynamic(t, r.path, quick(), WithReport(func(err error) {
		if err != nil {
			r.failures.Add(1)
		}
	}))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var calls, failed atomic.Int64
	defer wg.Wait()
	var once sync.Once
	defer once.Do(func() { close(stop) })
	uses := r.uses()
	for caller := range 16 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				oldest := r.seen.Load()
				n, err := uses[caller%len(uses)]()
				if err == nil && (n < oldest || n > r.written.Load()) {
					err = fmt.Errorf("generation %d, after %d", n, oldest)
				}
				calls.Add(1)
				if err = errors.Join(err, r.check(oldest)); err != nil && failed.Add(1) < 5 {
					t.Errorf("caller %d: %v", caller, err)
				}
			}
		})
	}
	for n := int64(2); n <= rotations+1 && failed.Load() == 0; n++ {
		r.written.Store(n)
		way := rand.IntN(len(r.ways()))
		r.ways()[way](r.c.file(t, n))
		until(t, fmt.Sprintf("generation %d, in way %d", n, way), func() bool { return r.d.inForce() == n })
		r.seen.Store(n)
	}
	once.Do(func() { close(stop) })
	wg.Wait()
	t.Logf("%d rotations, %d calls by 16 callers, %d failed; %d reports", rotations, calls.Load(), failed.Load(), r.failures.Load())
}

// No call fails and nothing torn is served while the identity is renewed, in whatever way,
// and each renewal takes effect.
func TestRotationUnderLoad(t *testing.T) { rotate(t, 50) }

// The same for long.
func TestThousandRotationsUnderLoad(t *testing.T) {
	testenv.SecondRing(t)
	rotate(t, 1000)
}

// Each way of renewing is noticed without anybody using the credentials.
func TestEveryRotationIsNoticed(t *testing.T) {
	r := &rotator{t: t, c: newTestCluster(t), path: filepath.Join(t.TempDir(), "secrets", "id")}
	testenv.Write(t, r.path, r.c.file(t, 1))
	r.d = dynamic(t, r.path, quick(), WithReport(func(err error) {
		if err != nil {
			r.failures.Add(1)
		}
	}))
	n := int64(1)
	for first, before := range r.ways() { // each after each
		for second, way := range r.ways() {
			for _, rotate := range []func(string){before, way} {
				n++
				rotate(r.c.file(t, n))
				until(t, fmt.Sprintf("notice of way %d after way %d", second, first), func() bool { return r.d.inForce() == n })
			}
		}
	}
}
