package credentials

import (
	"crypto/tls"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-087d674e/tsh/keystore"
	"golang.org/x/crypto/ssh"
)

// Times of a reloading identity.
const (
	// settleTime is how long a file must have been as it is to be read. A writer that does
	// not rename may be at work, and what it has written so far may look like a whole.
	settleTime = 100 * time.Millisecond
	// coarseTime is how exact the times of the coarsest file systems are. A file that was
	// read sooner after its change is read again then.
	coarseTime = 2 * time.Second
	// pollTime is how often the file is looked at when nothing is noticed.
	pollTime = time.Minute
)

// errBeingWritten is the error of Reload when the file kept changing while it was read.
var errBeingWritten = errors.New("it is being written, try again")

// DynamicIdentityFile is the identity in a file that something renews. It holds the private
// key, is safe for concurrent use and prints as REDACTED.
//
// A renewal is noticed by watching the directories that lead to the file, links included, and
// besides by a look at the file (stat) at each use, for file systems that tell of no
// changes. The file may be renamed into place, written where it is, removed and made again,
// or a link on the way to it may be switched; to rename is best, see below.
//
// A new identity takes effect once it is whole: the private key is that of both
// certificates, both protocols have authorities, it has not expired, and the file has not
// changed for 100 ms. Until then the last good one stays in force, and what is wrong goes to
// WithReport. Only a writer that does not rename, and pauses longer than that exactly
// between two authorities, is read too early; the rest follows when it is written.
type DynamicIdentityFile struct {
	redacted
	path    string
	set     dynamicSettings
	notices *notices

	current atomic.Pointer[generation]

	mu       sync.Mutex
	examined fileState // what was read last, successfully or not
	again    time.Time // when that has to be read once more; zero for never
	pending  fileState // what was seen last and is not read yet
	since    time.Time // when that was first seen

	wake   chan struct{}
	stop   chan struct{}
	done   chan struct{}
	closed sync.Once
}

// dynamicSettings are what tests change.
type dynamicSettings struct {
	now          func() time.Time // by which identities are judged
	settle, poll time.Duration
}

// fileState is the file and the certificate that may be beside it.
type fileState struct{ file, beside stamp }

// generation is an identity with what it is used for, never changed.
type generation struct {
	id     *keystore.Identity
	tls    *tls.Config
	cert   *tls.Certificate
	ssh    *ssh.ClientConfig
	signer ssh.Signer
}

// NewDynamicIdentityFile reads the identity file path, as LoadIdentityFile does, and returns
// the credentials in it, which follow its renewals until Close. Errors are those of
// keystore.ReadIdentityFile, keystore.Identity.TLSConfig and SSHClientConfig; both protocols
// are needed. An identity that has expired is an error that matches *keystore.TimeError.
func NewDynamicIdentityFile(path string, opts ...Option) (*DynamicIdentityFile, error) {
	return newDynamic(path, dynamicSettings{time.Now, settleTime, pollTime}, opts)
}

func newDynamic(path string, set dynamicSettings, opts []Option) (*DynamicIdentityFile, error) {
	d := &DynamicIdentityFile{
		path: path, set: set, notices: new(notices),
		wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
	}
	d.notices.apply(opts)
	if err := d.Reload(); err != nil {
		return nil, err
	}
	go d.watch(newWatcher())
	return d, nil
}

// Reload reads the file now. An error leaves the identity as it was. WithReport gets it too
// if it is a new one, unless it is that the file kept changing while it was read.
func (d *DynamicIdentityFile) Reload() error {
	defer d.notices.deliver()
	d.mu.Lock()
	defer d.mu.Unlock()
	for try := 1; ; try++ {
		done, err := d.take(d.state())
		if done {
			return err
		}
		if try == pairTries {
			return fmt.Errorf("identity file %s: %w", d.path, errBeingWritten)
		}
	}
}

// Close ends the watching. Configurations that were handed out stay good, and follow
// renewals when they are used. It waits until the watching has ended, unless a hook of
// WithWarning or WithReport is being called.
func (d *DynamicIdentityFile) Close() error {
	d.closed.Do(func() { close(d.stop) })
	if !d.notices.delivering() { // not within Do, which a hook that closes would wait for
		<-d.done
	}
	return nil
}

