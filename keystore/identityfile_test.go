package keystore

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/seed-087d674e/tsh/internal/testenv"
	"golang.org/x/crypto/ssh"
)

const fixtureIdentity = fixtures + "/18.3/identity/"

// oneKey is a login for one key, as an identity file needs it.
func (c *cluster) oneKey(t testing.TB, suite Suite) *Identity {
	t.Helper()
	key, err := GenerateOneKey(suite)
	if errors.Is(err, ErrNeedsRSA) {
		return c.issue(t, "gate.example.net", "mira", suite)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c.certify(t, "gate.example.net", "mira", key, key)
}

func writeIdentity(t testing.TB, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "id")
	testenv.Write(t, path, string(data))
	return path
}

// What a real cluster's own tools wrote is read, can be used, and comes out of the
// writer byte for byte.
func TestIdentityFileOfARealCluster(t *testing.T) {
	want := testenv.Read(t, fixtureIdentity+"file")
	id, err := ReadIdentityFile(writeIdentity(t, []byte(want)))
	if err != nil {
		t.Fatal(err)
	}
	if id.User != "fixture" || id.Cluster != "real.example.test" || id.Proxy != "" || len(id.Authorities) != 1 || len(id.Warnings) != 0 {
		t.Fatal(id.User, id.Cluster, id.Proxy, len(id.Authorities), id.Warnings)
	}
	got, err := id.IdentityFile()
	if err != nil || string(got) != want {
		t.Fatalf("%v, written:\n%s", err, got)
	}
	id.Proxy, id.Now = "gate.example.net", testenv.FixtureTime
	if err := errors.Join(id.Check(), id.CheckTime(testenv.FixtureTime())); err != nil {
		t.Fatal(err)
	}
	if _, err := id.TLSConfig(); err != nil {
		t.Error(err)
	}
	if _, err := id.SSHClientConfig(); err != nil {
		t.Error(err)
	}
}

// The other formats are those of the same cluster, too: the same files come out for the
// same keys, except that an OpenSSH key has a random number in it.
func TestOtherFormatsOfARealCluster(t *testing.T) {
	id, err := ReadIdentityFile(writeIdentity(t, []byte(testenv.Read(t, fixtureIdentity+"file"))))
	if err != nil {
		t.Fatal(err)
	}
	if id.TLSKey, err = decodeKey([]byte(testenv.Read(t, fixtureIdentity+"tls.key"))); err != nil {
		t.Fatal(err)
	}
	if id.TLSCert, err = decodeCert([]byte(testenv.Read(t, fixtureIdentity+"tls.crt"))); err != nil {
		t.Fatal(err)
	}
	key, cert, cas, err := id.TLSFiles()
	if err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string][]byte{"tls.key": key, "tls.crt": cert, "tls.cas": cas} {
		if want := testenv.Read(t, fixtureIdentity+name); string(got) != want {
			t.Errorf("%s:\n%s\nnot\n%s", name, got, want)
		}
	}
	if id.SSHKey, err = decodeKey([]byte(testenv.Read(t, fixtureIdentity+"openssh"))); err != nil {
		t.Fatal(err)
	}
	if id.SSHCert, err = decodeSSHCert([]byte(testenv.Read(t, fixtureIdentity+"openssh-cert.pub"))); err != nil {
		t.Fatal(err)
	}
	key, cert, err = id.OpenSSHFiles()
	if err != nil {
		t.Fatal(err)
	}
	if want := testenv.Read(t, fixtureIdentity+"openssh-cert.pub"); string(cert) != want {
		t.Errorf("certificate:\n%s\nnot\n%s", cert, want)
	}
	first, _, _ := strings.Cut(testenv.Read(t, fixtureIdentity+"openssh"), "\n")
	if back, err := decodeKey(key); err != nil || !samePublic(back.Public(), id.SSHKey.Public()) || !bytes.HasPrefix(key, []byte(first)) {
		t.Errorf("%v, key is not in the form of ssh", err)
	}
}

