package credentials

import (
	"crypto/tls"
	"path/filepath"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/internal/testenv"
)

// BenchmarkLoadProfile is what a program pays to use a login, for both protocols. "x" is how
// many times as long that is as what the standard library takes to read the one key and the
// one certificate that TLS needs of it: 6 is the goal.
func BenchmarkLoadProfile(b *testing.B) {
	home := testenv.CopyHome(b, "18.3")
	user := filepath.Join(home, "keys", "localhost", "fixture")
	var floor time.Duration
	for b.Loop() {
		creds := at(testenv.FixtureTime(), home, "")
		if _, err := creds.TLSConfig(); err != nil {
			b.Fatal(err)
		}
		if _, err := creds.SSHClientConfig(); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		start := time.Now()
		if _, err := tls.LoadX509KeyPair(user+".crt", user+".key"); err != nil {
			b.Fatal(err)
		}
		floor += time.Since(start)
		b.StartTimer()
	}
	b.ReportMetric(float64(b.Elapsed())/float64(floor), "x")
}