// Expiry is when the identity that is in force ends, by the earlier one of its
// certificates.
func (d *DynamicIdentityFile) Expiry() (time.Time, bool) {
	d.glance()
	return d.current.Load().id.Expiry()
}

// DefaultAddrs returns an *UnsupportedError.
func (d *DynamicIdentityFile) DefaultAddrs() ([]string, error) {
	return nil, noAddrs("NewDynamicIdentityFile")
}

// usable is the identity in force.
func (d *DynamicIdentityFile) usable() (*generation, error) {
	d.glance()
	g := d.current.Load()
	err := checkExpiry("identity file "+d.path, g.id, d.set.now())
	if failure := d.notices.lastFailure(); err != nil && failure != "" {
		err = fmt.Errorf("%w; its successor cannot be used: %s", err, failure)
	}
	return g, err
}

// glance looks at the file on behalf of a caller, because the system may not have told of a
// renewal. It waits for no lock, and leaves to watch what has to be looked at later.
func (d *DynamicIdentityFile) glance() {
	if !d.mu.TryLock() {
		return // somebody else looks
	}
	wait := d.look()
	d.mu.Unlock()
	d.notices.deliver()
	if wait > 0 {
		select {
		case d.wake <- struct{}{}:
		default:
		}
	}
}

// watch looks at the file when something happens around it.
func (d *DynamicIdentityFile) watch(w *watcher) {
	defer close(d.done)
	defer w.close()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-d.stop:
			return
		case <-d.wake:
		case <-w.hint:
		case <-timer.C:
		}
		w.follow(d.path) // before the look, so that no change falls in between
		d.mu.Lock()
		wait := d.look()
		d.mu.Unlock()
		d.notices.deliver()
		if wait <= 0 {
			wait = d.set.poll
		}
		timer.Reset(min(wait, d.set.poll))
	}
}

// look reads the file if it is another than the one that was read last and has settled. It
// returns when to look again, 0 if there is no reason to.
func (d *DynamicIdentityFile) look() time.Duration {
	now, state := time.Now(), d.state()
	if state == d.examined && d.again.IsZero() {
		return 0
	}
	if state == d.examined && now.Before(d.again) {
		return d.again.Sub(now)
	}
	if state != d.pending {
		d.pending, d.since = state, now
	}
	if quiet := now.Sub(d.since); quiet < d.set.settle && (state.file == stamp{} || state.changedAfter(now.Add(-d.set.settle))) {
		return d.set.settle - quiet
	}
	if done, _ := d.take(state); !done {
		return max(d.set.settle, time.Millisecond)
	}
	return max(0, time.Until(d.again))
}

// take reads the file, which was in the given state before. It is not done if the file
// changed meanwhile.
func (d *DynamicIdentityFile) take(state fileState) (done bool, err error) {
	g, err := d.read()
	if d.state() != state {
		return false, nil
	}
	first := state != d.examined
	d.examined, d.again = state, time.Time{}
	if now := time.Now(); first && state.changedAfter(now.Add(-coarseTime)) {
		d.again = now.Add(coarseTime)
	}
	if d.current.Load() != nil { // otherwise it is the answer of the constructor
		d.notices.reloaded(err)
	}
	if err == nil {
		d.current.Store(g)
	}
	return true, err
}

// read makes a generation of what is in the file.
func (d *DynamicIdentityFile) read() (*generation, error) {
	id, err := keystore.ReadIdentityFile(d.path)
	if err != nil {
		return nil, err
	}
	if err := checkExpiry("identity file "+d.path, id, d.set.now()); err != nil {
		return nil, err
	}
	id.Now = d.set.now
	g := &generation{id: id}
	if g.tls, err = id.TLSConfig(); err != nil {
		return nil, err
	}
	if g.cert, err = g.tls.GetClientCertificate(nil); err != nil {
		return nil, err
	}
	if g.ssh, err = id.SSHClientConfig(); err != nil {
		return nil, err
	}
	if g.signer, err = id.SSHSigner(); err != nil {
		return nil, err
	}
	d.notices.warn(append(id.Warnings, exposedDirs(d.path)...)...)
	return g, nil
}

func (d *DynamicIdentityFile) state() fileState {
	return fileState{stampOf(d.path), stampOf(d.path + "-cert.pub")}
}

func (s fileState) changedAfter(t time.Time) bool {
	return s.file.changedAfter(t) || s.beside.changedAfter(t)
}
