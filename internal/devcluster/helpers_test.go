package devcluster

import (
	"net"
	"os"
	"testing"
	"time"
)

func rawDial(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// pause lets other goroutines come to their end.
func pause() { <-time.After(5 * time.Millisecond) }

// TestMain gives the sessions a home of their own: a shell that finds itself
// under SSH reads the start-up files of whoever runs the tests.
func TestMain(m *testing.M) {
	home, err := os.MkdirTemp("", "devcluster-home")
	if err != nil {
		panic(err)
	}
	for _, name := range []string{"HOME", "USERPROFILE"} {
		if err := os.Setenv(name, home); err != nil {
			panic(err)
		}
	}
	status := m.Run()
	_ = os.RemoveAll(home)
	os.Exit(status)
}
