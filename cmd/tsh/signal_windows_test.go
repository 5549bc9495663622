package main

import (
	"os/exec"
	"syscall"
)

// withoutTerminal starts cmd without a console.
func withoutTerminal(cmd *exec.Cmd) {
	const detached = 0x00000008 // DETACHED_PROCESS
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: detached}
}
