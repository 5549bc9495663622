package keystore

import (
	"strings"
	"testing"
)

// A colon is no part of a file name on Windows: the answer is clear, not a file
// with an alternate stream.
func TestAddressesOfIPv6ProxiesCannotBeStored(t *testing.T) {
	for _, n := range [][2]string{{"proxy", "::1"}, {"user", "a:b"}, {"proxy", "aux.example.net"}} {
		if err := CheckName(n[0], n[1]); err == nil || !strings.Contains(err.Error(), "Windows") {
			t.Errorf("%q: %v", n[1], err)
		}
	}
}
