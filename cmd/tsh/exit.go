package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"

	"github.com/seed-087d674e/tsh/api"
	"github.com/seed-087d674e/tsh/api/mfa"
	"github.com/seed-087d674e/tsh/internal/durable"
	"github.com/seed-087d674e/tsh/internal/tshconfig"
	"github.com/seed-087d674e/tsh/keystore"
	"github.com/seed-087d674e/tsh/login"
	"github.com/seed-087d674e/tsh/profile"
	"github.com/seed-087d674e/tsh/proxy"
	"github.com/seed-087d674e/tsh/sshclient"
	"github.com/seed-087d674e/tsh/sshclient/resume"
)

// Exit codes. A remote command's own status passes through unchanged.
const (
	exitOK        = 0
	exitFailure   = 1
	exitTransport = 255 // ssh could not run the command, as OpenSSH says it
	exitSignal    = 128 // plus the signal's number
)

// usageError is a command line that cannot be carried out.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

// hintedError carries what to do about an error beside the error.
type hintedError struct {
	err  error
	hint string
}

func (e *hintedError) Error() string { return e.err.Error() }
func (e *hintedError) Unwrap() error { return e.err }

func withHint(err error, format string, args ...any) error {
	return &hintedError{err, fmt.Sprintf(format, args...)}
}

// Hints for servers that are not there, or there more than once.
const (
	hintMissing   = "tsh ls lists the servers there are, and their ports"
	hintAmbiguous = "name one of them by its ID, which tsh ls -v shows"
)

// transportError is a failure of ssh that is not the remote command's.
type transportError struct{ err error }

func (e *transportError) Error() string { return e.err.Error() }
func (e *transportError) Unwrap() error { return e.err }

// begunError is a failure after the remote command has begun: whatever it was,
// nothing must be done a second time because of it.
type begunError struct{ err error }

func (e *begunError) Error() string { return e.err.Error() }
func (e *begunError) Unwrap() error { return e.err }

// interrupted is the cause of a context that a signal has ended.
type interrupted struct{ signal syscall.Signal }

func (e *interrupted) Error() string { return e.signal.String() }

// errSilent is a failure of which everything has been said.
var errSilent = errors.New("reported already")

// exitCode says which exit code an error is.
func exitCode(err error) int {
	var (
		remote    *sshclient.ExitError
		transport *transportError
		signal    *interrupted
	)
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &signal):
		return exitSignal + int(signal.signal)
	case errors.As(err, &remote):
		return remote.Status
	case errors.Is(err, syscall.EPIPE) && !isA[*net.OpError](err):
		return exitSignal + int(syscall.SIGPIPE)
	case errors.As(err, &transport):
		return exitTransport
	}
	return exitFailure
}

// report shows err to the person, or as a JSON document to the program that
// asked for JSON, and returns the exit code.
func (a *app) report(err error) int {
	code := exitCode(err)
	var (
		remote *sshclient.ExitError
		signal *interrupted
	)
	switch {
	case err == nil, errors.Is(err, errSilent), errors.Is(err, sshclient.ErrEscaped), errors.As(err, &remote), code == exitSignal+int(syscall.SIGPIPE):
		return code
	case errors.As(err, &signal):
		if !a.piped {
			a.ui.newline()
		}
		return code
	}
	body := a.globals.trust.explain(err, describe(err))
	if a.globals.json && writeJSON(a.out, jsonError{body}) == nil {
		return code
	}
	if a.ui.hush < hushAll || isUsage(err) {
		a.ui.fail(body.Message, body.Hint)
	}
	return code
}

// jsonError is what --json prints on stdout for a command that failed.
type jsonError struct {
	Error errorBody `json:"error"`
}

