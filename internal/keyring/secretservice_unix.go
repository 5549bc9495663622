//go:build linux || freebsd || netbsd || openbsd

package keyring

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/seed-087d674e/tsh/internal/text"
)

// The names of the Secret Service API,
// https://specifications.freedesktop.org/secret-service/.
const (
	busName = "org.freedesktop.secrets"

	servicePath     = dbus.ObjectPath("/org/freedesktop/secrets")
	loginCollection = servicePath + "/collection/login"
	noObject        = dbus.ObjectPath("/") // "no prompt needed", "no such alias"

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
	ctx     context.Context
	conn    *dbus.Conn
	timeout time.Duration
}

// converse connects, has f talk to the service and closes the connection, all
// within the timeout.
func converse(timeout time.Duration, f func(*conversation) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	c := &conversation{ctx: ctx, timeout: timeout}
	conn, err := connect(ctx)
	if err != nil {
		return c.judge(err)
	}
	defer conn.Close()
	c.conn = conn
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
		properties := map[string]dbus.Variant{
			itemInterface + ".Label":      dbus.MakeVariant("Key of a tsh login (" + slot + ")"),
			itemInterface + ".Attributes": dbus.MakeVariant(attributes(slot)),
		}
		secret := secret{Session: session, Parameters: []byte{}, Value: []byte(value), ContentType: "text/plain; charset=utf8"}
		var item, prompt dbus.ObjectPath
		err = c.call(collection, collectionInterface+".CreateItem", []any{properties, secret, true}, &item, &prompt)
		var told dbus.Error
		if errors.As(err, &told) {
			// The service has seen the key; what it says about that is not repeated.
			return dbus.Error{Name: told.Name}
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
			var prompt dbus.ObjectPath
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
	Session     dbus.ObjectPath
	Parameters  []byte
	Value       []byte
	ContentType string
}

// collection is the keyring that the desktop unlocks at login or, if there is no
// such, the default one; it is unlocked.
func (c *conversation) collection() (dbus.ObjectPath, error) {
	property, err := c.property(servicePath, serviceInterface, "Collections")
	if err != nil {
		return "", err
	}
	all, ok := property.Value().([]dbus.ObjectPath)
	if !ok {
		return "", wrongTypes(serviceInterface + ".Collections")
	}
	path := loginCollection
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
func (c *conversation) unlock(path dbus.ObjectPath, kind string) error {
	var unlocked []dbus.ObjectPath
	var prompt dbus.ObjectPath
	if err := c.call(servicePath, serviceInterface+".Unlock", []any{[]dbus.ObjectPath{path}}, &unlocked, &prompt); err != nil {
		return err
	}
	if slices.Contains(unlocked, path) {
		return nil
	}
	if err := c.answered(prompt); err != nil {
		return err
	}
	property, err := c.property(path, kind, "Locked")
	if err != nil {
		return err
	}
	locked, ok := property.Value().(bool)
	if !ok {
		return wrongTypes(kind + ".Locked")
	}
	if locked {
		return ErrLocked
	}
	return nil
}

// find lists the items of a slot, in an unlocked collection.
func (c *conversation) find(slot string) (items []dbus.ObjectPath, err error) {
	collection, err := c.collection()
	if err != nil {
		return nil, err
	}
	err = c.call(collection, collectionInterface+".SearchItems", []any{attributes(slot)}, &items)
	return items, err
}

// session agrees on how secrets travel. It ends with the connection.
func (c *conversation) session() (session dbus.ObjectPath, err error) {
	var ignored dbus.Variant
	err = c.call(servicePath, serviceInterface+".OpenSession", []any{"plain", dbus.MakeVariant("")}, &ignored, &session)
	return session, err
}

// secret is the value of an item, unlocked first if that has a lock of its own.
func (c *conversation) secret(item, session dbus.ObjectPath) (string, error) {
	if err := c.unlock(item, itemInterface); err != nil {
		return "", err
	}
	const method = itemInterface + ".GetSecret"
	var fields []any // session, parameters, value, content type
	if err := c.call(item, method, []any{session}, &fields); err != nil {
		return "", err
	}
	if len(fields) != 4 {
		return "", wrongTypes(method)
	}
	value, ok := fields[2].([]byte)
	if !ok {
		return "", wrongTypes(method)
	}
	return string(value), nil
}

// answered has the service show a prompt, if there is one, and waits for the
// person until the deadline. After that the prompt is left to the service:
// GNOME keeps the one it shows, and who fills it in late has unlocked the
// keyring for the next command.
func (c *conversation) answered(prompt dbus.ObjectPath) error {
	if prompt == noObject {
		return nil
	}
	if !prompt.IsValid() {
		return wrongTypes("for a prompt")
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
func (c *conversation) show(prompt dbus.ObjectPath) (dismissed bool, err error) {
	err = c.conn.AddMatchSignalContext(c.ctx, dbus.WithMatchSender(busName), dbus.WithMatchObjectPath(prompt), dbus.WithMatchInterface(promptInterface))
	if err != nil {
		return false, err
	}
	signals := make(chan *dbus.Signal, 8)
	c.conn.Signal(signals)
	if err := c.call(prompt, promptInterface+".Prompt", []any{""}); err != nil {
		return false, err
	}
	for {
		select {
		case signal, open := <-signals:
			if !open {
				return false, dbus.ErrClosed
			}
			if signal.Path != prompt || signal.Name != promptInterface+".Completed" {
				continue
			}
			var ignored dbus.Variant
			if !store(signal.Body, &dismissed, &ignored) {
				return false, wrongTypes(signal.Name)
			}
			return dismissed, nil
		case <-c.ctx.Done():
			return false, c.ctx.Err()
		}
	}
}

func (c *conversation) property(path dbus.ObjectPath, kind, name string) (value dbus.Variant, err error) {
	err = c.call(path, "org.freedesktop.DBus.Properties.Get", []any{kind, name}, &value)
	return value, err
}

// call calls a method of the service and stores what it returns.
func (c *conversation) call(path dbus.ObjectPath, method string, args []any, results ...any) error {
	reply := c.conn.Object(busName, path).CallWithContext(c.ctx, method, 0, args...)
	if reply.Err != nil {
		return reply.Err
	}
	if !store(reply.Body, results...) {
		return wrongTypes(method)
	}
	return nil
}

// store copies values to what the results point to and reports whether they have
// those types. dbus.Store would convert: a number to a path, for one.
func store(values []any, results ...any) bool {
	if len(values) != len(results) {
		return false
	}
	for i, value := range values {
		to := reflect.ValueOf(results[i]).Elem()
		if reflect.TypeOf(value) != to.Type() {
			return false
		}
		to.Set(reflect.ValueOf(value))
	}
	return true
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
	var told dbus.Error
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
func judgeAnswer(told dbus.Error) error {
	const bus = "org.freedesktop.DBus.Error."
	switch name := told.Name; {
	case name == "org.freedesktop.Secret.Error.IsLocked":
		return ErrLocked
	case name == bus+"TimedOut", name == bus+"Timeout":
		return ErrNoAnswer
	case name == bus+"ServiceUnknown", name == bus+"NameHasNoOwner", strings.HasPrefix(name, bus+"Spawn."):
		return fmt.Errorf("%w: nothing on the D-Bus session bus provides %s", ErrUnavailable, busName)
	case name == bus+"NoReply", name == bus+"Disconnected":
		return fmt.Errorf("%w: the Secret Service went away before it answered", ErrUnavailable)
	}
	said := told.Name
	if message := told.Error(); message != said {
		said += ": " + message
	}
	return fmt.Errorf("%w: the Secret Service answers %s", ErrUnavailable, text.Block(text.Line(said), 1))
}

// gone reports the answers for an item that was deleted after it was found.
func gone(err error) bool {
	var told dbus.Error
	return errors.As(err, &told) && slices.Contains([]string{
		"org.freedesktop.Secret.Error.NoSuchObject", "org.freedesktop.DBus.Error.UnknownObject", "org.freedesktop.DBus.Error.UnknownMethod",
	}, told.Name)
}
