package profile

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"unicode"
)

// Home is the profile directory: the variable TELEPORT_HOME, cleaned and
// otherwise as it is, or else .tsh in the home directory of the person. It need
// not exist. A path that is relative, has control characters or leads to
// something else than a directory is an error.
func Home() (string, error) {
	if dir := os.Getenv("TELEPORT_HOME"); dir != "" {
		return checkHome("TELEPORT_HOME", dir)
	}
	dir, err := os.UserHomeDir()
	if err != nil || dir == "" {
		account, err := user.Current()
		if err != nil || account.HomeDir == "" {
			return "", fmt.Errorf("home directory is not known: set HOME or TELEPORT_HOME")
		}
		dir = account.HomeDir
	}
	if _, err := checkHome("home directory", dir); err != nil {
		return "", err
	}
	return checkHome("profile directory", filepath.Join(dir, ".tsh"))
}

func checkHome(what, dir string) (string, error) {
	dir = filepath.Clean(dir)
	switch {
	case strings.ContainsFunc(dir, unicode.IsControl):
		return "", fmt.Errorf("%s %q has control characters", what, dir)
	case !filepath.IsAbs(dir):
		return "", fmt.Errorf("%s %q is not an absolute path", what, dir)
	}
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		return "", fmt.Errorf("%s %s is not a directory", what, dir)
	}
	return dir, nil
}
