package durable

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Hold is the lock on a file of our own that a process keeps for as long as it likes,
// across the network and questions to a person: it is beside the lock of transactions,
// which nobody waits for because of it. It ends with the process at the latest.
type Hold struct{ lock *fileLock }

// TryHold takes the lock on the file name in config/tsh below home, without waiting; the
// file, and the directories above it, are made when they are missing. A *BusyError says
// that another process has it. Other errors mean that there can be no such lock there.
func TryHold(home, name string) (*Hold, error) {
	path := ownDir + "/" + name
	if name == "" || filepath.Base(name) != name {
		return nil, fmt.Errorf("%q is no name of a file", name)
	}
	tx := newTx(context.Background(), home)
	defer tx.Close()
	if err := tx.prepare(); err != nil {
		return nil, err
	}
	l, err := openOwn(tx.disk.root, path)
	if errors.Is(err, errBusy) {
		return nil, &BusyError{Path: tx.disk.abs(path), Holder: holderOf(tx.disk.abs(path))}
	}
	if err != nil {
		return nil, fmt.Errorf("locking %s: %w", tx.disk.abs(path), err)
	}
	return &Hold{l}, nil
}

// Write replaces what is in the file, for others to read. It is not flushed.
func (h *Hold) Write(data []byte) { h.lock.write(data) }

// Release gives the lock back. What was written stays.
func (h *Hold) Release() { h.lock.drop() }

// write replaces the text of a lock of ours. It only helps others to wait: a full disk
// is no reason not to lock.
func (l *fileLock) write(data []byte) {
	_, err := l.file.Seek(0, io.SeekStart)
	if err == nil {
		_, err = l.file.Write(data)
	}
	if err == nil {
		_ = l.file.Truncate(int64(len(data)))
	}
}

// ownName is who has a lock, for those who wait.
func ownName() []byte {
	return fmt.Appendf(nil, "%d %s\n", os.Getpid(), filepath.Base(os.Args[0]))
}
