package tshconfig

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"go.yaml.in/yaml/v3"

	"github.com/seed-087d674e/tsh/internal/text"
)

const (
	maxFile    = 64 << 10 // bytes of one file
	maxEntries = 1000     // of each kind, in one file
)

// Config is what the files say. The zero Config says nothing.
type Config struct {
	Templates []Template
	Aliases   []Alias
	headers   []headerRule
}

// FileError is a file that cannot be used.
type FileError struct {
	Path string
	Line int // 0 where it is about the file as a whole
	Err  error
}

// Error names the file and the line.
func (e *FileError) Error() string { return where(e.Path, e.Line) + ": " + e.Err.Error() }

// Unwrap returns what is wrong with the file.
func (e *FileError) Unwrap() error { return e.Err }

func where(path string, line int) string {
	if line == 0 {
		return path
	}
	return path + ":" + strconv.Itoa(line)
}

// UserFile is the file of the person whose profile directory is home.
func UserFile(home string) string { return filepath.Join(home, "config", "config.yaml") }

// GlobalFile is the file for all users of the machine: the one that
// TELEPORT_GLOBAL_TSH_CONFIG names, else the system's, "" where it has none.
func GlobalFile() string {
	if path := os.Getenv("TELEPORT_GLOBAL_TSH_CONFIG"); path != "" {
		return path
	}
	return systemFile
}

// Load reads files, those that come first having the last word: the lists of one come
// before those of the next, and so do its aliases. A path that is empty or of a missing
// file says nothing. The error is a *FileError, about the first file that is malformed,
// has more than 64 kB, or that somebody else could have written: aliases run programs.
// What the other files say is returned all the same.
func Load(paths ...string) (*Config, error) {
	var c Config
	var first error
	for _, path := range paths {
		if path == "" {
			continue
		}
		err := c.add(path)
		if err != nil && first == nil {
			first = err
		}
	}
	return &c, first
}

func (c *Config) add(path string) error {
	data, err := read(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil
	}
	if err != nil {
		var named *fs.PathError
		if errors.As(err, &named) {
			err = named.Err // the path is said once
		}
		return &FileError{Path: path, Err: err}
	}
	var doc yaml.Node
	if err := yaml.NewDecoder(bytes.NewReader(data)).Decode(&doc); errors.Is(err, io.EOF) {
		return nil
	} else if err != nil {
		return syntaxError(path, err)
	}
	f := reader{path: path}
	if len(doc.Content) == 0 {
		return nil
	}
	f.mapping(doc.Content[0], func(key string, value *yaml.Node) {
		switch key {
		case "add_headers":
			f.list(value, f.header)
		case "proxy_templates":
			f.list(value, f.template)
		case "aliases":
			f.mapping(value, f.alias)
		}
	})
	if f.err != nil {
		return f.err
	}
	c.Templates = append(c.Templates, f.templates...)
	c.Aliases = append(c.Aliases, f.aliases...)
	c.headers = append(c.headers, f.headers...)
	return nil
}

// read returns the content of a file that nobody else could have written.
func read(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	switch {
	case !info.Mode().IsRegular():
		return nil, errors.New("is not a file")
	case info.Size() > maxFile:
		return nil, fmt.Errorf("has more than %d bytes", maxFile)
	}
	if err := checkWriters(path, info); err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err == nil && bytes.IndexByte(data, 0) >= 0 {
		err = errors.New("is not a text file")
	}
	return data, err
}

// syntaxError takes the line out of what the parser says.
func syntaxError(path string, err error) error {
	message := strings.TrimPrefix(err.Error(), "yaml: ")
	if rest, ok := strings.CutPrefix(message, "line "); ok {
		if digits, rest, ok := strings.Cut(rest, ": "); ok {
			if line, err := strconv.Atoi(digits); err == nil {
				return &FileError{path, line, errors.New(text.Line(rest))}
			}
		}
	}
	return &FileError{path, 0, errors.New(text.Line(message))}
}

// reader takes one file apart. After the first error it does nothing more. Keys that
// it does not know are those of another version.
type reader struct {
	path      string
	err       error
	templates []Template
	aliases   []Alias
	headers   []headerRule
}

func (f *reader) fail(n *yaml.Node, format string, args ...any) {
	if f.err == nil {
		f.err = &FileError{f.path, n.Line, fmt.Errorf(format, args...)}
	}
}

// content is what a list or a mapping holds; nil is an empty one.
func (f *reader) content(n *yaml.Node, kind yaml.Kind, what string) []*yaml.Node {
	n = resolved(n)
	switch {
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null":
		return nil
	case n.Kind != kind:
		f.fail(n, "%s is needed here", what)
		return nil
	case len(n.Content) > 2*maxEntries:
		f.fail(n, "more than %d entries", maxEntries)
		return nil
	}
	return n.Content
}

func (f *reader) list(n *yaml.Node, each func(*yaml.Node)) {
	for _, item := range f.content(n, yaml.SequenceNode, "a list") {
		each(item)
	}
}

func (f *reader) mapping(n *yaml.Node, each func(key string, value *yaml.Node)) {
	content := f.content(n, yaml.MappingNode, "a mapping, name: value,")
	for i := 0; i+1 < len(content); i += 2 {
		each(resolved(content[i]).Value, content[i+1])
	}
}

// text is a value of any type as it is written.
func (f *reader) text(n *yaml.Node) string {
	n = resolved(n)
	switch {
	case n.Kind != yaml.ScalarNode:
		f.fail(n, "a text is needed here")
	case n.Tag != "!!null":
		return n.Value
	}
	return ""
}

// resolved is what an alias of YAML stands for. Only a few levels of the tree are ever
// looked at, so that it cannot stand for too much.
func resolved(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func (f *reader) template(n *yaml.Node) {
	t := Template{Where: where(f.path, n.Line)}
	fields := map[string]*string{
		"template": &t.Pattern, "proxy": &t.Proxy, "cluster": &t.Cluster, "host": &t.Host, "query": &t.Query, "search": &t.Search,
	}
	f.mapping(n, func(key string, value *yaml.Node) {
		if field := fields[key]; field != nil {
			*field = f.text(value)
		}
	})
	f.templates = append(f.templates, t)
}
