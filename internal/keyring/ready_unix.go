//go:build linux || freebsd || netbsd || openbsd

package keyring

// Ready reports whether the keyring could be used now, without touching a slot. A
// person who is asked for its password by the desktop has until the timeout.
func (s System) Ready() error {
	return converse(s.timeout(), func(c *conversation) error {
		_, err := c.collection()
		return err
	})
}
