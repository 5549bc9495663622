// Command vuln runs govulncheck over the module, or over the packages named: is there a
// known vulnerability that this code can reach? It ends with
//
//	0  nothing was found, or nothing could be looked up, which it says
//	1  something was found, or the check itself failed
//	3  nothing could be looked up, and VULN_REQUIRED=1 wants it
package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

const (
	tool = "golang.org/x/vuln/cmd/govulncheck@v1.6.0"

	envRequired     = "VULN_REQUIRED"
	exitUnreachable = 3
)

func main() {
	packages := os.Args[1:]
	if len(packages) == 0 {
		packages = []string{"./..."}
	}
	cmd := exec.Command("go", append([]string{"run", tool}, packages...)...)
	os.Exit(run(cmd, os.Getenv(envRequired) == "1", os.Stdout))
}

// run runs the check, passes on what it prints, and returns the exit status.
func run(cmd *exec.Cmd, required bool, out io.Writer) int {
	var said bytes.Buffer
	cmd.Stdout = io.MultiWriter(out, &said)
	cmd.Stderr = cmd.Stdout
	err := cmd.Run()
	if err == nil {
		return 0
	}
	reason := unreachable(said.String())
	if reason == "" {
		fmt.Fprintf(out, "vuln: %v\n", err)
		return 1
	}
	fmt.Fprintf(out, "\nvuln: NOTHING WAS CHECKED. The check needs the network, and did not get what it needs:\n  %s\n", reason)
	if required {
		return exitUnreachable
	}
	fmt.Fprintf(out, "vuln: run it again where https://vuln.go.dev can be reached; with %s=1 this is an error\n", envRequired)
	return 0
}

// unreachable finds the line that says that the database, or the program that reads it,
// could not be fetched; empty if that was not what went wrong.
func unreachable(said string) string {
	for line := range strings.Lines(said) {
		line = strings.TrimSpace(line)
		database := strings.HasPrefix(line, "govulncheck: fetching vulnerabilities: ")
		program := strings.Contains(line, "golang.org/x/vuln") && (strings.HasPrefix(line, "go: ") && !strings.Contains(line, "downloading ") ||
			strings.Contains(line, ": reading https://"))
		if database || program {
			return line
		}
	}
	return ""
}
