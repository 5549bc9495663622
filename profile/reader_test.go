package profile

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/seed-087d674e/tsh/internal/durable"
	"github.com/seed-087d674e/tsh/keystore"
)

// readOn loads every login of home, again and again, until in ends; then it says what it
// saw. Lines of known_hosts and authorities that it once saw it wants to see for ever.
func readOn(home string, in io.Reader, out io.Writer) int {
	var over atomic.Bool
	go func() {
		_, _ = io.Copy(io.Discard, in)
		over.Store(true)
	}()
	r := reader{home: home, saw: map[string]int{}, lines: map[string]bool{}, authorities: map[string]bool{}}
	for !over.Load() {
		r.once()
	}
	counts := []string{fmt.Sprintf("%d rounds", r.rounds)}
	for _, what := range slices.Sorted(maps.Keys(r.saw)) {
		counts = append(counts, fmt.Sprintf("%s %d", what, r.saw[what]))
	}
	fmt.Fprintln(out, strings.Join(counts, ", "))
	for _, b := range r.bad {
		fmt.Fprintln(out, b)
	}
	if len(r.bad) > 0 || r.rounds == 0 {
		return 1
	}
	return 0
}

type reader struct {
	home        string
	rounds      int
	saw         map[string]int
	lines       map[string]bool
	authorities map[string]bool
	bad         []string
}

func (r *reader) wrong(format string, args ...any) {
	if r.saw["things wrong"]++; len(r.bad) < 20 {
		r.bad = append(r.bad, fmt.Sprintf(format, args...))
	}
}

func (r *reader) once() {
	r.rounds++
	s := Open(r.home)
	if _, err := s.Load(""); err != nil {
		r.wrong("current profile: %v", err)
	}
	names, err := s.List()
	if err != nil {
		r.wrong("list: %v", err)
	}
	for _, name := range names {
		p, err := s.Load(name)
		if err != nil {
			r.wrong("profile %s: %v", name, err)
			continue
		}
		id, err := s.Identity(p)
		r.judge(name, id, err)
		if _, err := s.IdentityPublic(p); err != nil && !errors.Is(err, keystore.ErrNotFound) {
			r.wrong("certificates at %s: %v", name, err)
		}
		cas, err := durable.Look(r.home).ReadDir(filepath.Join("keys", name, "cas"))
		if err != nil {
			r.wrong("authorities: %v", err)
		}
		now := map[string]bool{}
		for _, e := range cas {
			now[name+"/"+e.Name()] = true
		}
		r.compare(r.authorities, now, func(what string) bool { return strings.HasPrefix(what, name+"/") })
	}
	r.knownHosts()
}

// judge is for an identity with the error of loading it.
func (r *reader) judge(name string, id *keystore.Identity, err error) {
	switch {
	case errors.Is(err, keystore.ErrNotFound):
		r.saw["not logged in"]++
	case errors.Is(err, keystore.ErrDamaged):
		r.wrong("torn, %s: %v", name, err)
	case err != nil:
		r.wrong("identity at %s: %v", name, err)
	case len(id.Authorities) == 0 || len(id.Authorities[0].SSHKeys) == 0 || len(id.Authorities[0].TLSCerts) == 0:
		r.wrong("identity at %s without authorities", name)
	default:
		if err := id.Check(); err != nil {
			r.wrong("identity at %s: %v", name, err)
		}
		r.saw["logged in"]++
	}
}

func (r *reader) knownHosts() {
	data, err := durable.Look(r.home).ReadFile("known_hosts", 1<<20)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		r.wrong("known_hosts: %v", err)
	}
	now := map[string]bool{}
	for line := range strings.Lines(string(data)) {
		now[line] = true
	}
	r.compare(r.lines, now, func(string) bool { return true })
}

// compare notes what was there before and is not there now.
func (r *reader) compare(before, now map[string]bool, about func(string) bool) {
	for what := range before {
		if about(what) && !now[what] {
			r.wrong("lost %q", what)
		}
	}
	maps.Copy(before, now)
}
