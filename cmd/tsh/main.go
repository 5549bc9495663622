// Command tsh logs in to a Teleport cluster and connects to its servers.
package main

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

func main() {
	if beWatcher(os.Args) {
		return
	}
	needFiles()
	keepOutOfCoreDumps()
	os.Exit(run(commandLine(os.Args), standardStreams()))
}

// commandLine is what stands behind the program's name, and the command that the name
// stands for: a link called ssh or scp is that command.
func commandLine(args []string) []string {
	if len(args) == 0 {
		return nil
	}
	name := filepath.Base(args[0])
	if runtime.GOOS == "windows" {
		name = strings.TrimSuffix(strings.ToLower(name), ".exe")
	}
	if name == "ssh" || name == "scp" {
		return append([]string{name}, args[1:]...)
	}
	return args[1:]
}