func TestIdentityFileRoundTrip(t *testing.T) {
	for _, suite := range []Suite{SuiteLegacy, SuiteBalanced, SuiteFIPS} {
		t.Run(string(suite), func(t *testing.T) {
			id := newCluster(t, "harbor").oneKey(t, suite)
			id.Authorities = append(id.Authorities, newCluster(t, "pier").authority())
			first, err := id.IdentityFile()
			if err != nil {
				t.Fatal(err)
			}
			if suite == SuiteLegacy && !bytes.HasPrefix(first, []byte("-----BEGIN RSA PRIVATE KEY-----")) {
				t.Errorf("the key is not PKCS#1")
			}
			back, err := ReadIdentityFile(writeIdentity(t, first))
			if err != nil {
				t.Fatal(err)
			}
			second, err := back.IdentityFile()
			if err != nil || !bytes.Equal(first, second) {
				t.Errorf("%v, it becomes:\n%s", err, second)
			}
			if back.User != "mira" || back.Cluster != "harbor" || back.Proxy != "gate.example.net" || len(back.Authorities) != 2 {
				t.Error(back.User, back.Cluster, back.Proxy, len(back.Authorities))
			}
			if err := back.Check(); err != nil {
				t.Error(err)
			}
		})
	}
}

// Two keys do not fit into one file, and a key in an agent does not leave it.
func TestIdentityFileNeedsOneKey(t *testing.T) {
	id := newCluster(t, "harbor").issue(t, "gate.example.net", "mira", SuiteBalanced)
	if _, err := id.IdentityFile(); err == nil || !strings.Contains(err.Error(), "one key") {
		t.Error(err)
	}
	id.SSHKey = nil
	if _, err := id.IdentityFile(); err == nil {
		t.Error("without a key")
	}
}

// identityPieces are the parts of an identity file.
type identityPieces struct{ key, ssh, tls, host, cas string }

func (p identityPieces) join() string { return p.key + p.ssh + p.tls + p.host + p.cas }

func pieces(t testing.TB, id *Identity) identityPieces {
	t.Helper()
	key, cert, cas, err := id.TLSFiles()
	if err != nil {
		t.Fatal(err)
	}
	return identityPieces{
		string(key), string(ssh.MarshalAuthorizedKey(id.SSHCert)), string(cert),
		strings.Join(hostLines(id.Proxy, id.Authorities[0]), "\n") + "\n", string(cas),
	}
}

// Files that people and programs have put together differently are read all the same.
func TestIdentityFileGrammar(t *testing.T) {
	id := newCluster(t, "harbor").oneKey(t, SuiteBalanced)
	p := pieces(t, id)
	other := pieces(t, newCluster(t, "harbor").oneKey(t, SuiteBalanced))
	tests := map[string]string{
		"as written":       p.join(),
		"CRLF":             strings.ReplaceAll(p.join(), "\n", "\r\n"),
		"no final newline": strings.TrimSuffix(p.join(), "\n"),
		"indented":         "  " + strings.ReplaceAll(p.join(), "\n", "\n\t "),
		"SSH lines first":  p.host + p.ssh + p.key + p.tls + p.cas,
		"SSH lines last":   p.key + p.tls + p.cas + p.ssh + p.host,
		"junk":             "# of the robot\n\n@revoked * ssh-ed25519 AAAA\nssh-ed25519 AAAA plain\n" + p.key + "junk\n" + p.tls + "\n\n" + p.cas + p.ssh + p.host,
		"two certificates": other.ssh + p.join(),
		"two-host line":    p.key + p.ssh + p.tls + strings.Replace(p.host, "gate.example.net,", "", 1) + p.cas,
		"one-host line":    p.key + p.ssh + p.tls + strings.Replace(p.host, "gate.example.net,harbor,", "", 1) + p.cas,
		"a line twice":     p.join() + p.host,
	}
	for name, content := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := ReadIdentityFile(writeIdentity(t, []byte(content)))
			if err != nil {
				t.Fatal(err)
			}
			if got.Proxy = "gate.example.net"; got.Check() != nil || len(got.Authorities) != 1 || len(got.Authorities[0].SSHKeys) != 1 {
				t.Errorf("%v, %d authorities", got.Check(), len(got.Authorities))
			}
			if !got.TLSCert.Equal(id.TLSCert) || !bytes.Equal(got.SSHCert.Marshal(), id.SSHCert.Marshal()) {
				t.Error("other certificates")
			}
		})
	}
}

