package proxy

import (
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// case L19: the proxy's clock is what its web server says; an answer without it is no
// answer, and one with an endless body ends.
func TestTime(t *testing.T) {
	want := time.Date(2027, 1, 1, 12, 30, 15, 0, time.UTC)
	dates := []string{want.Format(http.TimeFormat)}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Date"] = dates
		_, _ = w.Write([]byte(strings.Repeat(" ", 3<<20)))
	}))
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	c := clientFor(t, server.Listener.Addr().String(), roots)
	if got, err := c.Time(testContext(t)); err != nil || !got.Equal(want) {
		t.Errorf("%v, %v", got, err)
	}
	for _, dates = range [][]string{nil, {"yesterday"}} {
		if got, err := c.Time(testContext(t)); err == nil || !strings.Contains(err.Error(), "has no date") {
			t.Errorf("%q: %v, %v", dates, got, err)
		}
	}
}
