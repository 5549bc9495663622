package keystore

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxHostName = 253 // RFC 1035 as text, for proxies and clusters
	maxUserName = 255
	maxFileName = 255 // of every file system in use
)

// CheckName says whether name can be part of a path in a profile directory and
// of a line in known_hosts. Kind is "proxy" (a host name or an IP address, no
// port), "user" or "cluster". Names come from servers, files and the command
// line; no path is made from one that was not checked.
func CheckName(kind, name string) error {
	var err error
	switch kind {
	case "proxy":
		err = checkProxy(name)
	case "cluster":
		err = checkHost(name)
	case "user":
		err = checkUser(name)
	default:
		return fmt.Errorf("unknown kind of name %q", kind)
	}
	if err == nil {
		err = checkElement(name)
	}
	if err != nil {
		const shown = 64
		short := name
		if len(short) > shown {
			short = short[:shown] + "..."
		}
		return fmt.Errorf("%s name %q %w", kind, short, err)
	}
	return nil
}

func checkProxy(name string) error {
	err := checkHost(name)
	if err == nil {
		return nil
	}
	if addr, ipErr := netip.ParseAddr(name); ipErr == nil && addr.Is6() && addr.Zone() == "" {
		return nil
	}
	return err
}

// checkHost allows what host names consist of. Everything else would mean
// something in a path, in a known_hosts pattern or in a query string.
func checkHost(name string) error {
	if len(name) > maxHostName {
		return fmt.Errorf("is longer than %d bytes", maxHostName)
	}
	for _, r := range name {
		if r >= utf8.RuneSelf || !isASCIIWord(r) && r != '.' && r != '-' {
			return fmt.Errorf("may not contain %q", r)
		}
	}
	return nil
}

// checkUser allows letters of every script and what occurs in mail addresses.
func checkUser(name string) error {
	if len(name) > maxUserName {
		return fmt.Errorf("is longer than %d bytes", maxUserName)
	}
	if !utf8.ValidString(name) {
		return errors.New("is not valid UTF-8")
	}
	for _, r := range name {
		if !isASCIIWord(r) && !strings.ContainsRune(".-@+=~:#!%'|^{}", r) && (r < utf8.RuneSelf || !unicode.In(r, unicode.L, unicode.M, unicode.N)) {
			return fmt.Errorf("may not contain %q", r)
		}
	}
	// Where the case of letters does not count, a long s is an s in some directories.
	lower := strings.ToLower(strings.ReplaceAll(name, "\u017f", "s"))
	for _, s := range userSuffixes() {
		if strings.HasSuffix(lower, s) {
			return fmt.Errorf("may not end in %q, which names files of another user", s)
		}
	}
	if lower == casDir || lower == certsFile || lower == kubeLockFile {
		return errors.New("is the name of another file of the profile directory")
	}
	return nil
}

// userSuffixes are what is appended to a user name to make the names of files
// that every login has. A user may be called svc-app or svc-db: directories of
// these names belong to a user svc only if resources were logged in to, and a
// file does not replace a directory.
func userSuffixes() []string {
	return append([]string{".lock", ".lock.tmp", sshDirSuffix}, fileSuffixes()...)
}

func fileSuffixes() []string {
	return []string{tlsKeySuffix, puttySuffix, tlsCertSuffix, oldTLSCertSuffix, pubSuffix}
}

func dirSuffixes() []string {
	return []string{"-kube", "-db", "-app", "-windowsdesktop", sshDirSuffix}
}

func isASCIIWord(r rune) bool {
	return r == '_' || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z'
}

// checkElement refuses what cannot be one element of a path somewhere, or means
// an option to a program that gets it as an argument.
func checkElement(name string) error {
	switch {
	case name == "":
		return errors.New("is empty")
	case strings.Contains(name, ".."):
		return errors.New(`may not contain ".."`)
	case strings.IndexByte("-.~#", name[0]) >= 0:
		return fmt.Errorf("may not begin with %q", name[0])
	case strings.HasSuffix(name, "."):
		return errors.New("may not end with a dot")
	case isReserved(name):
		return errors.New("is a device name on Windows")
	}
	return checkPlatformElement(name)
}

// isReserved knows the device names of Windows, which are names of no file there
// in any directory, and so in no directory that several systems share.
func isReserved(name string) bool {
	const longest = len("CONOUT$") // others need not be changed to upper case
	if len(name) > longest {
		return false
	}
	upper := strings.ToUpper(name)
	switch upper {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$":
		return true
	}
	rest, com := strings.CutPrefix(upper, "COM")
	if !com {
		var lpt bool
		if rest, lpt = strings.CutPrefix(upper, "LPT"); !lpt {
			return false
		}
	}
	switch rest {
	case "1", "2", "3", "4", "5", "6", "7", "8", "9", "¹", "²", "³":
		return true
	}
	return false
}

// isElement is the weaker rule for deleting: one element of a path that cannot
// lead elsewhere, whatever other clients allow in a name.
func isElement(name string) bool {
	return name != "" && name != "." && name != ".." && len(name) <= maxFileName && !strings.ContainsAny(name, "/\\\x00")
}