// case F20: what is wrong with a file is said with its name, and never a panic.
func TestIdentityFileRefused(t *testing.T) {
	id := newCluster(t, "harbor").oneKey(t, SuiteBalanced)
	p := pieces(t, id)
	other := pieces(t, newCluster(t, "harbor").oneKey(t, SuiteBalanced))
	tests := map[string]struct{ content, want string }{
		"empty":                  {"", "has no SSH certificate, and there is no "},
		"no key":                 {p.ssh + p.host, "has no private key"},
		"certificate first":      {p.tls + p.key + p.ssh, "does not begin with a private key but with a certificate"},
		"truncated":              {p.join()[:len(p.join())-40], "ends in the middle of a PEM block"},
		"truncated in the key":   {p.key[:60], "ends in the middle of a PEM block"},
		"truncated line":         {p.key + p.ssh + p.tls + p.host[:60], "line "},
		"no SSH certificate":     {p.key + p.tls + p.host + p.cas, "has no SSH certificate, and there is no "},
		"tab after the type":     {p.key + strings.Replace(p.ssh, " ", "\t", 1) + p.tls, "has no SSH certificate, and there is no "},
		"another key":            {other.key + p.ssh + p.tls + p.host + p.cas, "has an SSH certificate that is not for its private key"},
		"another TLS key":        {p.key + p.ssh + other.tls + p.host + p.cas, "has a TLS certificate that is not for its private key"},
		"junk in the TLS place":  {p.key + p.ssh + p.key, "PEM block number 2"},
		"broken SSH certificate": {p.key + p.ssh[:100] + "\n" + p.tls, "holds no SSH certificate"},
		"broken authority":       {p.join() + "@cert-authority harbor ssh-ed25519 AAAA\n", "holds no SSH key of an authority"},
		"junk as authority":      {p.join() + "@cert-authority\n", "is no line of an SSH authority"},
		"long line":              {p.join() + strings.Repeat("x", maxIdentityLine+1), "more than 65536 bytes"},
		"junk block":             {p.join() + "-----BEGIN X-----\n!\n-----END X-----\n", "that does not parse"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			path := writeIdentity(t, []byte(tt.content))
			_, err := ReadIdentityFile(path)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) || !errors.Is(err, ErrDamaged) {
				t.Error(err)
			}
		})
	}
	var key *KeyError
	sealed := "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"
	if _, err := ReadIdentityFile(writeIdentity(t, []byte(sealed+p.ssh))); !errors.As(err, &key) || key.Kind != KeyEncrypted || !strings.Contains(err.Error(), "identity file ") {
		t.Error(err)
	}
	if _, err := ReadIdentityFile(writeIdentity(t, bytes.Repeat([]byte("#\n"), maxIdentityFile))); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Error(err)
	}
	missing := filepath.Join(t.TempDir(), "none")
	if _, err := ReadIdentityFile(missing); !errors.Is(err, fs.ErrNotExist) || !strings.HasPrefix(err.Error(), "identity file "+missing+": ") {
		t.Error(err)
	}
	if _, err := ReadIdentityFile(t.TempDir()); err == nil {
		t.Error("a directory")
	}
}

