package devcluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"time"
)

// Bounds of what SignUser signs.
const (
	minSignTTL = time.Minute
	maxSignTTL = caLifetime
)

// SignSpec says whose identity to sign. Only User is required.
type SignSpec struct {
	User string
	// Format is "file" (if empty): an identity file; "openssh": a key for ssh -i and its
	// certificate; or "tls": a key, its certificate and the authorities of servers, PEM.
	Format string
	// TTL is longer than a minute and at most ten years; 12 hours if zero. The limits
	// that roles set for logins do not hold.
	TTL time.Duration
	// Proxy is a host, or host:port, that an identity file names beside the clusters;
	// files of real clusters' administrators name none.
	Proxy string
	// Out is the path that the files are written to, with endings if there are several;
	// if empty nothing is written. Files that are there are replaced if Overwrite says
	// so, else they are an error that wraps fs.ErrExist.
	Out       string
	Overwrite bool
}

// SignedIdentity is a key with certificates for it.
type SignedIdentity struct {
	User, Cluster, Format string
	ValidUntil            time.Time
	Files                 []SignedFile // the first is complete last; see SignSpec.Out
	Notes                 []string     // what the administrator should know
}

// SignedFile is one file of an identity.
type SignedFile struct {
	Path string // what ends it, if nothing is written
	Data []byte `json:"-"`
}

func (SignedFile) String() string       { return redacted }
func (SignedFile) GoString() string     { return redacted }
func (SignedFile) LogValue() slog.Value { return slog.StringValue(redacted) }

// check fills in what is not said.
func (s *SignSpec) check() error {
	s.Format = or(s.Format, formatFile)
	if s.TTL == 0 {
		s.TTL = defaultSessionTTL
	}
	if s.TTL <= minSignTTL || s.TTL > maxSignTTL {
		return fmt.Errorf("a life of %s: it has to be longer than a minute and at most %d hours (ten years)", s.TTL, int(maxSignTTL.Hours()))
	}
	files, err := s.files()
	if err != nil {
		return err
	}
	if s.Proxy != "" {
		if s.Format != formatFile {
			return fmt.Errorf("format %s has no place for a proxy", s.Format)
		}
		if host, _, err := net.SplitHostPort(s.Proxy); err == nil {
			s.Proxy = host
		}
		if s.Proxy == "" || strings.ContainsAny(s.Proxy, " ,*?!@#\t\r\n") {
			return fmt.Errorf("proxy %q is not host or host:port", s.Proxy)
		}
	}
	if s.Out == "" {
		return nil
	}
	return checkTargets(files, s.Overwrite)
}

// signRequest is what the signing takes: who, for how long, and public keys.
type signRequest struct {
	User string        `json:"user"`
	SSH  []byte        `json:"ssh_public_key,omitempty"` // an authorized_keys line
	TLS  []byte        `json:"tls_public_key,omitempty"` // PEM
	TTL  time.Duration `json:"ttl"`
}

// signAnswer is what comes back.
type signAnswer struct {
	Cluster    string       `json:"cluster"`
	SSHCert    []byte       `json:"ssh_cert,omitempty"`
	TLSCert    []byte       `json:"tls_cert,omitempty"`
	Hosts      []hostSigner `json:"hosts"` // of the cluster and its leaf
	ValidUntil time.Time    `json:"valid_until"`
	Notes      []string     `json:"notes,omitempty"`
}

// signer is what can sign: the cluster itself, or the server behind the socket.
type signer interface {
	signSuite() (string, error)
	signKeys(signRequest) (signAnswer, error)
}

// signUser makes a key, has it signed, and writes it. The key stays here.
func signUser(by signer, spec SignSpec) (*SignedIdentity, error) {
	if err := spec.check(); err != nil {
		return nil, err
	}
	suite, err := by.signSuite()
	if err != nil {
		return nil, err
	}
	key, err := newUserKey(suite, spec.Format)
	if err != nil {
		return nil, err
	}
	req := signRequest{User: spec.User, TTL: spec.TTL}
	if err := key.fill(&req, spec.Format); err != nil {
		return nil, err
	}
	answer, err := by.signKeys(req)
	if err != nil {
		return nil, err
	}
	id := &SignedIdentity{
		User: spec.User, Cluster: answer.Cluster, Format: spec.Format, ValidUntil: answer.ValidUntil, Notes: answer.Notes,
	}
	if id.Files, err = spec.fill(key, answer); err != nil {
		return nil, err
	}
	if spec.Out == "" {
		return id, nil
	}
	return id, writeFiles(id.Files, spec.Overwrite)
}

// SignUser makes an identity for a user without a login, as administrators do for programs.
func (c *Cluster) SignUser(spec SignSpec) (*SignedIdentity, error) { return signUser(c, spec) }

