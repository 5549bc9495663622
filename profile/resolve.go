package profile

import (
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/seed-087d674e/tsh/internal/durable"
	"github.com/seed-087d674e/tsh/keystore"
)

const (
	typedFile  = "config/tsh/proxies.json" // ours; other clients leave config alone
	maxTyped   = 64 << 10
	maxEntries = 200
)

// announced is one proxy that called itself something else than the person did.
type announced struct {
	Typed string `json:"typed"` // host or host:port, lower case
	Name  string `json:"name"`  // the profile
}

// Resolve returns the name of the profile for a proxy as a person gives it: host,
// host:port or https://host:port. It is the host given, unless a login under that
// very host (and port, if there is one) led to a profile of another name that
// still exists. The result may be the name of no profile.
func (s *Store) Resolve(typed string) string {
	key := typedKey(typed)
	host := hostOf(key)
	anyPort := strings.Trim(key, "[]") == host
	for _, e := range s.readTyped() {
		// Without a port the host's latest login counts.
		if e.Typed != key && (!anyPort || hostOf(e.Typed) != host) {
			continue
		}
		if info, err := os.Lstat(s.path(e.Name)); err == nil && info.Mode().IsRegular() {
			return e.Name
		}
	}
	return hostOf(trimTyped(typed))
}

// ReachedAs is the host that the latest login to the profile was made at, where the
// proxy called itself by the profile's name only then. It is empty for a login at that
// very name, and where it is not known.
func (s *Store) ReachedAs(name string) string {
	for _, e := range s.readTyped() {
		if e.Name != name {
			continue
		}
		if host := strings.Trim(hostOf(e.Typed), "[]"); !strings.EqualFold(host, name) {
			return host
		}
		break
	}
	return ""
}

func trimTyped(typed string) string {
	typed = strings.TrimPrefix(strings.TrimSpace(typed), "https://")
	typed, _, _ = strings.Cut(typed, ",") // host:web,ssh
	return strings.TrimSuffix(typed, "/")
}

func typedKey(typed string) string { return strings.ToLower(trimTyped(typed)) }

// readTyped returns the entries, the latest first. A file that cannot be read is
// no reason to fail: the person is only asked for more.
func (s *Store) readTyped() []announced {
	if err := durable.PlainDirs(s.home, filepath.Dir(typedFile)); err != nil {
		return nil
	}
	data, err := durable.Look(s.home).ReadFile(typedFile, maxTyped)
	if err != nil {
		return nil
	}
	var all, good []announced
	if err := json.Unmarshal(data, &all); err != nil {
		slog.Debug("file is not used", "path", filepath.Join(s.home, typedFile), "error", err)
		return nil
	}
	for _, e := range all {
		if len(good) < maxEntries && e.Typed != "" && keystore.CheckName("proxy", e.Name) == nil {
			good = append(good, e)
		}
	}
	return good
}

// stageTyped remembers that typed led to the profile name, or forgets what typed
// led to before when it is the name itself. That a login was made at the name is
// remembered only where one was made elsewhere before.
func (s *Store) stageTyped(tx *durable.Tx, typed, name string) {
	key := typedKey(typed)
	if key == "" || len(key) > 512 {
		return
	}
	old := s.readTyped()
	if len(old) > 0 && old[0] == (announced{key, name}) {
		return
	}
	var list []announced
	named := func(e announced) bool { return e.Name == name } // which login was the last counts
	if !strings.EqualFold(hostOf(key), name) || slices.ContainsFunc(old, named) {
		list = append(list, announced{key, name})
	}
	for _, e := range old {
		if e.Typed != key && len(list) < maxEntries {
			list = append(list, e)
		}
	}
	if len(list) == 0 && len(old) == 0 {
		return
	}
	if data, err := json.MarshalIndent(list, "", "  "); err == nil && len(data) < maxTyped {
		tx.Write(typedFile, append(data, '\n'), fileMode)
	}
}
