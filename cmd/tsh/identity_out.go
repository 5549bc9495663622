package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/seed-087d674e/tsh/internal/durable"
	"github.com/seed-087d674e/tsh/internal/text"
	"github.com/seed-087d674e/tsh/keystore"
	"github.com/seed-087d674e/tsh/login"
	"github.com/seed-087d674e/tsh/proxy"
)

// Formats of --out.
const (
	identityFile       = "file"
	identityOpenSSH    = "openssh"
	identityTLS        = "tls"
	identityKubernetes = "kubernetes"
)

// toStdout is the name of standard output as --out.
const toStdout = "-"

// outOptions say where a login goes that is not stored.
type outOptions struct {
	_         [0]func() // never compared
	path      string
	format    string
	overwrite bool
}

func (o *outOptions) addFlags(fs *pflag.FlagSet) {
	fs.StringVarP(&o.path, "out", "o", "", "write the login to `FILE` for a program, and store nothing; - is standard output")
	fs.StringVarP(&o.format, "format", "f", "", "what --out writes: file (the default), openssh, tls or kubernetes")
	fs.BoolVar(&o.overwrite, "overwrite", false, "replace files that --out finds, without asking")
}

// existsError is a file that --out would have to replace.
type existsError struct{ path string }

func (e *existsError) Error() string { return e.path + " exists already" }

// check refuses what cannot be, before anybody is asked anything.
func (o *outOptions) check(a *app, l *loginOptions) error {
	if o.path == "" {
		if o.format != "" || o.overwrite {
			return usagef("--format and --overwrite say how --out=FILE writes; there is no --out (for JSON there is --json)")
		}
		return nil
	}
	o.format = cmp.Or(o.format, identityFile)
	g := &a.globals
	switch formats := []string{identityFile, identityOpenSSH, identityTLS, identityKubernetes}; {
	case !slices.Contains(formats, o.format):
		return usagef("--format=%s: choose one of %s (for JSON there is --json)", text.Line(o.format), strings.Join(formats, ", "))
	case g.fileFlag:
		return usagef("--identity reads a file and --out writes one: choose one of them")
	case l.migrateKeys != "":
		return usagef("--migrate-keys and --out exclude each other")
	case g.keystoreGiven, g.agentFlag && g.addKeysToAgent == agentOnly:
		return usagef("with --out the private key goes into the file alone; leave --keystore and --add-keys-to-agent out")
	case o.path != toStdout:
		return nil
	case o.format != identityFile:
		return usagef("--out=- writes one file, and --format=%s is not one that fits there", o.format)
	case g.json:
		return usagef("--out=- writes the identity on standard output, where --json would write, too")
	case term.IsTerminal(int(a.io.out.Fd())):
		return usagef("--out=- would show a private key on the terminal; send standard output elsewhere")
	}
	return nil
}

// dir is the directory of the files.
func (o *outOptions) dir() string { return filepath.Dir(o.path) }

// files are the files that a format consists of, in the order of their appearance; what
// is in them comes later. What programs look for first comes last.
func (o *outOptions) files() []durable.File {
	name := filepath.Base(o.path)
	switch o.format {
	case identityOpenSSH:
		return []durable.File{{Name: name + "-cert.pub"}, {Name: name}}
	case identityTLS:
		return []durable.File{{Name: name + ".cas"}, {Name: name + ".crt"}, {Name: name + ".key"}}
	}
	return []durable.File{{Name: name}}
}

// oneKey reports whether a login for the cluster of ping needs one key for SSH and TLS.
// Where the cluster wants RSA there is only one anyway.
func (o *outOptions) oneKey(ping *proxy.Ping) bool {
	return o.format == identityFile && keystore.Suite(ping.Auth.SignatureSuite()) != keystore.SuiteLegacy
}

// mayReplace finds out, before the person logs in, whether the files can be written, and
// asks once if there are some. Merging into a kubeconfig needs no permission.
func (o *outOptions) mayReplace(ctx context.Context, a *app) error {
	if o.path == toStdout {
		return nil
	}
	if name := filepath.Base(o.path); strings.HasSuffix(o.path, string(filepath.Separator)) || name == "." || name == ".." {
		return usagef("--out=%s names a directory; a file is needed", text.Line(o.path))
	}
	if o.format == identityKubernetes && !o.overwrite {
		return checkKubeconfig(o.path)
	}
	err := durable.CheckFiles(o.dir(), o.files(), o.overwrite)
	var there *fs.PathError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrExist) && errors.As(err, &there):
		return o.askToReplace(ctx, a, there.Path)
	case errors.Is(err, fs.ErrNotExist):
		return noDirectory(o.dir())
	}
	return withHint(fmt.Errorf("--out: %w", err), "name a file, or a name that is free; --out=- is standard output")
}

// askToReplace asks once for all files, of which path is the first that is there.
func (o *outOptions) askToReplace(ctx context.Context, a *app, path string) error {
	yes, err := a.confirm(ctx, path+" exists already. Replace it?")
	switch {
	case errors.Is(err, login.ErrCannotAsk), err == nil && !yes:
		return &existsError{path}
	case err != nil:
		return err
	}
	o.overwrite = true
	return durable.CheckFiles(o.dir(), o.files(), true)
}

func noDirectory(dir string) error {
	return withHint(fmt.Errorf("--out: there is no directory %s", dir), "make it first: mkdir -p %s", dir)
}

