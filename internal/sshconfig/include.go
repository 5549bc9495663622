package sshconfig

import (
	"bytes"
	"strings"
)

// AddInclude returns a configuration with a line at its top, where it counts for every
// host; all else stays as it is, byte for byte. Where the line is there already, alone
// and before the first block, the configuration is returned as it is.
func AddInclude(config []byte, line string) []byte {
	for _, l := range bytes.SplitAfter(config, []byte("\n")) {
		trimmed := string(bytes.TrimSpace(l))
		if trimmed == line {
			return config
		}
		if keyword, _, _ := strings.Cut(strings.ToLower(trimmed), " "); keyword == "host" || keyword == "match" {
			break
		}
	}
	end := "\n"
	if first, _, found := bytes.Cut(config, []byte("\n")); found && bytes.HasSuffix(first, []byte("\r")) {
		end = "\r\n"
	}
	return append([]byte(line+end), config...)
}

// RemoveInclude returns a configuration without that line, wherever it stands.
func RemoveInclude(config []byte, line string) []byte {
	var out []byte
	for _, l := range bytes.SplitAfter(config, []byte("\n")) {
		if string(bytes.TrimSpace(l)) != line {
			out = append(out, l...)
		}
	}
	return out
}
