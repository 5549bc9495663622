package devcluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// Names of the files below the directory of a dev cluster.
const (
	stateFile  = "state.db"
	pidFile    = "pid"
	caFile     = "web-ca.pem"
	socketFile = "admin.sock"
)

// Buckets of the state file; the values are JSON.
const (
	bucketMeta        = "meta"
	bucketAuthorities = "authorities"
	bucketUsers       = "users"
	bucketRoles       = "roles"
	bucketNodes       = "nodes"
)

// lockWait is how long an open waits for another process to let go of the
// state file: an admin command holds it for milliseconds.
const lockWait = 300 * time.Millisecond

// errInUse: another process holds the state of this directory.
var errInUse = errors.New("in use")

// state is what survives a restart.
type state struct {
	dir string
	db  *bbolt.DB
}

// openState opens the state below dir. With create it makes what is missing;
// without, a directory that has no state is an error that wraps fs.ErrNotExist.
func openState(dir string, create bool) (*state, error) {
	path := filepath.Join(dir, stateFile)
	if create {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	} else if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s holds no dev cluster: %w", dir, fs.ErrNotExist)
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: lockWait})
	if errors.Is(err, berrors.ErrTimeout) {
		return nil, fmt.Errorf("%s is %w by another devcluster%s", dir, errInUse, holder(dir))
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &state{dir: dir, db: db}, nil
}

// holder names the process in the pid file, for messages.
func holder(dir string) string {
	b, err := os.ReadFile(filepath.Join(dir, pidFile))
	if err != nil || len(b) > 20 {
		return ""
	}
	return " (pid " + strings.TrimSpace(string(b)) + ")"
}

func (s *state) close() error { return s.db.Close() }

// get reads one value into v and says whether it was there.
func (s *state) get(bucket, key string, v any) (found bool, err error) {
	err = s.view(func(tx *stateTx) error {
		found, err = tx.get(bucket, key, v)
		return err
	})
	return found, err
}

// each calls f for every value of a bucket, in the order of the keys.
func (s *state) each(bucket string, f func(key string, value []byte) error) error {
	return s.view(func(tx *stateTx) error { return tx.each(bucket, f) })
}

// view runs f in one transaction that only reads.
func (s *state) view(f func(tx *stateTx) error) error {
	return s.db.View(func(tx *bbolt.Tx) error { return f(&stateTx{tx}) })
}

// update runs f in one transaction that is kept if f returns nil.
func (s *state) update(f func(tx *stateTx) error) error {
	return s.db.Update(func(tx *bbolt.Tx) error { return f(&stateTx{tx}) })
}

// stateTx reads and writes JSON values within one transaction.
type stateTx struct{ tx *bbolt.Tx }

func (t *stateTx) get(bucket, key string, v any) (bool, error) {
	b := t.tx.Bucket([]byte(bucket))
	if b == nil {
		return false, nil
	}
	raw := b.Get([]byte(key))
	if raw == nil {
		return false, nil
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return true, fmt.Errorf("state %s/%s is damaged: %w", bucket, key, err)
	}
	return true, nil
}

// each calls f for every value of a bucket, in the order of the keys.
func (t *stateTx) each(bucket string, f func(key string, value []byte) error) error {
	b := t.tx.Bucket([]byte(bucket))
	if b == nil {
		return nil
	}
	return b.ForEach(func(k, v []byte) error { return f(string(k), v) })
}

func (t *stateTx) put(bucket, key string, v any) error {
	b, err := t.tx.CreateBucketIfNotExists([]byte(bucket))
	if err != nil {
		return err
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return b.Put([]byte(key), raw)
}

func (t *stateTx) delete(bucket, key string) error {
	b := t.tx.Bucket([]byte(bucket))
	if b == nil {
		return nil
	}
	return b.Delete([]byte(key))
}
