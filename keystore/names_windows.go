package keystore

import (
	"fmt"
	"strings"
)

// checkPlatformElement refuses what is no file name on Windows, such as the
// colons of an IPv6 address or of a user name.
func checkPlatformElement(name string) error {
	if i := strings.IndexAny(name, `<>:"|?*`); i >= 0 {
		return fmt.Errorf("cannot be stored on Windows, where %q is not allowed in a file name", name[i])
	}
	if base, _, _ := strings.Cut(name, "."); isReserved(base) {
		return fmt.Errorf("begins with a device name on Windows")
	}
	return nil
}
