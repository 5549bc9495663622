package durable

import (
	"os"
	"path/filepath"
)

// Below is filepath.Join for a path that is clean already, as filepath.Clean or
// path.Clean makes it, and any home. Cleaning it once more takes longer than the
// rest, and a name is made for every file of a login.
func Below(home, path string) string {
	clean := filepath.Clean(home)
	if end := clean[len(clean)-1]; end == '.' || os.IsPathSeparator(end) || path == "." || path == "" {
		return filepath.Join(home, path)
	}
	return clean + string(filepath.Separator) + filepath.FromSlash(path)
}
