package login

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/seed-087d674e/tsh/keystore"
	"github.com/seed-087d674e/tsh/proxy"
)

var (
	// ErrDenied: the person, or somebody with their session, has said no to a
	// headless login.
	ErrDenied = errors.New("the headless login was denied")
	// ErrNotApproved: nobody has approved a headless login in time.
	ErrNotApproved = errors.New("nobody approved the headless login in time")
)

// HeadlessPatience is how long a headless login waits for somebody to approve it;
// servers give it up at the same time.
const HeadlessPatience = 180 * time.Second

// HeadlessID is the id that a headless login with this SSH public key, an
// authorized_keys line with its line end, goes by: a UUID made from the key's
// SHA-256, so that whoever approves the id approves the key.
func HeadlessID(sshPubKey []byte) string {
	var namespace [16]byte // the nil one
	sum := sha256.Sum256(append(namespace[:], sshPubKey...))
	sum[6] = sum[6]&0x0f | 0x50 // version 5
	sum[8] = sum[8]&0x3f | 0x80 // variant of RFC 9562
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}

// headlessMethod logs in without asking anything here: the person approves the
// request where they have a browser, or a session and a security key.
type headlessMethod struct{}

func chooseHeadless(ping *proxy.Ping) (method, error) {
	if !ping.Auth.AllowHeadless {
		return nil, fmt.Errorf("%w: the cluster does not allow headless logins", ErrUnsupported)
	}
	return headlessMethod{}, nil
}

func (headlessMethod) issue(ctx context.Context, s *session) (*proxy.LoginResponse, error) {
	if s.ui.Headless == nil {
		return nil, fmt.Errorf("headless: %w here", ErrUnsupported)
	}
	if err := keystore.CheckName("user", s.req.User); err != nil {
		return nil, err
	}
	keys := s.keys()
	if keys.err != nil {
		return nil, keys.err
	}
	req := proxy.HeadlessRequest{User: s.req.User, ID: HeadlessID(keys.sshPub), TTL: s.ttl(), Patience: HeadlessPatience}
	if knowsOneKeyOnly(s.ping.ServerVersion) {
		if keys.ssh != keys.tls {
			return nil, fmt.Errorf("%w: the cluster is of version %q, which puts one key into both certificates, and asks for two", ErrUnsupported, s.ping.ServerVersion)
		}
		req.PubKey = keys.sshPub
	} else {
		req.SSHPubKey, req.TLSPubKey = keys.sshPub, keys.tlsPub
	}
	over := s.ui.Headless(s.ping.Settings(s.client.WebAddr()).WebAddr, req.ID)
	begun := time.Now()
	answer, err := s.client.LoginHeadless(ctx, req)
	over()
	return answer, explainHeadless(ctx, err, time.Since(begun))
}

// knowsOneKeyOnly reports whether the cluster is of version 14 or older.
func knowsOneKeyOnly(version string) bool {
	major, _, _ := strings.Cut(version, ".")
	n, err := strconv.Atoi(major)
	return err == nil && n < 15
}

// explainHeadless tells a request that was denied from one that nobody looked at.
// A server gives up when we do, in words of its own, and may be the first.
func explainHeadless(ctx context.Context, err error, waited time.Duration) error {
	const slack = 5 * time.Second
	var refused *proxy.Error
	said := errors.As(err, &refused)
	late := waited > HeadlessPatience-slack || ctx.Err() != nil
	switch {
	case said && refused.Status == 403 && (strings.Contains(refused.Message, textDenied) || !late && strings.Contains(refused.Message, textDenied14)):
		return fmt.Errorf("%w: %w", ErrDenied, err)
	case said && (refused.Status == 504 || late), late && errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w: %w", ErrNotApproved, err)
	}
	return err
}

// Texts of servers that mean a no; clusters of version 14 say so of a late one, too.
const (
	textDenied   = "headless authentication denied"
	textDenied14 = "headless authentication failed"
)
