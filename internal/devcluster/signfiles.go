package devcluster

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/crypto/ssh"
)

// Formats of a signed identity.
const (
	formatFile    = "file"
	formatOpenSSH = "openssh"
	formatTLS     = "tls"
)

// files are the names that the format has, in the order in which they appear: who waits
// for the last finds all.
func (s *SignSpec) files() ([]SignedFile, error) {
	var endings []string
	switch s.Format {
	case formatFile:
		endings = []string{""}
	case formatOpenSSH:
		endings = []string{"-cert.pub", ""}
	case formatTLS:
		endings = []string{".cas", ".crt", ".key"}
	default:
		return nil, fmt.Errorf("format %q is not one of %s, %s, %s", s.Format, formatFile, formatOpenSSH, formatTLS)
	}
	files := make([]SignedFile, len(endings))
	for i, ending := range endings {
		files[i].Path = s.Out + ending
	}
	return files, nil
}

// userKey is the one key of a signed identity.
type userKey struct{ crypto.Signer }

// newUserKey makes a key of the kind that logins under the suite have: that for TLS, or
// for the format openssh that for SSH.
func newUserKey(suite, format string) (userKey, error) {
	var key crypto.Signer
	var err error
	switch {
	case suite == suiteLegacy:
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	case format == formatOpenSSH:
		_, key, err = ed25519.GenerateKey(rand.Reader)
	default:
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	return userKey{key}, err
}

// fill puts the public key where the format needs a certificate for it.
func (k userKey) fill(req *signRequest, format string) error {
	if format != formatTLS {
		public, err := ssh.NewPublicKey(k.Public())
		if err != nil {
			return err
		}
		req.SSH = ssh.MarshalAuthorizedKey(public)
	}
	if format == formatOpenSSH {
		return nil
	}
	der, err := x509.MarshalPKIXPublicKey(k.Public())
	req.TLS = pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	return err
}

// encode writes the key as clients do: for ssh, or for anything else.
func (k userKey) encode(format string) ([]byte, error) {
	if key, ok := k.Signer.(*rsa.PrivateKey); ok {
		return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}), nil
	}
	if format == formatOpenSSH {
		block, err := ssh.MarshalPrivateKey(k.Signer, "")
		if err != nil {
			return nil, err
		}
		return pem.EncodeToMemory(block), nil
	}
	text, err := keyPEM(k.Signer)
	return []byte(text), err
}

// fill makes the content of the files.
func (s *SignSpec) fill(k userKey, a signAnswer) ([]SignedFile, error) {
	files, err := s.files()
	if err != nil {
		return nil, err
	}
	key, err := k.encode(s.Format)
	if err != nil {
		return nil, err
	}
	switch s.Format {
	case formatOpenSSH:
		files[0].Data, files[1].Data = a.SSHCert, key
	case formatTLS:
		files[0].Data, files[1].Data, files[2].Data = a.tlsAuthorities(), a.TLSCert, key
	default:
		lines := a.sshAuthorities(s.Proxy)
		files[0].Data = bytes.Join([][]byte{key, a.SSHCert, a.TLSCert, lines, a.tlsAuthorities()}, nil)
	}
	return files, nil
}

func (a *signAnswer) tlsAuthorities() (all []byte) {
	for _, host := range a.Hosts {
		all = append(all, bytes.Join(host.TLSCerts, nil)...)
	}
	return all
}

func (a *signAnswer) sshAuthorities(proxy string) (all []byte) {
	for _, host := range a.Hosts {
		for _, key := range host.CheckingKeys {
			all = append(all, authorityLine(proxy, host.DomainName, key)...)
		}
	}
	return all
}

// authorityLine is a line of known_hosts for the servers of a cluster.
func authorityLine(proxy, cluster string, key []byte) string {
	names := cluster + ",*." + cluster
	if proxy != "" {
		names = proxy + "," + names
	}
	return fmt.Sprintf("@cert-authority %s %s type=host\n", names, bytes.TrimSpace(key))
}

// checkTargets finds out whether the files may be written.
func checkTargets(files []SignedFile, overwrite bool) error {
	for _, f := range files {
		if dir := filepath.Dir(f.Path); !isDir(dir) {
			return fmt.Errorf("there is no directory %s", dir)
		}
		info, err := os.Lstat(f.Path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return err
		case !info.Mode().IsRegular():
			return fmt.Errorf("%s is not a regular file", f.Path)
		case !overwrite:
			return fileExists(f.Path)
		}
	}
	return nil
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func fileExists(path string) error { return &fs.PathError{Op: "write", Path: path, Err: fs.ErrExist} }

// writeFiles has the files appear complete, one after the other. If one cannot, those that
// are new are taken away again.
func writeFiles(files []SignedFile, overwrite bool) (err error) {
	drafts := make([]string, 0, len(files))
	defer func() {
		for _, draft := range drafts {
			_ = os.Remove(draft) // not there any more if all went well
		}
	}()
	for _, f := range files {
		draft, err := writeDraft(f)
		if err != nil {
			return err
		}
		drafts = append(drafts, draft)
	}
	for i, f := range files {
		if err := publish(drafts[i], f.Path, overwrite); err != nil {
			if !overwrite {
				for _, made := range files[:i] {
					err = errors.Join(err, os.Remove(made.Path))
				}
			}
			return err
		}
	}
	return nil
}

// writeDraft writes a file beside its place; such files are the owner's alone.
func writeDraft(f SignedFile) (path string, err error) {
	draft, err := os.CreateTemp(filepath.Dir(f.Path), ".devcluster-sign-*")
	if err != nil {
		return "", err
	}
	_, err = draft.Write(f.Data)
	if err = errors.Join(err, draft.Sync(), draft.Close()); err != nil {
		return "", errors.Join(err, os.Remove(draft.Name()))
	}
	return draft.Name(), nil
}

// publish gives a draft its name, which nothing else has unless it may be overwritten.
func publish(draft, path string, overwrite bool) error {
	if overwrite {
		return os.Rename(draft, path)
	}
	switch err := os.Link(draft, path); {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrExist):
		return fileExists(path)
	}
	// The file system has no hard links.
	if err := checkTargets([]SignedFile{{Path: path}}, false); err != nil {
		return err
	}
	return os.Rename(draft, path)
}
