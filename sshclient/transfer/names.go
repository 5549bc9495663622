package transfer

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/seed-087d674e/tsh/internal/text"
)

// maxName is the longest name of a file, in bytes, of the usual file systems.
const maxName = 255

// nameError is a name from a server that is none, or must not become one here.
type nameError struct{ name, reason string }

func (e *nameError) Error() string {
	shown := e.name
	if len(shown) > 100 {
		shown = shown[:100] + "..."
	}
	return fmt.Sprintf("the name %q is refused: %s", text.Line(shown), e.reason)
}

// checkName refuses what is not the name of one entry of a directory, and on Windows
// what means something else there.
func checkName(name string, windows bool) error {
	reason := ""
	switch {
	case name == "":
		reason = "it is empty"
	case name == "." || name == "..":
		reason = "it leads elsewhere"
	case strings.ContainsRune(name, '/'):
		reason = "it contains a slash"
	case strings.ContainsRune(name, 0):
		reason = "it contains a zero byte"
	case windows:
		reason = windowsFault(name)
	}
	if reason == "" {
		return nil
	}
	return &nameError{name, reason}
}

// windowsFault says what Windows would make of a name: a drive, a stream, a device, or
// another name.
func windowsFault(name string) string {
	if i := strings.IndexAny(name, `\:<>"|?*`); i >= 0 {
		return "it contains " + string(name[i])
	}
	if strings.ContainsFunc(name, func(r rune) bool { return r < ' ' }) {
		return "it contains a control character"
	}
	if strings.TrimRight(name, ". ") != name {
		return "Windows drops the dot or space at its end"
	}
	base, _, _ := strings.Cut(name, ".")
	base = strings.ToUpper(strings.TrimRight(base, " "))
	const ports, numbers = " COM LPT ", "0 1 2 3 4 5 6 7 8 9 ¹ ² ³"
	device := strings.Contains(" CON PRN AUX NUL CONIN$ CONOUT$ ", " "+base+" ")
	if len(base) > 3 && strings.Contains(ports, " "+base[:3]+" ") {
		device = device || slices.Contains(strings.Fields(numbers), base[3:])
	}
	if device {
		return "it is a device"
	}
	return ""
}

// errTwice is an entry that would replace another one of the same copy.
var errTwice = errors.New("another file of this copy has this name already; it was kept, and this one not copied")

// tempName is where a file of that name is written until it is complete. A resumable one
// is found again by what it is a copy of.
func tempName(name, of string) string {
	tail := strings.ToLower(rand.Text()[:12])
	if of != "" {
		sum := sha256.Sum256([]byte(of))
		tail = hex.EncodeToString(sum[:8])
	}
	tail = ".tsh-" + tail + ".part"
	if most := maxName - 1 - len(tail); len(name) > most {
		for name = name[:most]; !utf8.ValidString(name) && len(name) > most-utf8.UTFMax; {
			name = name[:len(name)-1]
		}
	}
	return "." + name + tail
}
