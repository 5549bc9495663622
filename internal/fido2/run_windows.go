//go:build !libfido2

package fido2

import (
	"os/exec"
	"strings"
)

// asksItself: the programs read a PIN from the console, and from nowhere else.
const asksItself = true

// start starts the program with its parameters on its input.
func (c *call) start(cmd *exec.Cmd) error {
	if len(c.input) > 0 {
		cmd.Stdin = strings.NewReader(c.lines())
	}
	return cmd.Start()
}
