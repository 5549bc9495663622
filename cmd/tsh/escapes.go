package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/seed-087d674e/tsh/sshclient"
)

const ctrlZ = 'Z' & 0x1f

// escapeKeys acts on the characters typed behind the escape character. The terminal is
// in raw mode then, so lines end in CR LF.
func escapeKeys(char byte, out io.Writer, terminal *rawTerminal, client *sshclient.Client) func(byte) bool {
	e := escapeName(char)
	print := func(lines ...string) { _, _ = io.WriteString(out, strings.Join(lines, "\r\n")+"\r\n") }
	return func(key byte) bool {
		switch {
		case key == '?':
			help := []string{e + "?", "Supported escape sequences:",
				" " + e + ".   ends the connection",
				" " + e + "#   lists forwarded connections"}
			if canSuspend {
				help = append(help, " "+e+"^Z  suspends tsh")
			}
			print(append(help, " "+e+"?   shows this",
				" "+e+e+"   sends "+e,
				"They are recognised after Enter only.")...)
		case key == '#':
			open := client.Connections()
			print(append([]string{e + "#", fmt.Sprintf("Forwarded connections: %d", len(open))}, open...)...)
		case key == ctrlZ && canSuspend:
			print(e + "^Z [suspended]")
			terminal.suspend()
		default:
			return false
		}
		return true
	}
}

// escapeName is how a person types the character.
func escapeName(char byte) string {
	if char < ' ' {
		return "^" + string(rune(char|0x40))
	}
	return string(rune(char))
}
