package keyring

import (
	"errors"
	"fmt"
	"syscall"
)

// judgeSystem knows the one error of the Credential Manager that has a reason
// people meet: a session from the network has no credentials.
func judgeSystem(err error) error {
	const noSuchLogonSession = syscall.Errno(1312)
	if errors.Is(err, noSuchLogonSession) {
		return fmt.Errorf("%w: this logon session has no Credential Manager (as one over SSH)", ErrUnavailable)
	}
	return nil
}
