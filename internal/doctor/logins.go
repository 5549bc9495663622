package doctor

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/seed-087d674e/tsh/internal/durable"
	"github.com/seed-087d674e/tsh/keystore"
	"github.com/seed-087d674e/tsh/profile"
)

// Names of a user's files below keys/<proxy>.
const (
	keySuffix     = ".key"
	certSuffix    = ".crt"
	oldCertSuffix = "-x509.pem"
	pubSuffix     = ".pub"
	sshDirSuffix  = "-ssh"
	sshCertSuffix = "-cert.pub"
	kubeLock      = "kube_credentials.lock"
)

const (
	// maxLogins is how many logins are looked into.
	maxLogins = 500
	// atOnce is how many are looked into at the same time: a damaged one is read
	// several times, with pauses.
	atOnce = 8
	// maxClusters is in how many clusters.
	maxClusters = 100
	// maxPub is the largest public key file that is read.
	maxPub = 64 << 10
)

// login is a user with files at a proxy.
type login struct {
	proxy, user string
	profile     *profile.Profile // whose login it is, or nil
	clusters    []string         // with SSH certificates; the selected one first
	sealed      []string         // slots in the keyring
	id          *keystore.Identity
	valid       bool
}

func (l *login) name() string { return l.user + "@" + l.proxy }

// rel is a file of the login, below the home.
func (l *login) rel(suffix string) string { return "keys/" + l.proxy + "/" + l.user + suffix }

// again is what brings the login back.
func (l *login) again() string {
	if l.profile == nil {
		return l.gone()
	}
	return fmt.Sprintf("log in again: tsh login --force --proxy=%s --user=%s", l.profile.Name, l.user)
}

// gone is what removes the login.
func (l *login) gone() string {
	return fmt.Sprintf("remove it: tsh logout --proxy=%s --user=%s", l.proxy, l.user)
}

// readLogins looks into every login with files.
func (e *exam) readLogins() {
	e.findLogins()
	if len(e.logins) == 0 {
		e.ok(checkLogin, e.abs("keys"), "nobody is logged in")
	}
	if more := len(e.logins) - maxLogins; more > 0 {
		e.add(Finding{Check: checkLogin, Status: Warning, Subject: e.abs("keys"),
			Message: fmt.Sprintf("%d more logins were not looked into", more), Hint: "tsh doctor --proxy=HOST looks into those at one proxy"})
		e.logins = e.logins[:maxLogins]
	}
	findings := make([]Finding, len(e.logins))
	each(len(e.logins), atOnce, func(i int) {
		if e.ctx.Err() == nil {
			findings[i] = e.readLogin(e.logins[i])
		}
	})
	for i, f := range findings {
		if f.Check != "" {
			e.add(f)
		}
		e.expiry(e.logins[i], f)
	}
}

func (e *exam) findLogins() {
	for _, proxy := range e.proxyDirs() {
		users, err := keystore.Dir{Home: e.Home}.Users(proxy)
		if err != nil {
			e.add(Finding{Check: checkLogin, Status: Problem, Subject: e.abs("keys/" + proxy), Message: err.Error()})
		}
		// A login of which only parts are left is known by the profile.
		for _, p := range e.profiles {
			if p.Host() == proxy && p.User != "" && !slices.Contains(users, p.User) {
				users = append(users, p.User)
			}
		}
		for _, user := range users {
			l := &login{proxy: proxy, user: user}
			for _, p := range e.profiles {
				if p.Host() == proxy && p.User == user && (l.profile == nil || p.Name == proxy) {
					l.profile = p
				}
			}
			if e.hasFiles(l) {
				l.clusters = e.clusters(l)
				e.logins = append(e.logins, l)
			}
		}
	}
}

// hasFiles reports whether there is more than the empty files that other clients make
// and links that lead to nothing.
func (e *exam) hasFiles(l *login) bool {
	for _, suffix := range []string{"", keySuffix, certSuffix, oldCertSuffix} {
		if info, err := os.Stat(e.abs(l.rel(suffix))); err == nil && (info.Size() > 0 || !info.Mode().IsRegular()) {
			return true
		}
	}
	return len(listDir(e.abs(l.rel(sshDirSuffix)))) > 0
}

// clusters are those that the login has SSH certificates for, and the selected one,
// which comes first.
func (e *exam) clusters(l *login) (names []string) {
	for _, file := range listDir(e.abs(l.rel(sshDirSuffix))) {
		cluster, ok := strings.CutSuffix(file, sshCertSuffix)
		if ok && len(names) < maxClusters && keystore.CheckName("cluster", cluster) == nil {
			names = append(names, cluster)
		}
	}
	slices.Sort(names)
	if l.profile != nil {
		names = slices.DeleteFunc(names, func(c string) bool { return c == l.profile.Cluster })
		names = append([]string{l.profile.Cluster}, names...)
	}
	return names
}

