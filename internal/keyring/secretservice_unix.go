//go:build linux || freebsd || netbsd || openbsd

package keyring

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-087d674e/tsh/internal/text"
)

// The names of the Secret Service API,
// https://specifications.freedesktop.org/secret-service/.
const (
	busName = "org.freedesktop.secrets"

	servicePath     = "/org/freedesktop/secrets"
	loginCollection = servicePath + "/collection/login"
	noObject        = "/" // "no prompt needed", "no such alias"

	serviceInterface    = "org.freedesktop.Secret.Service"
	collectionInterface = "org.freedesktop.Secret.Collection"
	itemInterface       = "org.freedesktop.Secret.Item"
	promptInterface     = "org.freedesktop.Secret.Prompt"
)

// conversation is a connection to the Secret Service for one call of ours.
//
// It does what go-keyring does on these systems, on the same objects with the same
// attributes, so that either reads what the other wrote; but go-keyring itself
// is not called. It uses a connection that the whole process shares, without a
// deadline: while the bus is silent the lock of that connection is held and
// nothing can close it, and a prompt that ends with the connection, or an
// answer of another type, is a panic.
type conversation struct {
	_       [0]func() // never compared
	ctx     context.Context
	bus     *bus
	timeout time.Duration
}

// converse connects, has f talk to the service and closes the connection, all
// within the timeout.
func converse(timeout time.Duration, f func(*conversation) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	c := &conversation{ctx: ctx, timeout: timeout}
	b, err := connect(ctx)
	if err != nil {
		return c.judge(err)
	}
	defer b.socket.Close()
	c.bus = b
	return c.judge(f(c))
}

func read(timeout time.Duration, slot string) (value string, err error) {
	err = converse(timeout, func(c *conversation) error {
		items, err := c.find(slot)
		if err != nil {
			return err
		}
		if len(items) == 0 {
			return ErrMissing
		}
		session, err := c.session()
		if err != nil {
			return err
		}
		value, err = c.secret(items[0], session)
		if gone(err) {
			return ErrMissing
		}
		return err
	})
	return value, err
}

func write(timeout time.Duration, slot, value string) error {
	return converse(timeout, func(c *conversation) error {
		collection, err := c.collection()
		if err != nil {
			return err
		}
		session, err := c.session()
		if err != nil {
			return err
		}
		properties := map[string]variant{
			itemInterface + ".Label":      variant{"Key of a tsh login (" + slot + ")"},
			itemInterface + ".Attributes": variant{attributes(slot)},
		}
		secret := secret{Session: session, Parameters: []byte{}, Value: []byte(value), ContentType: "text/plain; charset=utf8"}
		var item, prompt objectPath
		err = c.call(collection, collectionInterface+".CreateItem", []any{properties, secret, true}, &item, &prompt)
		var told *busError
		if errors.As(err, &told) {
			// The service has seen the key; what it says about that is not repeated.
			return &busError{name: told.name}
		}
		if err != nil {
			return err
		}
		return c.answered(prompt)
	})
}

func remove(timeout time.Duration, slot string) error {
	return converse(timeout, func(c *conversation) error {
		items, err := c.find(slot)
		if err != nil {
			return err
		}
		for _, item := range items {
			var prompt objectPath
			err := c.call(item, itemInterface+".Delete", nil, &prompt)
			if gone(err) {
				continue
			}
			if err != nil {
				return err
			}
			if err := c.answered(prompt); err != nil {
				return err
			}
		}
		return nil
	})
}

// attributes is what an entry is found by, named as go-keyring names them.
func attributes(slot string) map[string]string {
	return map[string]string{"service": service, "username": slot}
}

// secret is how a value travels to the service: in plain, over a socket that
// only we and root can read.
type secret struct {
	Session     objectPath
	Parameters  []byte
	Value       []byte
	ContentType string
}

// collection is the keyring that the desktop unlocks at login or, if there is no
// such, the default one; it is unlocked.
func (c *conversation) collection() (objectPath, error) {
	var all []objectPath
	if err := c.property(servicePath, serviceInterface, "Collections", &all); err != nil {
		return "", err
	}
	var path objectPath = loginCollection
	if !slices.Contains(all, path) {
		if err := c.call(servicePath, serviceInterface+".ReadAlias", []any{"default"}, &path); err != nil {
			return "", err
		}
		if path == noObject {
			return "", fmt.Errorf("%w: the Secret Service has no default collection", ErrUnavailable)
		}
	}
	return path, c.unlock(path, collectionInterface)
}

// unlock makes sure that a collection or item is open. The service decides
// whether it asks the person; we wait for that until the deadline.
func (c *conversation) unlock(path objectPath, kind string) error {
	var unlocked []objectPath
	var prompt objectPath
	if err := c.call(servicePath, serviceInterface+".Unlock", []any{[]objectPath{path}}, &unlocked, &prompt); err != nil {
		return err
	}
	if slices.Contains(unlocked, path) {
		return nil
	}
	if err := c.answered(prompt); err != nil {
		return err
	}
	var locked bool
	if err := c.property(path, kind, "Locked", &locked); err != nil {
		return err
	}
	if locked {
		return ErrLocked
	}
	return nil
}

