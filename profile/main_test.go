package profile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"testing"

	"github.com/seed-087d674e/tsh/internal/durable"
	"github.com/seed-087d674e/tsh/keystore"
)

// TestMain lets the test binary be another process, too: one that tests start and kill.
func TestMain(m *testing.M) {
	switch role := os.Getenv("TSH_TEST_ROLE"); role {
	case "":
		os.Exit(m.Run())
	case "operate":
		os.Exit(operate(os.Getenv("TSH_TEST_DO"), os.Getenv("TSH_TEST_HOME"), os.Getenv("TSH_TEST_FROM")))
	case "churn":
		os.Exit(churn(os.Getenv("TSH_TEST_HOME"), os.Getenv("TSH_TEST_FROM")))
	case "read":
		os.Exit(readOn(os.Getenv("TSH_TEST_HOME"), os.Stdin, os.Stdout))
	default:
		fmt.Fprintln(os.Stderr, "no such role:", role)
		os.Exit(64)
	}
}

// What operate returns.
const (
	exitRefused    = 1
	exitUnfinished = 2
)

// operate makes one change of home. A login is taken from the directory from.
func operate(do, home, from string) int {
	// A tracer counts the calls of each thread for itself.
	runtime.LockOSThread()
	ctx, s := context.Background(), Open(home)
	var err error
	switch do {
	case "commit":
		err = commitFrom(ctx, s, from)
	case "select":
		err = s.Select(ctx, "port")
	case "logout":
		_, err = s.Logout(ctx, "gate", "alice")
	default:
		err = errors.New("no such operation: " + do)
	}
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, err)
	var unfinished *durable.UnfinishedError
	if errors.As(err, &unfinished) {
		return exitUnfinished
	}
	return exitRefused
}

func commitFrom(ctx context.Context, s *Store, from string) error {
	p, id, err := loginIn(from)
	if err != nil {
		return err
	}
	return s.Commit(ctx, p, id)
}

// loginIn is the login that is stored in the directory home, as one that was just made.
func loginIn(home string) (*Profile, *keystore.Identity, error) {
	s := Open(home)
	p, err := s.Load("")
	if err != nil {
		return nil, nil, err
	}
	p.LoadAllCAs = true
	id, err := s.Identity(p)
	if err != nil {
		return nil, nil, err
	}
	p.LoadAllCAs, p.Proven = false, p.Name
	return p, id, nil
}