type errorBody struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// knownErrors pairs the errors that a person can do something about with a stable
// code for programs and a hint for people. The first that matches counts.
func knownErrors() []knownError {
	return []knownError{
		{errHeadlessDecided, "headless_decided", ""},
		{errNoKeyToApprove, "no_security_key", ""},
		{errNoKeyForSession, "no_security_key", ""},
		{errNoCodeForSession, "unsupported_login", ""},
		{login.ErrDenied, "headless_denied", "whoever approves headless logins for this user said no"},
		{login.ErrNotApproved, "headless_timeout", "run the command again, and approve it within three minutes"},
		{proxy.ErrNotTeleport, "unreachable", "if this network has a log-in page of its own, open any web page in a browser first;\notherwise check the proxy's address and port"},
		{new(*proxy.Error), "refused_by_proxy", ""},
		{new(*keystore.KeyringError), "keyring", "start or unlock it and try again; --keystore=file keeps the keys of a new login in files,\n--add-keys-to-agent=only in the ssh-agent, and --keystore=keyring,file in files where the keyring fails"},
		{new(*keystore.AgentError), "agent", "see that the ssh-agent answers: ssh-add -l; tsh login --keystore=file does without it"},
		{new(*durable.BusyError), "busy", "try again when that process is done, or end it"},
		{new(*durable.UnfinishedError), "unfinished", "see what is wrong with the disk; tsh doctor says what is left to do"},
		{isTurnPending, "login_pending", "answer it there, or end that process; tsh login --force asks here"},
		{new(*turnError), "login_failed", "try again, here: tsh login"},
		{new(*tshconfig.FileError), "config_file", "mend it, or move the file away; version, help, status, logout and doctor go on without it"},
		{new(*usageError), "usage", ""},
		{new(*identityError), "identity_file", "make another one: tsh login --out=FILE --proxy=HOST"},
		{new(*existsError), "file_exists", "--overwrite replaces it"},
		{new(*clusterError), "unknown_cluster", ""},
		{isDenied, "access_request_denied", ""},
		{new(*requestError), "access_request_not_approved", ""},
		{new(*reasonError), "reason_required", "say why: tsh login --request-reason=TEXT"},
		{login.ErrCannotAsk, "no_terminal", "run it in a terminal; a password may come on standard input, too: tsh login --password-stdin"},
		{login.ErrNoKey, "no_security_key", ""},
		{login.ErrUnsupported, "unsupported_login", ""},
		{login.ErrNoAnswer, "timeout", "run it again and finish the login in the browser; every link works once"},
		{login.ErrExposed, "usage", "give --bind-addr an address of this machine alone, 127.0.0.1:PORT, or say with --callback=URL how browsers reach it"},
		{isClockSkew, "clock_skew", "certificates that were issued just now are not valid by the clock of this machine: set it right"},
		{login.ErrRejected, "rejected_identity", "nothing was stored; tell the cluster's administrator"},
		{profile.ErrNoCurrent, "not_logged_in", "log in first: tsh login --proxy=HOST --user=NAME"},
		{isNotYetValid, "not_yet_valid", "compare the clock of this machine with the cluster's"},
		{profile.ErrDamaged, "damaged_profile", "log in again, with the proxy's name: tsh login --proxy=HOST"},
		{profile.ErrNotFound, "not_logged_in", "log in first: tsh login --proxy=HOST --user=NAME"},
		{keystore.ErrNotFound, "not_logged_in", "log in first: tsh login"},
		{keystore.ErrDamaged, "damaged_identity", "log in again: tsh login"},
		{isExpired, "expired", "log in again: tsh login"},
		{api.ErrExpired, "expired", "log in again: tsh login"},
		{errNoDevice, "no_such_device", "tsh mfa ls lists your devices"},
		{mfa.ErrExists, "device_exists", "tsh mfa ls lists your devices; a security key is registered once"},
		{mfa.ErrLast, "last_device", "add another first: tsh mfa add"},
		{mfa.ErrWrongCode, "wrong_code", "begin again: tsh mfa add; see that the clock of the device is right"},
		{api.ErrAccessDenied, "access_denied", ""},
		{api.ErrNotFound, "not_found", ""},
		{api.ErrAmbiguous, "ambiguous", hintAmbiguous},
		{isMissingNode, "not_found", hintMissing},
		{new(*sshclient.HostKeyError), "host_key", "nothing was sent to the server; tell the cluster's administrator"},
		{new(*sshclient.AuthError), "auth_failed", ""},
		{sshclient.ErrNoAnswer, "timeout", ""},
		{resume.ErrIdentification, "failed", "--no-resume (or TELEPORT_NO_RESUME=true) does without what this node offers"},
		{resume.ErrLost, "connection_lost", ""},
		{context.DeadlineExceeded, "timeout", ""},
		{new(*net.DNSError), "unreachable", "check the name, and that this machine has a network"},
		{new(*net.OpError), "unreachable", "check the name, the port and the network; HTTPS_PROXY names an HTTP proxy where one is needed"},
	}
}

type knownError struct {
	what any // an error, a pointer to a variable of a type of errors, or a func(error) bool
	code string
	hint string
}

// is reports whether err is, or wraps, what is known.
func (k *knownError) is(err error) bool {
	switch what := k.what.(type) {
	case error:
		return errors.Is(err, what)
	case func(error) bool:
		return what(err)
	}
	return errors.As(err, k.what)
}

// describe is what programs and people are told of err: its stable code, and
// what to do about it, which a command may have said itself.
func describe(err error) errorBody {
	body := errorBody{Code: "failed", Message: err.Error()}
	var trust *proxy.TrustError
	if errors.As(err, &trust) {
		body.Code, body.Hint = "untrusted_proxy", trustHint(trust)
	} else {
		for _, k := range knownErrors() {
			if k.is(err) {
				body.Code, body.Hint = k.code, k.hint
				break
			}
		}
	}
	var cluster *clusterError
	if errors.As(err, &cluster) {
		body.Hint = cluster.hint()
	}
	var hinted *hintedError
	if errors.As(err, &hinted) {
		body.Hint = hinted.hint
	}
	return body
}

// isA reports whether err is, or wraps, an error of type T.
func isA[T error](err error) bool {
	var target T
	return errors.As(err, &target)
}

func isUsage(err error) bool { return isA[*usageError](err) }

func isExpired(err error) bool {
	var expired *keystore.TimeError
	return errors.As(err, &expired) && !expired.NotYet
}

func isMissingNode(err error) bool {
	var node *proxy.NodeError
	return errors.As(err, &node) && node.Missing()
}

func isNotYetValid(err error) bool {
	var early *keystore.TimeError
	return errors.As(err, &early) && early.NotYet
}

// isClockSkew reports whether certificates that have just been issued are not valid
// by the clock of this machine.
func isClockSkew(err error) bool {
	return errors.Is(err, login.ErrRejected) && isA[*keystore.TimeError](err)
}
