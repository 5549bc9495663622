package sshclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"

	"github.com/seed-087d674e/tsh/internal/text"
)

const methodPublicKey = "publickey"

// maxBanner bounds the text that a node can show before the login.
const maxBanner = 64 << 10

// handshake is one attempt to log in. The transport calls its methods from its
// own goroutines, and the host key check again whenever it exchanges keys.
type handshake struct {
	target Target
	config ssh.ClientConfig // what the transport gets
	check  ssh.HostKeyCallback
	banner ssh.BannerCallback
	method ssh.AuthMethod
	guard  *guardConn

	mu         sync.Mutex
	hostKeyErr error    // why the host key was refused
	weak       error    // why the algorithms were
	hostOK     bool     // the node proved who it is
	asked      bool     // our certificate was offered
	methods    []string // what the node accepts, as it said last
	bannerLeft int
}

func newHandshake(t Target, cfg *ssh.ClientConfig) (*handshake, error) {
	h := &handshake{target: t, check: cfg.HostKeyCallback, banner: cfg.BannerCallback, bannerLeft: maxBanner}
	if h.target.Login == "" {
		h.target.Login = cfg.User
	}
	fail := func(what string) (*handshake, error) {
		return nil, &Error{Op: OpHandshake, Host: t.Host, Err: errors.New(what)}
	}
	if h.check == nil {
		return fail("the configuration has no host key callback")
	}
	if h.target.Login == "" {
		return fail("neither the target nor the configuration names a login")
	}
	// Methods are opaque; their types are what tells the one that signs with a
	// certificate from those that would answer a prompt.
	signing := reflect.TypeOf(ssh.PublicKeys())
	for _, m := range cfg.Auth {
		if h.method == nil && reflect.TypeOf(m) == signing {
			h.method = m
		}
	}
	if h.method == nil {
		return fail("the configuration has no certificate to log in with")
	}
	h.config = ssh.ClientConfig{
		Config:            ssh.Config{Rand: cfg.Rand, RekeyThreshold: cfg.RekeyThreshold},
		User:              h.target.Login,
		ClientVersion:     cfg.ClientVersion,
		HostKeyAlgorithms: hostKeyAlgorithms(),
		HostKeyCallback:   h.hostKey,
		BannerCallback:    h.showBanner,
		AuthCallback:      h.nextMethod,
	}
	h.config.KeyExchanges, h.config.Ciphers, h.config.MACs = algorithms()
	return h, nil
}

// run does the handshake on raw, which it closes if that fails.
func (h *handshake) run(ctx context.Context, raw net.Conn) (*Client, error) {
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	h.guard = &guardConn{Conn: raw}
	conn, chans, reqs, err := ssh.NewClientConn(h.guard, h.target.HostPort(), &h.config)
	if !stop() && err == nil {
		// ctx ended just before the handshake did; raw is closed or about to be.
		go ssh.DiscardRequests(reqs)
		go new(channelTable).serve(chans)
		err = context.Cause(ctx)
	}
	if err != nil {
		raw.Close()
		return nil, h.explain(ctx, err)
	}
	client := newClient(h.target.Host, conn, chans, reqs)
	client.heard, client.repairs = &h.guard.heard, func() bool { return false }
	if raw, ok := raw.(interface{ Repairing() bool }); ok {
		client.repairs = raw.Repairing
	}
	if !h.wasAsked() {
		conn.Close()
		return nil, &Error{Op: OpHandshake, Host: h.target.Host, Err: errors.New("the node asked for no proof of identity")}
	}
	if meta, ok := conn.(ssh.AlgorithmsConnMetadata); ok {
		a := meta.Algorithms()
		slog.Debug("logged in on node", "host", h.target.Host, "login", h.target.Login, "version", text.Line(string(conn.ServerVersion())),
			"kex", a.KeyExchange, "hostkey", a.HostKey, "cipher", a.Write.Cipher)
	}
	return client, nil
}

