package credentials

import "errors"

// UnsupportedError is the answer of credentials to what they cannot do by their nature. It
// matches errors.ErrUnsupported.
type UnsupportedError struct {
	Loader string // the function that the credentials come from
	What   string // what was asked for
	Use    string // what to use instead
}

func (e *UnsupportedError) Error() string {
	return "credentials of " + e.Loader + " have no " + e.What + "; use " + e.Use
}

// Unwrap returns errors.ErrUnsupported.
func (e *UnsupportedError) Unwrap() error { return errors.ErrUnsupported }

// noSSH is the error of credentials for TLS alone.
func noSSH(loader string) error {
	return &UnsupportedError{loader, "SSH configuration", "LoadProfile, LoadIdentityFile, LoadIdentityString or NewDynamicIdentityFile"}
}

// noAddrs is the error of credentials that do not say what they are for.
func noAddrs(loader string) error {
	return &UnsupportedError{loader, "address of a proxy", "LoadProfile, or name the address yourself"}
}
