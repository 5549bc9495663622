//go:build unix

package doctor

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"net"
	"os"
	"testing"
	"time"
)

func dialUnix(t *testing.T) net.Conn {
	t.Helper()
	conn, err := net.DialTimeout("unix", os.Getenv("SSH_AUTH_SOCK"), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

func p256() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }
