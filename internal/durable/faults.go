package durable

import (
	"context"
	"errors"
)

// ErrHalf is what a hook of WithFaults returns for a write that stops in the middle.
var ErrHalf = errors.New("wrote a part only")

type faultsKey struct{}

// WithFaults is for tests. Every transaction that is begun with the context returned
// asks hook before each of its operations on the disk, one at a time: op is a word
// such as "rename", path is below home, with slashes. An error takes the place of the
// operation; one that matches ErrHalf, for "write", that of its second half. A hook
// that returns an error for everything from some operation on is a process that was
// killed there.
func WithFaults(ctx context.Context, hook func(op, path string) error) context.Context {
	return context.WithValue(ctx, faultsKey{}, hook)
}

// faultsIn is the hook in ctx; nil, as always outside of tests, if there is none.
func faultsIn(ctx context.Context) func(op, path string) error {
	hook, _ := ctx.Value(faultsKey{}).(func(op, path string) error)
	return hook
}