func (c *Cluster) signSuite() (string, error) { return c.settings.Suite, nil }

// signKeys certifies keys for a user as a login would, but for the length.
func (c *Cluster) signKeys(req signRequest) (answer signAnswer, err error) {
	defer func() { c.noteSigned(req.User, answer.ValidUntil, err) }()
	u, err := c.userByName(req.User)
	if err != nil {
		return answer, err
	}
	keys, err := (&finishRequest{SSHPubKey: req.SSH, TLSPubKey: req.TLS}).keys()
	if err != nil {
		return answer, err
	}
	if keys.ssh == nil && keys.tls == nil || req.TTL <= minSignTTL || req.TTL > maxSignTTL {
		return answer, errors.New("no key to sign, or not for that long")
	}
	roles, err := c.roleSet(u.Roles, u.traits())
	if err != nil {
		return answer, err
	}
	answer.Cluster, answer.Hosts = c.settings.Name, c.hostSigners()
	if limit := roles.sessionTTL(req.TTL); limit < req.TTL {
		answer.Notes = append(answer.Notes, fmt.Sprintf("the roles of %s end logins after %s; auth sign is not bound by that", u.Name, limit))
	}
	if left := c.auths.user.tlsCert.NotAfter.Sub(c.now()); req.TTL > left {
		req.TTL = left
		answer.Notes = append(answer.Notes, "the authority of the cluster ends before that, and the certificates with it")
	}
	order := certRequest{user: u, roles: roles, ttl: req.TTL}
	if keys.ssh != nil {
		if answer.SSHCert, err = c.signSSH(keys.ssh, order); err != nil {
			return answer, err
		}
	}
	if keys.tls != nil {
		if answer.TLSCert, err = c.signTLS(keys.tls, order); err != nil {
			return answer, err
		}
	}
	answer.ValidUntil = c.now().Add(req.TTL).UTC().Truncate(time.Second)
	c.log.Info("identity signed", "user", u.Name, "ttl", req.TTL)
	return answer, nil
}

// hostSigners are the host authorities of the cluster and of its leaf.
func (c *Cluster) hostSigners() []hostSigner {
	var hosts []hostSigner
	for _, member := range []*Cluster{c, c.leaf} {
		if member != nil {
			hosts = append(hosts, hostSigner{
				DomainName:   member.settings.Name,
				CheckingKeys: [][]byte{member.auths.host.authorizedKey()},
				TLSCerts:     [][]byte{member.auths.host.certPEM()},
			})
		}
	}
	return hosts
}

// handleSign answers on the admin socket.
func (c *Cluster) handleSign(handle func(string, func(*http.Request) (any, error))) {
	handle("GET /suite", func(*http.Request) (any, error) { return c.signSuite() })
	handle("GET /authorities/{kind}", func(r *http.Request) (any, error) { return c.exportAuthority(r.PathValue("kind")) })
	handle("POST /sign", func(r *http.Request) (any, error) {
		var req signRequest
		if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
			return nil, err
		}
		return c.signKeys(req)
	})
}

// socketSigner is the server that runs in the directory.
type socketSigner struct{ a *Admin }

func (s socketSigner) signSuite() (suite string, err error) {
	return suite, s.a.call(http.MethodGet, "/suite", nil, &suite)
}

func (s socketSigner) signKeys(req signRequest) (answer signAnswer, err error) {
	return answer, s.a.call(http.MethodPost, "/sign", req, &answer)
}

// SignUser is Cluster.SignUser, whether the cluster runs or not.
func (a *Admin) SignUser(spec SignSpec) (*SignedIdentity, error) {
	if a.local == nil {
		return signUser(socketSigner{a}, spec)
	}
	c, err := a.local.atRest()
	if err != nil {
		return nil, err
	}
	if c.audit, err = openAudit(a.local.state.dir, c.log); err != nil {
		return nil, err
	}
	id, err := signUser(c, spec)
	return id, errors.Join(err, c.audit.close())
}

// atRest is the cluster as far as signing takes it: nothing runs and nothing listens.
func (r *registry) atRest() (*Cluster, error) {
	c, err := readAtRest(r.state)
	if err != nil {
		return nil, err
	}
	c.registry = r
	s, err := openState(filepath.Join(r.state.dir, leafDir), false)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return nil, err
	}
	c.leaf, err = readAtRest(s)
	return c, errors.Join(err, s.close())
}

func readAtRest(s *state) (*Cluster, error) {
	set := new(settings)
	if _, err := s.get(bucketMeta, "settings", set); err != nil {
		return nil, err
	}
	auths, err := loadAuthorities(s)
	return &Cluster{settings: set, auths: auths, log: newLogger(nil)}, err
}