// readLogin looks whether keys and certificates are there, fit each other and can be
// used. Without a check in the finding there is nothing to say about it here.
func (e *exam) readLogin(l *login) Finding {
	f := Finding{Check: checkLogin, Status: Problem, Subject: l.name(), Hint: l.again()}
	if f.Message = e.oddFile(l); f.Message != "" {
		return f
	}
	if len(l.clusters) == 0 {
		f.Status, f.Message, f.Hint = Warning, "has keys and no SSH certificate, and no profile names it", l.gone()
		return f
	}
	var err error
	if l.sealed, err = (keystore.Dir{Home: e.Home}).SealedSlots(l.proxy, l.user); err != nil {
		return failedLogin(f, err)
	}
	for i, cluster := range l.clusters {
		id, err := e.identity(l, cluster)
		if i == 0 {
			l.id = id
		}
		var locked *keystore.KeyringError
		if errors.As(err, &locked) && e.ring.failure() != nil {
			return Finding{} // the finding of the keyring
		}
		if err != nil {
			return failedLogin(f, err)
		}
	}
	if f.Message = e.publicKey(l); f.Message != "" {
		f.Status = Warning
		return f
	}
	return Finding{Check: checkLogin, Status: OK, Subject: l.name(), Message: "keys and certificates fit each other"}
}

func failedLogin(f Finding, err error) Finding {
	f.Message = err.Error()
	var token *keystore.KeyError
	var owner *durable.OwnerError
	switch {
	case errors.As(err, &token) && token.Kind == keystore.KeyHardware:
		f.Status, f.Hint = Warning, "use it with the client that made it"
	case errors.As(err, &owner):
		f.Hint = hintOwner
	case errors.Is(err, fs.ErrPermission):
		f.Hint = "chmod u+rw it"
	}
	return f
}

// identity loads a login for a cluster. A key in the ssh-agent is not asked for a
// signature: that could wait for the person. With an error the identity holds at most
// what is public.
func (e *exam) identity(l *login, cluster string) (*keystore.Identity, error) {
	dir := keystore.Dir{Home: e.Home, Keyring: e.ring}
	id, err := dir.LoadPublic(l.proxy, l.user, cluster)
	if err != nil {
		return nil, err
	}
	if id.InAgent {
		return id, e.heldByAgent(id)
	}
	whole, err := dir.Load(l.proxy, l.user, cluster)
	if err != nil {
		return id, err
	}
	// Without authorities it fails for what is their finding.
	for _, a := range whole.Authorities {
		if len(a.SSHKeys) > 0 {
			_, err = whole.SSHClientConfig()
			break
		}
	}
	return id, err
}

// heldByAgent looks whether the ssh-agent has the only key of a login. One that has
// expired is dropped by the agent: that it is gone says nothing.
func (e *exam) heldByAgent(id *keystore.Identity) error {
	if id.CheckTime(e.now) != nil {
		return nil
	}
	if e.agentErr != nil {
		return fmt.Errorf("the private key is kept in the ssh-agent alone: %w", e.agentErr)
	}
	want := id.SSHCert.Key.Marshal()
	for _, h := range e.held {
		pub, err := ssh.ParsePublicKey(h.Blob)
		if err != nil {
			continue
		}
		if cert, ok := pub.(*ssh.Certificate); ok {
			pub = cert.Key
		}
		if bytes.Equal(pub.Marshal(), want) {
			return nil
		}
	}
	return errors.New("the private key is kept in the ssh-agent alone, and the agent does not show it")
}

// oddFile says which of the files is none.
func (e *exam) oddFile(l *login) string {
	for _, suffix := range []string{"", keySuffix, certSuffix} {
		path := e.abs(l.rel(suffix))
		info, err := os.Lstat(path)
		if err == nil && info.Mode().Type()&^fs.ModeSymlink != 0 {
			return fmt.Sprintf("%s is no regular file (%v)", path, info.Mode().Type())
		}
	}
	return ""
}

// publicKey says what is wrong with the public key file, which other clients compare
// byte for byte.
func (e *exam) publicKey(l *login) string {
	path := e.abs(l.rel(pubSuffix))
	data, err := durable.ReadFile(path, maxPub)
	switch {
	case err != nil:
		return fmt.Sprintf("other clients cannot use it: %v", err)
	case !bytes.Equal(data, ssh.MarshalAuthorizedKey(l.id.SSHCert.Key)):
		return fmt.Sprintf("other clients cannot use it: %s is not the public half of the key", path)
	}
	return ""
}

// expiry looks at the validity of the login, of which found says what else is the matter.
func (e *exam) expiry(l *login, found Finding) {
	if l.id == nil {
		return // the finding of the login
	}
	f := Finding{Check: checkExpiry, Status: Warning, Subject: l.name()}
	err := l.id.CheckTime(e.now)
	var wrong *keystore.TimeError
	switch {
	case errors.As(err, &wrong) && wrong.NotYet:
		f.Check, f.Hint = checkClock, "compare the clock of this machine with the cluster's"
	case err != nil && l.profile == nil:
		f.Hint = l.gone()
	case err != nil:
		f.Hint = fmt.Sprintf("log in again: tsh login --proxy=%s --user=%s", l.profile.Name, l.user)
	default:
		l.valid = found.Status != Problem
		end, _ := l.id.Expiry()
		e.ok(checkExpiry, l.name(), "valid until "+end.UTC().Format(time.RFC3339))
		return
	}
	f.Message = err.Error()
	e.add(f)
}

// each calls f with 0 to n-1, several at once.
func each(n, atOnce int, f func(int)) {
	turns := make(chan struct{}, atOnce)
	var all sync.WaitGroup
	for i := range n {
		turns <- struct{}{}
		all.Go(func() {
			defer func() { <-turns }()
			f(i)
		})
	}
	all.Wait()
}