// hostKey decides whether the node is who it should be, before it learns
// anything about the user.
func (h *handshake) hostKey(addr string, remote net.Addr, key ssh.PublicKey) error {
	weak := h.guard.weakness()
	var err error
	if weak == nil {
		if err = h.check(addr, remote, key); err == nil {
			err = mustBeHostCertificate(key)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.weak, h.hostKeyErr, h.hostOK = weak, err, weak == nil && err == nil
	if err == nil {
		err = weak
	}
	return err
}

// mustBeHostCertificate refuses what no callback should be trusted to refuse.
// A certificate without principals would be good for every host.
func mustBeHostCertificate(key ssh.PublicKey) error {
	cert, ok := key.(*ssh.Certificate)
	switch {
	case !ok:
		return errors.New("it is not a certificate")
	case cert.CertType != ssh.HostCert:
		return errors.New("it is not the certificate of a host")
	case len(cert.ValidPrincipals) == 0:
		return errors.New("its certificate names no host")
	}
	return nil
}

// nextMethod offers the certificate, once, and nothing else ever.
func (h *handshake) nextMethod(auth *ssh.ClientAuthContext) (ssh.AuthMethod, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.methods = auth.AllowedMethods
	if h.asked || !slices.Contains(auth.AllowedMethods, methodPublicKey) {
		return nil, nil // the transport gives up, with the reason it knows
	}
	h.asked = true
	return h.method, nil
}

func (h *handshake) wasAsked() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.asked
}

// showBanner passes the node's text on until there was too much of it.
func (h *handshake) showBanner(message string) error {
	if h.banner == nil {
		return nil
	}
	message = message[:min(len(message), h.bannerLeft)]
	if message == "" {
		return nil
	}
	h.bannerLeft -= len(message)
	return h.banner(message)
}

// explain turns the transport's error into one of this package's.
func (h *handshake) explain(ctx context.Context, err error) error {
	host := h.target.Host
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.hostKeyErr != nil {
		return &HostKeyError{Host: host, Err: h.hostKeyErr}
	}
	op := OpHandshake
	if h.guard.received == 0 {
		op = OpDial
	}
	if ctx.Err() != nil {
		return &Error{Op: op, Host: host, Err: context.Cause(ctx)}
	}
	if h.weak != nil {
		return &Error{Op: op, Host: host, Err: h.weak}
	}
	if inner := errors.Unwrap(err); inner != nil {
		err = inner // without "ssh: handshake failed"
	}
	var neg *ssh.AlgorithmNegotiationError
	if errors.As(err, &neg) {
		offers := clean(strings.Join(neg.RequestedAlgorithms, ", "))
		if neg.What == "host key" {
			return &HostKeyError{Host: host, Err: fmt.Errorf("the node has no host certificate, it offers %s", offers)}
		}
		return &Error{Op: op, Host: host, Err: fmt.Errorf("no acceptable %s, the node offers %s", neg.What, offers)}
	}
	if refused, message := refusal(err, h.hostOK); refused {
		return &AuthError{Host: host, Login: h.target.Login, Methods: cleanAll(h.methods), Message: message}
	}
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("the connection was closed from the other side: %w", io.ErrUnexpectedEOF)
	}
	return &Error{Op: op, Host: host, Err: err}
}

// refusal reports whether err means that the node does not let the user in.
// The transport has no types for that, only these words.
func refusal(err error, hostOK bool) (refused bool, message string) {
	const noMethod, disconnect = "ssh: unable to authenticate", "ssh: disconnect, reason "
	msg := err.Error()
	if strings.HasPrefix(msg, noMethod) {
		return true, ""
	}
	if rest, ok := strings.CutPrefix(msg, disconnect); ok && hostOK {
		_, said, _ := strings.Cut(rest, ": ")
		if unquoted, err := strconv.Unquote(said); err == nil {
			said = unquoted
		}
		return true, clean(said)
	}
	return false, ""
}

func cleanAll(list []string) []string {
	const most = 16 // RFC 4252 and its companions name six
	list = slices.Clone(list[:min(len(list), most)])
	for i, s := range list {
		list[i] = text.Line(short(s))
	}
	return list
}
