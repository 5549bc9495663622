//go:build !libfido2

package fido2

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/seed-087d674e/tsh/login"
)

// Open returns what speaks with the keys of this machine, or nil if the
// programs for it are not installed.
func Open(o Options) login.Authenticator {
	p, ok := findPrograms()
	if !ok {
		return nil
	}
	return &keys{p, o}
}

// keys are all keys that are plugged in, through the programs.
type keys struct {
	programs
	Options
}

// Assert implements login.Authenticator.
func (k *keys) Assert(ctx context.Context, req login.AssertRequest) (*login.Assertion, error) {
	devices, err := k.devices(ctx)
	if err != nil {
		return nil, err
	}
	text, hash := req.ClientData()
	ask := &question{keys: k, req: req, hash: hash}
	candidates, err := ask.candidates(ctx, devices)
	if err != nil {
		return nil, err
	}
	if len(req.Allow) == 0 || req.UserVerification {
		candidates = candidates[:1] // a PIN is one key's
	}
	a, err := first(ctx, candidates, ask.assert)
	if err != nil {
		return nil, explain(err)
	}
	a.ClientDataJSON = text
	return a, nil
}

// devices lists what is plugged in: "PATH: vendor=…" a line.
func (k *keys) devices(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, quickAnswer)
	defer cancel()
	lines, err := (&call{path: k.token, args: []string{"-L"}}).run(ctx)
	if err != nil {
		return nil, err
	}
	var devices []string
	for _, line := range lines {
		// A path may hold spaces and colons.
		if path, _, ok := strings.Cut(line, ": vendor="); ok && path != "" && !strings.HasPrefix(path, "-") {
			devices = append(devices, path)
		}
	}
	if len(devices) == 0 {
		return nil, errNoDevice()
	}
	return devices, nil
}

// question is one request, to be put to several keys.
type question struct {
	*keys
	req  login.AssertRequest
	hash []byte
}

// candidate is a key that could answer.
type candidate struct {
	device string
	ids    [][]byte // with one of these; empty for a key that names its user
	sure   bool     // it has said that it can
}

// candidates asks all keys whether they could answer, which takes no touch. A
// key that does not say (old ones do not) is one only where no other is sure.
func (q *question) candidates(ctx context.Context, devices []string) ([]candidate, error) {
	quick, cancel := context.WithTimeout(ctx, quickAnswer)
	defer cancel()
	answers := make(chan candidate, len(devices))
	for _, device := range devices {
		go func() { answers <- q.probe(quick, device) }()
	}
	var sure, unsure []candidate
	for range devices {
		switch c := <-answers; {
		case c.sure:
			sure = append(sure, c)
		case c.device != "":
			unsure = append(unsure, c)
		}
	}
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case len(sure) > 0:
		return sure, nil
	case len(unsure) > 0:
		return unsure, nil
	}
	return nil, errNotRegistered(len(devices))
}

// probe asks one key. The candidate has no device if it cannot answer.
func (q *question) probe(ctx context.Context, device string) candidate {
	maybe := candidate{}
	if len(q.req.Allow) == 0 {
		_, err := q.call(device, nil, "-r", "-t", "up=false").run(ctx)
		return candidate{device: device, sure: err == nil}.unless(says(err, "FIDO_ERR_NO_CREDENTIALS"))
	}
	for _, id := range q.req.Allow {
		_, err := q.call(device, id, "-t", "up=false").run(ctx)
		switch {
		case err == nil:
			return candidate{device: device, ids: [][]byte{id}, sure: true}
		case !says(err, "FIDO_ERR_NO_CREDENTIALS"):
			maybe.device, maybe.ids = device, append(maybe.ids, id)
		}
	}
	return maybe
}

func (c candidate) unless(out bool) candidate {
	if out {
		return candidate{}
	}
	return c
}

// call is a run of fido2-assert for one credential, or without one.
func (q *question) call(device string, id []byte, args ...string) *call {
	c := &call{path: q.keys.assert, args: append(append([]string{"-G"}, args...), device), input: []string{b64(q.hash), q.req.RPID}}
	if id != nil {
		c.input = append(c.input, b64(id))
	}
	return c
}

// assert has one key answer, which takes a touch.
func (q *question) assert(ctx context.Context, c candidate) (*login.Assertion, error) {
	args := []string{"-p"}
	var pin string
	var err error
	if len(q.req.Allow) == 0 || q.req.UserVerification {
		if pin, err = q.keys.pin(ctx, c.device); err != nil {
			return nil, err
		}
		args = append(args, "-v")
	}
	var chosen resident
	if len(q.req.Allow) == 0 {
		list, err := q.residents(ctx, c.device, pin)
		if err != nil {
			return nil, err
		}
		if chosen, err = pick(list, q.req.User); err != nil {
			return nil, err
		}
		c.ids = [][]byte{chosen.id}
	}
	err = errNotRegistered(1)
	for _, id := range c.ids {
		var lines []string
		run := q.call(c.device, id, args...)
		run.pin = pin
		if lines, err = run.run(ctx); err == nil {
			return q.read(lines, id, chosen.userID)
		}
		if !says(err, "FIDO_ERR_NO_CREDENTIALS") {
			break
		}
	}
	return nil, err
}

// pin asks for the PIN of a key, where it is ours to ask.
func (k *keys) pin(ctx context.Context, device string) (string, error) {
	if asksItself {
		return "", nil
	}
	if k.PIN == nil {
		return "", fmt.Errorf("the PIN of the security key is needed: %w", login.ErrCannotAsk)
	}
	pin, err := k.PIN(ctx, device)
	if err == nil && (pin == "" || strings.ContainsAny(pin, "\n\x00")) {
		err = errWrongPIN()
	}
	return pin, err
}

// residents lists the users that a key speaks for: number, credential, name,
// user handle, type and protection, a line each. Only the name may hold spaces.
func (q *question) residents(ctx context.Context, device, pin string) ([]resident, error) {
	lines, err := (&call{path: q.token, args: []string{"-L", "-k", q.req.RPID, device}, pin: pin}).run(ctx)
	if err != nil {
		return nil, err
	}
	var list []resident
	for _, line := range lines {
		fields := strings.Split(line, " ")
		n := len(fields)
		if n < 6 {
			continue
		}
		id, err := base64.StdEncoding.DecodeString(fields[1])
		user, err2 := base64.StdEncoding.DecodeString(fields[n-3])
		if err != nil || err2 != nil {
			return nil, errors.New("fido2-token lists credentials in an unknown form")
		}
		list = append(list, resident{id: id, userID: user, user: strings.Join(fields[2:n-3], " ")})
	}
	return list, nil
}

// read reads what fido2-assert prints: client data hash, relying party,
// authenticator data wrapped in CBOR, signature.
func (q *question) read(lines []string, id, user []byte) (*login.Assertion, error) {
	if len(lines) < 4 || lines[0] != b64(q.hash) || lines[1] != q.req.RPID {
		return nil, errors.New("fido2-assert answers something else than was asked")
	}
	wrapped, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil {
		return nil, fmt.Errorf("fido2-assert: %w", err)
	}
	data, err := unwrap(wrapped)
	if err != nil {
		return nil, fmt.Errorf("fido2-assert: %w", err)
	}
	sig, err := base64.StdEncoding.DecodeString(lines[3])
	if err != nil || len(sig) == 0 {
		return nil, errors.New("fido2-assert gives no signature")
	}
	return &login.Assertion{CredentialID: id, AuthenticatorData: data, Signature: sig, UserHandle: user}, checkAuthData(data, q.req.RPID)
}
