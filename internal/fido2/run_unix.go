//go:build unix && !libfido2

package fido2

import (
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// asksItself: the programs get the PIN from us.
const asksItself = false

// start starts the program in a session of its own: without a terminal it reads
// the PIN, if it wants one, from its input, and asks nobody. Its parameters
// come by another pipe then, because it reads ahead.
func (c *call) start(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	switch {
	case c.pin == "" && len(c.input) == 0:
		return cmd.Start()
	case c.pin == "":
		cmd.Stdin = strings.NewReader(c.lines())
		return cmd.Start()
	}
	cmd.Stdin = strings.NewReader(c.pin + "\n")
	if len(c.input) == 0 {
		return cmd.Start()
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	defer w.Close()
	cmd.ExtraFiles = []*os.File{r}
	cmd.Args = append([]string{cmd.Args[0], cmd.Args[1], "-i", "/dev/fd/3"}, cmd.Args[2:]...) // the mode has to come first
	if _, err := io.WriteString(w, c.lines()); err != nil {                                   // it fits into the pipe
		return err
	}
	return cmd.Start()
}
