//go:build !libfido2

package fido2

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/seed-087d674e/tsh/internal/text"
)

// Limits of the programs.
const (
	maxOutput   = 64 << 10
	quickAnswer = 10 * time.Second // for what needs no person
	killDelay   = time.Second      // after which output is not waited for any more
)

// programs are the paths of what comes with libfido2.
type programs struct{ token, assert, cred string }

// findPrograms looks for them along PATH. A program of the current directory is
// not taken.
func findPrograms() (programs, bool) {
	var p programs
	for name, path := range map[string]*string{"fido2-token": &p.token, "fido2-assert": &p.assert, "fido2-cred": &p.cred} {
		found, err := exec.LookPath(name)
		if err != nil || !filepath.IsAbs(found) {
			return programs{}, false
		}
		*path = found
	}
	return p, true
}

// programError is a program that did not do it.
type programError struct {
	name   string
	stderr string
}

func (e *programError) Error() string {
	message := strings.TrimSpace(e.stderr)
	if i := strings.LastIndexByte(message, '\n'); i >= 0 {
		message = message[i+1:] // the last line is the reason
	}
	return e.name + ": " + text.Line(message)
}

// says reports whether the reason is one of the library's, FIDO_ERR_….
func says(err error, code string) bool {
	var e *programError
	return errors.As(err, &e) && strings.Contains(e.stderr, code)
}

// explain words the reasons that a person can do something about.
func explain(err error) error {
	switch {
	case says(err, "FIDO_ERR_PIN_INVALID"):
		return errWrongPIN()
	case says(err, "FIDO_ERR_PIN_AUTH_BLOCKED"), says(err, "FIDO_ERR_PIN_BLOCKED"):
		return errPINBlocked()
	case says(err, "FIDO_ERR_PIN_NOT_SET"):
		return errNoPIN()
	}
	return err
}

// call is one run of a program.
type call struct {
	path  string
	args  []string // the device comes last
	input []string // lines
	pin   string
}

// errTooMuch: a program prints more than any answer has.
var errTooMuch = fmt.Errorf("it prints more than %d bytes", maxOutput)

// bounded keeps the first bytes of an output, and gives the program up when
// there are more.
type bounded struct {
	kept   []byte // no bytes.Buffer: its ReadFrom would take over
	giveUp context.CancelCauseFunc
}

func (b *bounded) Write(p []byte) (int, error) {
	if len(b.kept)+len(p) > maxOutput {
		b.giveUp(errTooMuch)
		return 0, errTooMuch
	}
	b.kept = append(b.kept, p...)
	return len(p), nil
}

// run runs a program and returns the lines it prints. The program is killed when
// ctx ends, whose error is returned then.
func (c *call) run(ctx context.Context) ([]string, error) {
	name := filepath.Base(c.path)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	cmd := exec.CommandContext(ctx, c.path, c.args...)
	out, errs := bounded{giveUp: cancel}, bounded{giveUp: cancel}
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &errs, killDelay
	err := c.start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	var exit *exec.ExitError
	switch {
	case context.Cause(ctx) == errTooMuch:
		return nil, fmt.Errorf("%s: %w", name, errTooMuch)
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.As(err, &exit):
		if exit.ExitCode() < 0 && endsSoon(ctx) { // ^C came while it was being started
			return nil, context.Cause(ctx)
		}
		return nil, &programError{name, string(errs.kept)}
	case err != nil:
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return strings.Split(strings.TrimRight(string(out.kept), "\n"), "\n"), nil
}

// endsSoon waits a moment for the end of ctx: what has killed a program may have been
// meant for us as well.
func endsSoon(ctx context.Context) bool {
	soon, cancel := context.WithTimeout(ctx, killDelay)
	defer cancel()
	<-soon.Done()
	return ctx.Err() != nil
}

func (c *call) lines() string { return strings.Join(c.input, "\n") + "\n" }

func b64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
