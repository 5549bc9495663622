package fanout

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/seed-087d674e/tsh/internal/text"
)

const (
	// maxLabel bounds, in columns, what is shown of a name and of an ID.
	maxLabel = 100
	// maxFileName bounds, in bytes, what of a label becomes part of a file name.
	maxFileName = 200
	// Lists of the nodes on which the command ended with status 0, and of the others.
	listSucceeded, listFailed = "hosts.succeeded", "hosts.failed"
)

// Unique gives every node its label: the name, and where several have the same one, the
// ID after it. Names that differ only in case count as the same: file systems may take
// them for that. Nodes that are there twice are taken out.
func Unique(nodes []*Node) []*Node {
	names, ids, labels := make(map[string]int), make(map[string]bool), make(map[string]bool)
	kept := nodes[:0]
	for _, n := range nodes {
		if !ids[n.ID] {
			ids[n.ID] = true
			names[folded(n.Name)]++
			kept = append(kept, n)
		}
	}
	for _, n := range kept {
		n.Label = text.Cut(text.Line(n.Name), maxLabel)
		if n.Name == "" || names[folded(n.Name)] > 1 {
			n.Label += "." + text.Cut(text.Line(n.ID), maxLabel)
		}
		for labels[folded(n.Label)] { // somebody has chosen names so that this happens
			n.Label += "'"
		}
		labels[folded(n.Label)] = true
	}
	return kept
}

// folded is what a name has in common with those that would share a file with it.
func folded(name string) string { return strings.ToLower(fileName(text.Line(name))) }

// fileName is a label as a part of a file name: letters, digits and "._-" as they are,
// all else as %XX. It begins with neither a dot nor a name that Windows has for devices.
func fileName(label string) string {
	var b strings.Builder
	for i := 0; i < len(label); {
		r, size := utf8.DecodeRuneInString(label[i:])
		plain := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_' || r == '.' && i > 0
		for _, c := range []byte(label[i : i+size]) {
			if plain {
				b.WriteByte(c)
			} else {
				fmt.Fprintf(&b, "%%%02X", c)
			}
		}
		i += size
	}
	name := b.String()
	if device, _, _ := strings.Cut(strings.ToUpper(name), "."); isDevice(device) {
		name = fmt.Sprintf("%%%02X", name[0]) + name[1:]
	}
	return name
}

// isDevice reports whether Windows has a device of this name, given in upper case.
func isDevice(name string) bool {
	switch name {
	case "CON", "PRN", "AUX", "NUL":
		return true
	}
	return len(name) == 4 && (strings.HasPrefix(name, "COM") || strings.HasPrefix(name, "LPT")) && '0' <= name[3] && name[3] <= '9'
}

// Logs is a directory with the output of nodes, LABEL.stdout and LABEL.stderr. Labels
// never lead out of it.
type Logs struct{ root *os.Root }

// OpenLogs opens the directory, and makes it with mode 0700 if it is not there.
func OpenLogs(dir string) (*Logs, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &Logs{root}, nil
}

// Close releases the directory.
func (l *Logs) Close() error { return l.root.Close() }

// create makes a file anew: what was there before, a link or a pipe perhaps, is not
// written to.
func (l *Logs) create(name string) (*os.File, error) {
	if err := l.root.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return l.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
}

// nodeLog is the two files of a node.
type nodeLog struct{ stdout, stderr *os.File }

func (l *Logs) open(n *Node) (*nodeLog, error) {
	name := fileName(n.Label)
	if len(name) > maxFileName { // no name has a "~" by itself
		name = fmt.Sprintf("%s~%x", name[:maxFileName], sha256.Sum256([]byte(n.Label)))[:maxFileName+17]
	}
	out, err := l.create(name + ".stdout")
	if err != nil {
		return nil, err
	}
	errs, err := l.create(name + ".stderr")
	if err != nil {
		out.Close()
		return nil, err
	}
	return &nodeLog{out, errs}, nil
}

func (n *nodeLog) close() error {
	if n == nil {
		return nil
	}
	return errors.Join(n.stdout.Close(), n.stderr.Close())
}

// Write writes the lists hosts.succeeded and hosts.failed, a label a line. A list
// without labels is not there, one of an earlier run neither.
func (l *Logs) Write(results []*Result) error {
	var lists [2]strings.Builder
	for _, r := range results {
		list := &lists[0]
		if r.Err != nil {
			list = &lists[1]
		}
		list.WriteString(r.Label + "\n")
	}
	for i, name := range []string{listSucceeded, listFailed} {
		if lists[i].Len() == 0 {
			if err := l.root.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
			continue
		}
		f, err := l.create(name)
		if err != nil {
			return err
		}
		_, err = f.WriteString(lists[i].String())
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
}
