package doctor

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/seed-087d674e/tsh/internal/durable"
	"github.com/seed-087d674e/tsh/keystore"
)

const (
	// maxCAFile is the largest file of authorities that is read.
	maxCAFile = 4 << 20
	// maxLines is how many line numbers a finding lists.
	maxLines = 5
)

// authorities looks at what proxies and nodes are verified with.
func (e *exam) authorities() {
	good := e.knownHosts()
	for _, proxy := range e.proxyDirs() {
		good = e.caFiles(proxy) && good
	}
	for _, l := range e.logins {
		good = e.trust(l) && good
	}
	if good {
		e.ok(checkTrust, e.Home, "clusters can be verified")
	}
}

// knownHosts looks at known_hosts. Lines stay as they are, whatever they say: they
// may be somebody's.
func (e *exam) knownHosts() bool {
	path := e.abs("known_hosts")
	unreadable, unrevoked, claims, err := keystore.Dir{Home: e.Home}.InspectHosts()
	f := Finding{Check: checkTrust, Status: Problem, Subject: path}
	if err != nil {
		f.Message, f.Hint = err.Error(), "move it out of the way and log in again"
		e.add(f)
		return false
	}
	if len(unrevoked) > 0 {
		f.Message = fmt.Sprintf("has lines that should revoke a key and cannot be read (%s): no key is revoked by them", numbered(unrevoked))
		f.Hint = "correct them"
		e.add(f)
	}
	for _, c := range claims {
		f.Message = fmt.Sprintf("the proxies %s and %s both claim to be cluster %q, with different keys", c.Proxy, c.OtherProxy, c.Cluster)
		f.Hint = fmt.Sprintf("for the one that is not, or moved: tsh logout --proxy=%s, or %s", c.Proxy, c.OtherProxy)
		e.add(f)
	}
	if len(unreadable) > 0 {
		f.Status = Warning
		f.Message = fmt.Sprintf("has lines that cannot be read (%s): other clients may refuse the whole file", numbered(unreadable))
		f.Hint = "remove them if they are nobody's"
		e.add(f)
	}
	return len(unreadable)+len(unrevoked)+len(claims) == 0
}

// numbered lists the numbers of lines.
func numbered(lines []int) string {
	var list []string
	for i, n := range lines {
		if i == maxLines {
			list = append(list, fmt.Sprintf("and %d more", len(lines)-i))
			break
		}
		list = append(list, strconv.Itoa(n))
	}
	return strings.Join(list, ", ")
}

// caFiles looks at the directory of TLS authorities, of which some clients want every
// file to hold a certificate.
func (e *exam) caFiles(proxy string) bool {
	dir := "keys/" + proxy + "/cas"
	if err := durable.PlainDirs(e.Home, dir); err != nil {
		e.add(Finding{Check: checkTrust, Status: Problem, Subject: e.abs(dir), Message: err.Error(),
			Hint: "move it out of the way, and log in again: tsh login --force --proxy=" + proxy})
		return false
	}
	good, seen := true, 0
	top := e.abs(dir)
	_ = filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if seen++; seen > maxFiles || e.ctx.Err() != nil {
			return fs.SkipAll
		}
		if err != nil || d.IsDir() {
			return nil // what cannot be read is found where it is needed
		}
		good = e.caFile(path, filepath.FromSlash(dir)+path[len(top):], d) && good
		return nil
	})
	return good
}

// caFile looks at one of them, which is rel below home.
func (e *exam) caFile(path, rel string, d fs.DirEntry) bool {
	f := Finding{Check: checkTrust, Status: Warning, Subject: path}
	if isOldAndEmpty(path) {
		f.Message = "is empty: Go programs refuse the whole directory"
		e.repair(f, func() error { return e.removeEmpty(rel) })
		return false
	}
	f.Hint = "move it elsewhere; a login brings the cluster's own"
	switch {
	case !d.Type().IsRegular():
		f.Message = "is no regular file: Go programs may refuse the whole directory"
	case !holdsCert(path):
		f.Message = "holds no certificate: Go programs refuse the whole directory"
	default:
		return true
	}
	e.add(f)
	return false
}

func holdsCert(path string) bool {
	data, err := durable.ReadFile(path, maxCAFile)
	for err == nil {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return false
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		if _, err := x509.ParseCertificate(block.Bytes); err == nil {
			return true
		}
	}
	return false
}

// trust looks whether the authorities of a login's cluster are there.
func (e *exam) trust(l *login) bool {
	if l.id == nil {
		return true // the finding of the login
	}
	root := l.id.RootCluster()
	f := Finding{Check: checkTrust, Status: Problem, Subject: l.name(), Hint: l.again()}
	found, err := keystore.Dir{Home: e.Home}.Authorities(l.proxy, root)
	if err != nil {
		return false // the finding of the file that cannot be read
	}
	var a keystore.Authority
	if len(found) > 0 {
		a = found[0]
	}
	switch {
	case len(a.TLSCerts) == 0:
		f.Message = fmt.Sprintf("%s has no authority of cluster %q: its servers cannot be verified", e.abs("keys/"+l.proxy+"/cas/"+root+".pem"), root)
	case len(a.SSHKeys) == 0:
		f.Message = fmt.Sprintf("known_hosts has no authority of cluster %q at %s: its nodes cannot be verified", root, l.proxy)
	case !holdsCert(e.abs("keys/" + l.proxy + "/cas/" + root + ".pem")):
		f.Status = Warning
		f.Message = fmt.Sprintf("the authority of cluster %q is not where other clients look for it, in %s", root, e.abs("keys/"+l.proxy+"/cas/"+root+".pem"))
	default:
		return true
	}
	e.add(f)
	return false
}