// case F10: a file of nothing but authorities does not cost seconds.
func TestIdentityFileOfManyAuthorities(t *testing.T) {
	const blob = "AAAAC3NzaC1lZDI1NTE5AAAAIGJhIDaDf+yT+BIJOSAijpGmfpWPvSahJrexoyc"
	for name, format := range map[string]string{
		"clusters": "@cert-authority gate,c%[1]d,*.c%[1]d ssh-ed25519 " + blob + "0nwvS\n",
		"keys":     "@cert-authority gate,harbor,*.harbor ssh-ed25519 " + blob + "%04[1]dS\n",
	} {
		var b strings.Builder
		for i := 0; i < 2000; i++ {
			fmt.Fprintf(&b, format, i)
		}
		if _, err := scanIdentity([]byte(b.String())); err == nil || !strings.HasPrefix(err.Error(), "line 1025 is one too many") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What is missing is said where it is needed.
func TestIdentityFileWithoutParts(t *testing.T) {
	p := pieces(t, newCluster(t, "harbor").oneKey(t, SuiteBalanced))
	read := func(content string) *Identity {
		t.Helper()
		id, err := ReadIdentityFile(writeIdentity(t, []byte(content)))
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	id := read(p.key + p.ssh + p.host)
	if _, err := id.SSHClientConfig(); err != nil || id.User != "mira" {
		t.Error(id.User, err)
	}
	if _, err := id.TLSConfig(); err == nil || !strings.Contains(err.Error(), "has no TLS certificate") || !strings.Contains(err.Error(), id.origin) {
		t.Error(err)
	}
	id = read(p.key + p.ssh + p.tls)
	if _, err := id.SSHClientConfig(); err == nil || !strings.Contains(err.Error(), "has no SSH authority") {
		t.Error(err)
	}
	if _, err := id.TLSConfig(); err == nil || !strings.Contains(err.Error(), "has no TLS authority") {
		t.Error(err)
	}
}

// The certificate may stand beside the file, and the file may be a link, as it is in
// containers; that others can read it is said and no reason to refuse it.
func TestIdentityFileBesideAndLinked(t *testing.T) {
	p := pieces(t, newCluster(t, "harbor").oneKey(t, SuiteBalanced))
	dir := t.TempDir()
	testenv.Write(t, filepath.Join(dir, "real"), p.key+p.tls+p.host+p.cas)
	testenv.Write(t, filepath.Join(dir, "link-cert.pub"), p.ssh)
	if err := os.Symlink("real", filepath.Join(dir, "link")); err != nil {
		t.Skip(err)
	}
	id, err := ReadIdentityFile(filepath.Join(dir, "link"))
	if err != nil || len(id.Warnings) != 0 {
		t.Fatal(err, id.Warnings)
	}
	if os.Geteuid() < 0 {
		return // Windows: access lists decide
	}
	// case F14: readable by others.
	if err := os.Chmod(filepath.Join(dir, "real"), 0o644); err != nil {
		t.Fatal(err)
	}
	id, err = ReadIdentityFile(filepath.Join(dir, "link"))
	if err != nil || !slices.ContainsFunc(id.Warnings, func(w string) bool { return strings.Contains(w, "(mode 0644)") }) {
		t.Error(err, id)
	}
	testenv.Write(t, filepath.Join(dir, "link-cert.pub"), "no certificate\n")
	if _, err := ReadIdentityFile(filepath.Join(dir, "link")); err == nil || !strings.Contains(err.Error(), "link-cert.pub holds no SSH certificate") {
		t.Error(err)
	}
}

// OpenSSH and OpenSSL take what is written for them.
func TestProgramsReadWhatIsWritten(t *testing.T) {
	keygen, openssl := testenv.Program(t, "ssh-keygen"), testenv.Program(t, "openssl")
	for _, suite := range []Suite{SuiteLegacy, SuiteBalanced, SuiteFIPS} {
		t.Run(string(suite), func(t *testing.T) {
			id := newCluster(t, "harbor").issue(t, "gate.example.net", "mira", suite)
			path := filepath.Join(t.TempDir(), "id")
			key, cert, err := id.OpenSSHFiles()
			if err != nil {
				t.Fatal(err)
			}
			testenv.Write(t, path, string(key))
			testenv.Write(t, path+"-cert.pub", string(cert))
			public := output(t, keygen, "-y", "-f", path)
			sshKey, _, _, _, err := ssh.ParseAuthorizedKey([]byte(public))
			if err != nil || !samePublic(sshPublic(sshKey), id.SSHKey.Public()) {
				t.Errorf("%v: %s", err, public)
			}
			if shown := output(t, keygen, "-L", "-f", path+"-cert.pub"); !strings.Contains(shown, `Key ID: "mira"`) {
				t.Error(shown)
			}
			key, cert, cas, err := id.TLSFiles()
			if err != nil {
				t.Fatal(err)
			}
			testenv.Write(t, path+".key", string(key))
			testenv.Write(t, path+".crt", string(cert))
			testenv.Write(t, path+".cas", string(cas))
			if a, b := output(t, openssl, "pkey", "-in", path+".key", "-pubout"), output(t, openssl, "x509", "-in", path+".crt", "-noout", "-pubkey"); a != b {
				t.Errorf("the key is not the certificate's:\n%s%s", a, b)
			}
			if shown := output(t, openssl, "x509", "-in", path+".cas", "-noout", "-subject"); !strings.Contains(shown, "harbor") {
				t.Error(shown)
			}
		})
	}
}

func output(t testing.TB, program string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", program, args, err, out)
	}
	return string(out)
}

// case F10, case F20: files with anything in them. What is read can be written and read
// again, and says the same then.
func FuzzIdentityFile(f *testing.F) {
	seedFromFixtures(f, "/identity/")
	seedFromFixtures(f, "/fixture")
	p := pieces(f, newCluster(f, "harbor").oneKey(f, SuiteBalanced))
	f.Add([]byte(strings.ReplaceAll(p.host+p.key+p.tls+"junk\n"+p.ssh+p.cas, "\n", "\r\n")))
	f.Fuzz(func(t *testing.T, data []byte) {
		parts, err := scanIdentity(data)
		whole := new(Identity)
		if refused := whole.SetIdentityFile(data); (err != nil || !parts.whole()) != (refused != nil) {
			t.Fatalf("%v, but as a string %v", err, refused)
		}
		if err != nil {
			return
		}
		useIdentity(t, whole)
		id, err := parts.identity()
		if err != nil || id.TLSCert == nil || checkHalves(id.SSHKey) != nil {
			return
		}
		_ = id.Check()
		first, err := id.IdentityFile()
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range id.Authorities {
			if CheckName("cluster", a.Cluster) != nil {
				return // it makes no line that could be read again, and Check refuses it
			}
		}
		parts, err = scanIdentity(first)
		if err != nil {
			t.Fatal(err)
		}
		back, err := parts.identity()
		if err != nil {
			t.Fatal(err)
		}
		second, err := back.IdentityFile()
		if err != nil || !bytes.Equal(first, second) {
			t.Fatalf("%v\n%s\nbecomes\n%s", err, first, second)
		}
	})
}

// whole reports whether the parts make an identity.
func (p *identityParts) whole() bool { _, err := p.identity(); return err == nil }

// useIdentity makes sure that what connects is complete: never a configuration that verifies
// nobody.
func useIdentity(t *testing.T, id *Identity) {
	t.Helper()
	checkLife(t, id)
	if config, err := id.TLSConfig(); err == nil {
		cert, err := config.GetClientCertificate(nil)
		if err != nil || config.RootCAs == nil || config.InsecureSkipVerify || cert.PrivateKey == nil || !samePublic(cert.Leaf.PublicKey, id.TLSKey.Public()) {
			t.Fatalf("%+v, %v", config, err)
		}
	}
	if config, err := id.SSHClientConfig(); err == nil && (config.HostKeyCallback == nil || len(config.Auth) != 1) {
		t.Fatalf("%+v", config)
	}
}
