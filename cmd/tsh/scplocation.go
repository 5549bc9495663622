package main

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/seed-087d674e/tsh/internal/text"
)

// parseLocation reads [login@]host:[path] or a local path. A path is remote if there is
// a colon before its first separator, outside of the brackets of an IPv6 address; on
// Windows a letter and a colon are a drive, so that no host has a name of one letter.
func parseLocation(arg string, windows bool) (location, error) {
	colon := hostEnd(arg, windows)
	if colon < 0 {
		if arg == "" {
			return location{}, errors.New("there is an empty file name")
		}
		return location{path: arg}, nil
	}
	spec, err := parseTargetSpec(arg[:colon])
	if err != nil {
		return location{}, fmt.Errorf("%s: %w", text.Line(arg), err)
	}
	path, err := homePath(arg[colon+1:])
	if err != nil {
		return location{}, err
	}
	return location{remote: true, target: spec.Target, labels: spec.labels, name: cmp.Or(spec.text, spec.Host), path: path}, nil
}

// hostEnd is where the colon after a host is, or -1 for a local path.
func hostEnd(arg string, windows bool) int {
	separators := "/"
	if windows {
		if separators = `/\`; len(arg) > 1 && arg[1] == ':' && (arg[0]|0x20 >= 'a' && arg[0]|0x20 <= 'z') {
			return -1
		}
	}
	brackets := false
	for i := range len(arg) {
		switch c := arg[i]; {
		case strings.IndexByte(separators, c) >= 0:
			return -1
		case c == '[' && (i == 0 || arg[i-1] == '@'):
			brackets = true
		case c == ']':
			brackets = false
		case c == ':' && !brackets:
			return cmp.Or(i, -1) // as OpenSSH has it, a name may begin with a colon
		}
	}
	return -1
}

// homePath is a path on a server, where relative ones start at the home directory.
func homePath(path string) (string, error) {
	switch {
	case path == "" || path == "~":
		return ".", nil
	case strings.HasPrefix(path, "~/"):
		path = strings.TrimLeft(path[1:], "/")
		if path == "" {
			path = "."
		}
		return path, nil
	case strings.HasPrefix(path, "~"):
		return "", fmt.Errorf("%s: other people's home directories cannot be looked up; write the whole path, or ./~name for a file", text.Line(path))
	case strings.ContainsRune(path, 0):
		return "", errors.New("a path contains a zero byte")
	}
	return path, nil
}
