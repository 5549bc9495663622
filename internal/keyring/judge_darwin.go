package keyring

import (
	"errors"
	"fmt"
	"os/exec"
)

// judgeSystem knows the exit codes of /usr/bin/security, the low bytes of the
// status codes of Security.framework (SecBase.h).
func judgeSystem(err error) error {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return nil
	}
	switch exit.ExitCode() {
	case 36: // errSecInteractionNotAllowed: locked, and nobody can be asked, as over SSH
		return fmt.Errorf("%w, and its password cannot be asked for here", ErrLocked)
	case 51, 128: // errSecAuthFailed, errSecUserCanceled
		return fmt.Errorf("%w, and its prompt was dismissed", ErrLocked)
	case 37, 50: // errSecNoDefaultKeychain, errSecNoSuchKeychain
		return fmt.Errorf("%w: there is no Keychain", ErrUnavailable)
	}
	return nil
}
