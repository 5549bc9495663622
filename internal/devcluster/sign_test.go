package devcluster

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	pb "github.com/seed-087d674e/tsh/internal/devcluster/clusterpb"
)

// identityParts are those of an identity file, in the order in which it has to have them.
type identityParts struct {
	key     *pem.Block
	ssh     *ssh.Certificate
	tls     *x509.Certificate
	lines   []string // of the SSH authorities
	hostCAs []*x509.Certificate
}

// readIdentity takes an identity file apart (profile format, 14.1) and refuses anything
// that is not in its place.
func readIdentity(t *testing.T, data []byte) (p identityParts) {
	t.Helper()
	p.key, data = pem.Decode(data)
	line, rest, _ := bytes.Cut(data, []byte("\n"))
	key, _, _, _, err := ssh.ParseAuthorizedKey(line)
	if err != nil {
		t.Fatalf("%v in %q", err, line)
	}
	p.ssh = key.(*ssh.Certificate)
	block, rest := pem.Decode(rest)
	if p.tls, err = x509.ParseCertificate(block.Bytes); err != nil {
		t.Fatal(err)
	}
	for bytes.HasPrefix(rest, []byte("@")) {
		line, rest, _ = bytes.Cut(rest, []byte("\n"))
		p.lines = append(p.lines, string(line))
	}
	for len(rest) > 0 {
		before := rest
		if block, rest = pem.Decode(rest); block == nil || !bytes.HasPrefix(before, []byte("-----BEGIN CERTIFICATE")) {
			t.Fatalf("%q is no authority", before)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		p.hostCAs = append(p.hostCAs, cert)
	}
	return p
}

// private is the key of an identity file.
func (p identityParts) private(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := ssh.ParseRawPrivateKey(pem.EncodeToMemory(p.key))
	if err != nil {
		t.Fatal(err)
	}
	return key.(crypto.Signer)
}

// login is a signed identity as if a login had brought it.
func (p identityParts) login(t *testing.T) *login {
	t.Helper()
	key := p.private(t)
	signer, err := ssh.NewSignerFromSigner(key)
	if err != nil {
		t.Fatal(err)
	}
	l := &login{sshPrivate: key, sshKey: signer, sshCert: p.ssh, tlsKey: key, tlsCert: p.tls, hostCAs: x509.NewCertPool()}
	for _, ca := range p.hostCAs {
		l.hostCAs.AddCert(ca)
	}
	fields := strings.Fields(p.lines[0])
	l.resp.HostSigners = []hostSigner{{CheckingKeys: [][]byte{[]byte(fields[2] + " " + fields[3])}}}
	return l
}

// An administrator makes an identity for a program, which says what a login of the same
// user says, and does what it does.
func TestSignedIdentityEqualsALogin(t *testing.T) {
	for _, suite := range []string{suiteBalanced, suiteLegacy} {
		t.Run(suite, func(t *testing.T) {
			f := startCluster(t, func(c *Config) { withLeaf(c); withAuthAddr(c); c.Suite = suite })
			l := f.login(nil)
			id, err := f.SignUser(SignSpec{User: "alice"})
			if err != nil {
				t.Fatal(err)
			}
			p := readIdentity(t, id.Files[0].Data)
			if want := map[string]string{suiteBalanced: "PRIVATE KEY", suiteLegacy: "RSA PRIVATE KEY"}[suite]; p.key.Type != want {
				t.Errorf("key of type %q, want %q", p.key.Type, want)
			}
			if fmt.Sprintf("%T", p.private(t)) != map[string]string{suiteBalanced: "*ecdsa.PrivateKey", suiteLegacy: "*rsa.PrivateKey"}[suite] {
				t.Errorf("key %T", p.private(t))
			}
			extensions := maps.Clone(l.sshCert.Extensions)
			delete(extensions, "login-ip")
			if p.ssh.KeyId != "alice" || !slices.Equal(p.ssh.ValidPrincipals, l.sshCert.ValidPrincipals) || !maps.Equal(p.ssh.Extensions, extensions) {
				t.Errorf("ssh certificate\n%+v\nlogin\n%+v", p.ssh, l.sshCert)
			}
			same := func(get func(*x509.Certificate) []string) bool { return slices.Equal(get(p.tls), get(l.tlsCert)) }
			if p.tls.Subject.CommonName != "alice" || p.tls.Issuer.CommonName != f.Name() ||
				!same(func(c *x509.Certificate) []string { return c.Subject.Organization }) ||
				!same(func(c *x509.Certificate) []string { return slices.Sorted(slices.Values(c.Subject.Locality)) }) ||
				!same(func(c *x509.Certificate) []string { return c.Subject.StreetAddress }) ||
				!same(func(c *x509.Certificate) []string { return c.Subject.PostalCode }) {
				t.Errorf("tls certificate %v, login %v", p.tls.Subject, l.tlsCert.Subject)
			}
			if attribute(p.tls, attrCluster) != f.Name() || attribute(p.tls, attrLoginIP) != "" {
				t.Errorf("tls certificate %v", p.tls.Subject)
			}
			var hosts []string
			for _, line := range p.lines {
				hosts = append(hosts, strings.Fields(line)[1])
			}
			if !slices.Equal(hosts, []string{"dev.example,*.dev.example", "leaf.example,*.leaf.example"}) || !strings.HasSuffix(p.lines[0], " type=host") ||
				len(p.hostCAs) != 2 || p.hostCAs[1].Subject.CommonName != "leaf.example" {
				t.Errorf("authorities %q, %d of TLS", p.lines, len(p.hostCAs))
			}
			signed := p.login(t)
			self := new(pb.User)
			if err := f.dialAt(f.AuthAddr(), signed, alpnH2).Invoke(t.Context(), "/"+authName+"/GetCurrentUser", new(pb.Empty), self); err != nil || self.Metadata.Name != "alice" {
				t.Errorf("auth server: %v, %v", self, err)
			}
			client, err := f.ssh(signed, f.transport(signed), "node-1", "root")
			if err != nil {
				t.Fatal(err)
			}
			_ = client.Close()
		})
	}
}

// Longer than a minute, no longer than ten years or the authority; what roles say of logins
// does not bind the administrator, who is told.
func TestHowLongIdentitiesLast(t *testing.T) {
	f := startCluster(t, nil)
	const day = 24 * time.Hour
	for _, tc := range []struct {
		ttl, want time.Duration // 0: refused
		notes     string
	}{
		{0, 12 * time.Hour, ""},
		{2 * time.Minute, 2 * time.Minute, ""},
		{30 * time.Hour, 30 * time.Hour, ""},
		{31 * time.Hour, 31 * time.Hour, "the roles of alice end logins after 30h0m0s; auth sign is not bound by that"},
		{8760 * time.Hour, 8760 * time.Hour, "end logins after"},
		{3650 * day, 3650*day - time.Hour, "the authority of the cluster ends before that"},
		{time.Minute, 0, "a life of 1m0s"},
		{-time.Hour, 0, "a life of -1h0m0s"},
		{3650*day + time.Second, 0, "at most 87600 hours (ten years)"},
	} {
		if tc.ttl == 3650*day {
			f.clock.Advance(time.Hour) // the authority is as old by then
		}
		id, err := f.SignUser(SignSpec{User: "alice", TTL: tc.ttl})
		if tc.want == 0 {
			if err == nil || !strings.Contains(err.Error(), tc.notes) {
				t.Errorf("%s: %v", tc.ttl, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tc.ttl, err)
			continue
		}
		p := readIdentity(t, id.Files[0].Data)
		want := f.clock.Now().Add(tc.want).Truncate(time.Second)
		if !p.tls.NotAfter.Equal(want) || !time.Unix(int64(p.ssh.ValidBefore), 0).Equal(want) || !id.ValidUntil.Equal(want) {
			t.Errorf("%s: until %s, %s, said %s, want %s", tc.ttl, p.tls.NotAfter, time.Unix(int64(p.ssh.ValidBefore), 0), id.ValidUntil, want)
		}
		if notes := strings.Join(id.Notes, "\n"); (tc.notes == "") != (notes == "") || !strings.Contains(notes, tc.notes) {
			t.Errorf("%s: notes %q", tc.ttl, notes)
		}
	}
}

// listOf is what a directory holds, with the modes.
func listOf(t *testing.T, dir string) (list []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		mode := info.Mode().Perm()
		if runtime.GOOS == "windows" {
			mode = 0o600
		}
		list = append(list, fmt.Sprintf("%s %o", e.Name(), mode))
	}
	return list
}

// The formats, with a cluster that runs and with one that does not.
func TestSignedFiles(t *testing.T) {
	f := startCluster(t, func(c *Config) { withLeaf(c); withAuthAddr(c) })
	dir := f.state.dir
	for _, running := range []bool{true, false} {
		if !running {
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
		}
		a, err := OpenAdmin(dir)
		if err != nil {
			t.Fatal(err)
		}
		if (a.local == nil) != running {
			t.Fatalf("running %v, local %v", running, a.local)
		}
		for format, want := range map[string][]string{
			"file":    {"id 600"},
			"openssh": {"id 600", "id-cert.pub 600"},
			"tls":     {"id.cas 600", "id.crt 600", "id.key 600"},
		} {
			out := t.TempDir()
			id, err := a.SignUser(SignSpec{User: "alice", Format: format, Out: filepath.Join(out, "id")})
			if err != nil {
				t.Fatal(err)
			}
			if got := listOf(t, out); !slices.Equal(got, want) {
				t.Errorf("%s, running %v: %q", format, running, got)
			}
			for _, file := range id.Files {
				data, err := os.ReadFile(file.Path)
				if err != nil || !bytes.Equal(data, file.Data) {
					t.Errorf("%s: %v", file.Path, err)
				}
			}
			f.checkSigned(format, filepath.Join(out, "id"))
		}
		if _, err := a.SignUser(SignSpec{User: "bob"}); err == nil || err.Error() != "user bob does not exist" {
			t.Errorf("nobody: %v", err)
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// checkSigned looks at what is particular to a format.
func (f *fixture) checkSigned(format, path string) {
	t := f.t
	t.Helper()
	read := func(ending string) []byte {
		data, err := os.ReadFile(path + ending)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	switch format {
	case formatFile:
		if p := readIdentity(t, read("")); len(p.lines) != 2 {
			t.Errorf("authorities %q", p.lines)
		}
	case formatOpenSSH:
		if key := read(""); !bytes.HasPrefix(key, []byte("-----BEGIN OPENSSH PRIVATE KEY-----\n")) {
			t.Error("the key is not as ssh has it")
		}
		signer, err := ssh.ParsePrivateKey(read(""))
		if err != nil {
			t.Fatal(err)
		}
		cert, _, _, _, err := ssh.ParseAuthorizedKey(read("-cert.pub"))
		if err != nil || signer.PublicKey().Type() != ssh.KeyAlgoED25519 || !bytes.Equal(cert.(*ssh.Certificate).Key.Marshal(), signer.PublicKey().Marshal()) {
			t.Errorf("certificate for %v, key %v, %v", cert, signer.PublicKey(), err)
		}
	case formatTLS:
		pair, err := tls.LoadX509KeyPair(path+".crt", path+".key")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{
			Roots: poolOf(f.auths.user.tlsCert), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, CurrentTime: f.clock.Now(),
		}); err != nil && f.ctx.Err() == nil { // at rest it goes by another clock
			t.Error(err)
		}
		if n := bytes.Count(read(".cas"), []byte("BEGIN CERTIFICATE")); n != 2 {
			t.Errorf("%d authorities", n)
		}
	}
}

func poolOf(cert *x509.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return pool
}

// Files that are there are somebody's: they are named and left alone, unless they may be
// replaced; then they are replaced, and nothing but files ever is.
func TestSignedFilesThatAreThere(t *testing.T) {
	f := startCluster(t, nil)
	dir := t.TempDir()
	path := filepath.Join(dir, "id")
	if err := os.WriteFile(path, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"file", "openssh"} {
		_, err := f.SignUser(SignSpec{User: "alice", Format: format, Out: path})
		if !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), path+":") {
			t.Errorf("%s: %v", format, err)
		}
	}
	if data, _ := os.ReadFile(path); string(data) != "mine" || len(listOf(t, dir)) != 1 {
		t.Errorf("%q in %q", data, listOf(t, dir))
	}
	if _, err := f.SignUser(SignSpec{User: "alice", Format: "openssh", Out: path, Overwrite: true}); err != nil {
		t.Fatal(err)
	}
	if got := listOf(t, dir); !slices.Equal(got, []string{"id 600", "id-cert.pub 600"}) {
		t.Errorf("%q", got)
	}
	sub := filepath.Join(dir, "sub")
	if err := os.Mkdir(sub, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, spec := range map[string]SignSpec{
		"is not a regular file": {Out: sub, Overwrite: true},
		"there is no directory": {Out: filepath.Join(dir, "nope", "id")},
		`format "nope" is not`:  {Format: "nope"},
		"no place for a proxy":  {Format: "tls", Proxy: "x"},
		"is not host":           {Proxy: "a,b"},
	} {
		spec.User = "alice"
		if _, err := f.SignUser(spec); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// One that appears meanwhile is kept, too, and the others are taken away.
	other := filepath.Join(dir, "other")
	if err := os.WriteFile(other, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := writeFiles([]SignedFile{{other + "-cert.pub", []byte("new")}, {other, []byte("new")}}, false)
	if data, _ := os.ReadFile(other); !errors.Is(err, fs.ErrExist) || string(data) != "mine" {
		t.Errorf("%v, %q", err, data)
	}
	if got := listOf(t, dir); !slices.Equal(got, []string{"id 600", "id-cert.pub 600", "other 600", "sub 700"}) && runtime.GOOS != "windows" {
		t.Errorf("%q", got)
	}
}

// recordingSigner notes what travels.
type recordingSigner struct {
	signer
	sent []byte
}

func (r *recordingSigner) signKeys(req signRequest) (signAnswer, error) {
	r.sent, _ = json.Marshal(req)
	return r.signer.signKeys(req)
}

// The key is made where the file is written, and goes nowhere else.
func TestSigningSendsPublicKeys(t *testing.T) {
	f := startCluster(t, nil)
	for _, format := range []string{"file", "openssh", "tls"} {
		r := &recordingSigner{signer: f.Cluster}
		id, err := signUser(r, SignSpec{User: "alice", Format: format, Proxy: map[string]string{"file": "gate.example.net:443"}[format]})
		if err != nil {
			t.Fatal(err)
		}
		var sent map[string]any
		if err := json.Unmarshal(r.sent, &sent); err != nil || bytes.Contains(r.sent, []byte("PRIVATE")) {
			t.Errorf("%s, %v", r.sent, err)
		}
		for name := range sent {
			if !slices.Contains([]string{"user", "ttl", "ssh_public_key", "tls_public_key"}, name) {
				t.Errorf("%s is sent", name)
			}
		}
		for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
			if text := fmt.Sprintf(verb, *id); strings.Contains(text, "PRIVATE") || strings.Contains(text, "45 45 45") || strings.Contains(text, "0x2d, 0x2d") {
				t.Errorf("%s shows %s", verb, text)
			}
		}
		if text, _ := json.Marshal(id); bytes.Contains(text, []byte("Data")) {
			t.Errorf("JSON shows %s", text)
		}
		if p := id.Files[0].Data; format == "file" && !bytes.Contains(p, []byte("@cert-authority gate.example.net,dev.example,*.dev.example ")) {
			t.Errorf("no proxy in\n%s", p)
		}
	}
}
