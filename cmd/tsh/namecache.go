package main

import (
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/seed-087d674e/tsh/internal/durable"
	"github.com/seed-087d674e/tsh/profile"
)

// Names of servers and clusters that commands have seen are kept for the completion of the
// shell, which has no time to ask. They are below the user's cache directory: a directory
// for each login, a file for its clusters and one for the servers of each cluster. It is
// a cache: what cannot be read or written is as good as not there.

const (
	maxCachedNames = 2000
	maxNameFile    = 256 << 10 // bytes
)

// nameDir is the directory for a login, or of all logins if host is empty; "" if this
// machine has no place for caches.
func nameDir(host, user string) string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	dir = filepath.Join(dir, "tsh", "names")
	if host == "" {
		return dir
	}
	return filepath.Join(dir, hashed(host+"\x00"+user))
}

// hashed is a file name for whatever s is.
func hashed(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:16])
}

// nameFile is where the names of the servers of a cluster are, or of the clusters if it
// is empty.
func nameFile(p *profile.Profile, cluster string) string {
	dir := nameDir(p.Name, p.User)
	switch {
	case dir == "":
		return ""
	case cluster == "":
		return filepath.Join(dir, "clusters")
	}
	return filepath.Join(dir, "hosts-"+hashed(cluster))
}

// rememberHosts keeps names of servers of the session's cluster: they are all there are,
// or more beside those that are there.
func (a *app) rememberHosts(s *session, names []string, all bool) {
	if !a.keepsNames() {
		return
	}
	path := nameFile(s.profile, s.cluster)
	if !all {
		known := cachedNames(path)
		if !slices.ContainsFunc(names, func(name string) bool { return isPlain(name) && !slices.Contains(known, name) }) {
			return
		}
		names = append(slices.Clone(names), known...)
	}
	writeNames(path, names)
}

// rememberClusters keeps the names of the clusters of the session's login.
func (a *app) rememberClusters(s *session, names []string) {
	if a.keepsNames() {
		writeNames(nameFile(s.profile, ""), names)
	}
}

// keepsNames reports whether this run leaves anything behind.
func (a *app) keepsNames() bool {
	return !a.storeless && !a.globals.headless.on && !a.globals.hasIdentity() && a.globals.keystore != string(keysInMemory)
}

// forgetNames removes the names of a login, or of all if host is empty.
func forgetNames(host, user string) {
	if dir := nameDir(host, user); dir != "" {
		if err := os.RemoveAll(dir); err != nil {
			slog.Debug("names for completion are left", "error", err)
		}
	}
}

// isPlain reports whether a shell takes a name for nothing but a word.
func isPlain(name string) bool {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' || r == '_'
	}
	return name != "" && name[0] != '-' && !strings.ContainsFunc(name, func(r rune) bool { return !plain(r) })
}

// cachedNames are the names in a file.
func cachedNames(path string) (names []string) {
	data, err := durable.ReadFile(path, maxNameFile)
	if err != nil {
		return nil
	}
	for _, name := range strings.Split(string(data), "\n") {
		if isPlain(name) && len(names) < maxCachedNames {
			names = append(names, name)
		}
	}
	return names
}

// writeNames replaces a file of names as one.
func writeNames(path string, names []string) {
	if path == "" {
		return
	}
	var data strings.Builder
	seen := make(map[string]bool)
	for _, name := range names {
		if isPlain(name) && !seen[name] && len(seen) < maxCachedNames && data.Len()+len(name) < maxNameFile {
			seen[name] = true
			data.WriteString(name + "\n")
		}
	}
	if err := replaceFile(path, data.String()); err != nil {
		slog.Debug("names for completion are not kept", "error", err)
	}
}

func replaceFile(path, data string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	draft := path + ".new" + strconv.Itoa(os.Getpid())
	err := os.WriteFile(draft, []byte(data), 0o600)
	if err == nil {
		err = os.Rename(draft, path)
	}
	if err != nil {
		_ = os.Remove(draft)
	}
	return err
}