// find lists the items of a slot, in an unlocked collection.
func (c *conversation) find(slot string) (items []objectPath, err error) {
	collection, err := c.collection()
	if err != nil {
		return nil, err
	}
	err = c.call(collection, collectionInterface+".SearchItems", []any{attributes(slot)}, &items)
	return items, err
}

// session agrees on how secrets travel. It ends with the connection.
func (c *conversation) session() (session objectPath, err error) {
	err = c.call(servicePath, serviceInterface+".OpenSession", []any{"plain", variant{""}}, variant{}, &session)
	return session, err
}

// secret is the value of an item, unlocked first if that has a lock of its own.
func (c *conversation) secret(item, session objectPath) (string, error) {
	if err := c.unlock(item, itemInterface); err != nil {
		return "", err
	}
	var held secret
	err := c.call(item, itemInterface+".GetSecret", []any{session}, &held)
	return string(held.Value), err
}

// answered has the service show a prompt, if there is one, and waits for the
// person until the deadline. After that the prompt is left to the service:
// GNOME keeps the one it shows, and who fills it in late has unlocked the
// keyring for the next command.
func (c *conversation) answered(prompt objectPath) error {
	if prompt == noObject {
		return nil
	}
	dismissed, err := c.show(prompt)
	switch {
	case err != nil && c.late():
		return fmt.Errorf("%w, and nobody answered its prompt within %v", ErrLocked, c.timeout)
	case err != nil:
		return err
	case dismissed:
		return fmt.Errorf("%w, and its prompt was dismissed or cannot be shown", ErrLocked)
	}
	return nil
}

// show has the service show a prompt and reports whether it was dismissed.
func (c *conversation) show(prompt objectPath) (dismissed bool, err error) {
	rule := fmt.Sprintf("type='signal',sender='%s',path='%s',interface='%s'", busName, prompt, promptInterface)
	if err := c.bus.call(ownMethod("AddMatch", rule)); err != nil {
		return false, err
	}
	if err := c.call(prompt, promptInterface+".Prompt", []any{""}); err != nil {
		return false, err
	}
	for {
		told, err := c.bus.prompted()
		if err != nil {
			return false, err
		}
		if told.path != prompt || told.member != "Completed" {
			continue
		}
		if err := told.store(&dismissed, variant{}); err != nil {
			return false, wrongTypes(promptInterface + ".Completed")
		}
		return dismissed, nil
	}
}

func (c *conversation) property(path objectPath, kind, name string, result any) error {
	return c.call(path, "org.freedesktop.DBus.Properties.Get", []any{kind, name}, variant{result})
}

// call calls a method of the service and stores what it returns.
func (c *conversation) call(path objectPath, method string, args []any, results ...any) error {
	err := c.bus.call(request{busName, path, method, args}, results...)
	if errors.Is(err, errTypes) {
		return wrongTypes(method)
	}
	return err
}

func wrongTypes(member string) error {
	return fmt.Errorf("%w: the Secret Service answers %s with types that the call does not have", ErrUnavailable, member)
}

func (c *conversation) late() bool {
	deadline, _ := c.ctx.Deadline()
	return !time.Now().Before(deadline)
}

// judge turns an error of a conversation into one of the package's.
func (c *conversation) judge(err error) error {
	var told *busError
	switch {
	case err == nil, errors.Is(err, ErrUnavailable), errors.Is(err, ErrLocked), errors.Is(err, ErrMissing):
		return err
	case c.late():
		return fmt.Errorf("%w within %v", ErrNoAnswer, c.timeout)
	case errors.As(err, &told):
		return judgeAnswer(told)
	}
	return fmt.Errorf("%w: the connection to the session bus ended: %s", ErrUnavailable, text.Line(err.Error()))
}

// judgeAnswer turns an error that the bus or the service answered with into one
// of the package's.
func judgeAnswer(told *busError) error {
	const bus = "org.freedesktop.DBus.Error."
	switch name := told.name; {
	case name == "org.freedesktop.Secret.Error.IsLocked":
		return ErrLocked
	case name == bus+"TimedOut", name == bus+"Timeout":
		return ErrNoAnswer
	case name == bus+"ServiceUnknown", name == bus+"NameHasNoOwner", strings.HasPrefix(name, bus+"Spawn."):
		return fmt.Errorf("%w: nothing on the D-Bus session bus provides %s", ErrUnavailable, busName)
	case name == bus+"NoReply", name == bus+"Disconnected":
		return fmt.Errorf("%w: the Secret Service went away before it answered", ErrUnavailable)
	}
	return fmt.Errorf("%w: the Secret Service answers %s", ErrUnavailable, text.Block(text.Line(told.Error()), 1))
}

// gone reports the answers for an item that was deleted after it was found.
func gone(err error) bool {
	var told *busError
	return errors.As(err, &told) && slices.Contains([]string{
		"org.freedesktop.Secret.Error.NoSuchObject", "org.freedesktop.DBus.Error.UnknownObject", "org.freedesktop.DBus.Error.UnknownMethod",
	}, told.name)
}