// loginWithFile carries out a login that ends in a file or begins with one; done reports
// whether it is such a login.
func (a *app) loginWithFile(ctx context.Context, o *loginOptions) (done bool, err error) {
	if err := o.out.check(a, o); err != nil {
		return false, err
	}
	switch {
	case o.out.path != "":
		return true, a.loginToFile(ctx, o)
	case a.globals.hasIdentity() && o.migrateKeys == "":
		return true, a.loginWithIdentity(ctx, o)
	}
	return false, nil
}

// loginToFile logs in and writes what the cluster issues where --out says. Nothing is
// stored.
func (a *app) loginToFile(ctx context.Context, o *loginOptions) error {
	if err := o.out.mayReplace(ctx, a); err != nil {
		return err
	}
	s, err := a.loginForFile(ctx, o)
	if err != nil {
		return err
	}
	files, err := o.out.fill(s)
	if err != nil {
		return err
	}
	defer func() {
		for _, f := range files {
			clear(f.Data)
		}
	}()
	if o.out.path == toStdout {
		_, err := a.out.Write(files[0].Data)
		return err
	}
	if err := o.out.write(ctx, files); err != nil {
		return err
	}
	return a.showWritten(&o.out, files, s)
}

// loginForFile logs in and returns what belongs into the file.
func (a *app) loginForFile(ctx context.Context, o *loginOptions) (*session, error) {
	a.storeless = true
	if err := a.checkCluster(); err != nil {
		return nil, err
	}
	store, err := a.openStore()
	if err != nil {
		return nil, err
	}
	target, err := a.loginTarget(store)
	if err != nil {
		return nil, err
	}
	target.passwordStdin, target.request, target.out = o.passwordStdin, &o.request, &o.out
	target.cluster = a.globals.cluster // not one that happens to be selected here
	s, err := a.authenticate(ctx, store, target)
	if err != nil {
		return nil, err
	}
	if a.globals.agentFlag && a.globals.addKeysToAgent == agentYes {
		a.offerToAgent(s.id)
	}
	if o.out.format == identityOpenSSH { // it has no room for authorities
		return s, nil
	}
	return s, a.addAuthorities(ctx, s)
}

// write puts the files in place.
func (o *outOptions) write(ctx context.Context, files []durable.File) error {
	err := durable.WriteFiles(ctx, o.dir(), files, o.overwrite || o.format == identityKubernetes)
	var appeared *fs.PathError
	switch {
	case errors.Is(err, fs.ErrExist) && errors.As(err, &appeared):
		return &existsError{appeared.Path} // while the person logged in
	case err != nil:
		return fmt.Errorf("--out: %w", err)
	}
	return nil
}

// addAuthorities completes the host authorities, of which a login brings those of the root
// cluster, with those of all clusters that are reached through it. Where the cluster does
// not name them the file is good for the root cluster, and the person is told.
func (a *app) addAuthorities(ctx context.Context, s *session) error {
	all, err := a.allAuthorities(ctx, s)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		a.ui.warn("only the authority of cluster %s is written, the others could not be had: %v", s.id.RootCluster(), err)
		return nil
	}
	s.id = all
	return nil
}

func (a *app) allAuthorities(ctx context.Context, s *session) (*keystore.Identity, error) {
	client, err := a.connectAPI(ctx, s)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return a.authoritiesOf(ctx, client, s, func(string) bool { return true })
}

// fill makes the content of the files.
func (o *outOptions) fill(s *session) ([]durable.File, error) {
	files := o.files()
	var err error
	switch o.format {
	case identityFile:
		files[0].Data, err = s.id.IdentityFile()
	case identityOpenSSH:
		files[1].Data, files[0].Data, err = s.id.OpenSSHFiles()
	case identityTLS:
		files[2].Data, files[1].Data, files[0].Data, err = s.id.TLSFiles()
	case identityKubernetes:
		files[0].Data, err = o.kubeconfig(s)
	}
	return files, err
}

// writtenIdentity is what login --out --json prints.
type writtenIdentity struct {
	Files      []string  `json:"files"`
	Format     string    `json:"format"`
	Proxy      string    `json:"proxy"`
	Username   string    `json:"username"`
	Cluster    string    `json:"cluster"`
	ValidUntil time.Time `json:"valid_until"`
}

func (a *app) showWritten(o *outOptions, files []durable.File, s *session) error {
	until, _ := s.id.Expiry()
	w := writtenIdentity{
		Format: o.format, Proxy: s.profile.WebProxyAddr, Username: s.id.User, Cluster: s.id.Cluster, ValidUntil: until,
	}
	for _, f := range files {
		w.Files = append(w.Files, filepath.Join(o.dir(), f.Name))
	}
	if a.globals.json {
		return writeJSON(a.out, w)
	}
	a.ui.say("The identity of %s is in %s, valid for %s.", text.Line(w.Username), strings.Join(w.Files, ", "), remaining(until.Sub(a.now())))
	return nil
}

// readForMerge reads a file that is to be changed, nil if there is none.
func readForMerge(path string, limit int64) ([]byte, error) {
	data, err := durable.ReadFile(path, limit)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(filepath.Dir(path)); err != nil {
			return nil, noDirectory(filepath.Dir(path))
		}
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("--out: %w", err)
	}
	return data, nil
}
