//go:build unix

package credentials

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// exposedDirs warns of directories in which others can put a file in the place of the one
// that path leads to: the one of the path, and the one of the file that a link ends at. In a
// directory that many share (/tmp) they cannot.
func exposedDirs(path string) (warnings []string) {
	dirs := []string{filepath.Dir(path)}
	if target, err := filepath.EvalSymlinks(path); err == nil {
		dirs = append(dirs, filepath.Dir(target))
	}
	for _, dir := range slices.Compact(dirs) {
		info, err := os.Stat(dir)
		if err == nil && info.Mode().Perm()&0o022 != 0 && info.Mode()&fs.ModeSticky == 0 {
			warnings = append(warnings, fmt.Sprintf("other users can replace files in %s (mode %04o); chmod go-w it", dir, info.Mode().Perm()))
		}
	}
	return warnings
}

// exposedFile warns of a file that others can change, or put another in the place of: for
// files without a secret, which anybody may read.
func exposedFile(path string) (warnings []string) {
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o022 != 0 {
		warnings = append(warnings, fmt.Sprintf("other users can change %s (mode %04o); chmod go-w it", path, info.Mode().Perm()))
	}
	return append(warnings, exposedDirs(path)...)
}
