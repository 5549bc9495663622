//go:build unix

package keystore

import "testing"

func TestAddressesOfIPv6ProxiesAreNames(t *testing.T) {
	for _, name := range []string{"::1", "2001:db8::7"} {
		if err := CheckName("proxy", name); err != nil {
			t.Error(err)
		}
	}
}
