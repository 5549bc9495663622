// Command peak runs a program and prints how much memory that had at the most, in bytes.
// The kernel counts what the parent had when it started the child: it has to be as small
// as this one.
package main

import (
	"fmt"
	"os"
	"os/exec"
)

func main() {
	cmd := exec.Command(os.Args[1], os.Args[2:]...)
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(peakMemory(cmd.ProcessState))
}
