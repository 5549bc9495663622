//go:build linux || freebsd || netbsd || openbsd

package keyring

import (
	"encoding/binary"
	"strings"
)

// The types of D-Bus that Go does not have.
type (
	objectPath string
	signature  string
	// variant is a value that travels with its type. A result is one around a
	// pointer, whose type it has to have; around nil it takes any and drops it.
	variant struct{ of any }
)

// maxDepth is how deep D-Bus lets variants be nested.
const maxDepth = 64

// signatureOf names the type of an argument, or of what a result points to.
func signatureOf(v any) string {
	switch v.(type) {
	case bool, *bool:
		return "b"
	case *uint32:
		return "u"
	case string, *string:
		return "s"
	case objectPath, *objectPath:
		return "o"
	case signature, *signature:
		return "g"
	case variant:
		return "v"
	case []objectPath, *[]objectPath:
		return "ao"
	case map[string]string:
		return "a{ss}"
	case map[string]variant:
		return "a{sv}"
	case secret, *secret:
		return "(oayays)"
	}
	panic("a type that is not spoken here")
}

// writer is values as the bytes of a message, in our byte order.
type writer []byte

func (w *writer) align(n int) {
	for len(*w)%n != 0 {
		*w = append(*w, 0)
	}
}

func (w *writer) uint32(n uint32) {
	w.align(4)
	*w = binary.LittleEndian.AppendUint32(*w, n)
}

func (w *writer) bytes(b []byte) {
	w.uint32(uint32(len(b)))
	*w = append(*w, b...)
}

func (w *writer) string(s string) {
	w.bytes([]byte(s))
	*w = append(*w, 0)
}

func (w *writer) signature(s string) {
	*w = append(*w, byte(len(s)))
	*w = append(*w, s...)
	*w = append(*w, 0)
}

// array writes elements, which are aligned, and before them how long they are.
func (w *writer) array(alignment int, elements func()) {
	w.uint32(0)
	length := len(*w) - 4
	w.align(alignment)
	start := len(*w)
	elements()
	binary.LittleEndian.PutUint32((*w)[length:], uint32(len(*w)-start))
}

// field writes a field of a header.
func (w *writer) field(code byte, v any) {
	w.align(8)
	*w = append(*w, code)
	w.value(variant{v})
}

func (w *writer) value(v any) {
	switch v := v.(type) {
	case bool:
		var n uint32
		if v {
			n = 1
		}
		w.uint32(n)
	case string:
		w.string(v)
	case objectPath:
		w.string(string(v))
	case signature:
		w.signature(string(v))
	case variant:
		w.signature(signatureOf(v.of))
		w.value(v.of)
	case []objectPath:
		w.array(4, func() {
			for _, path := range v {
				w.string(string(path))
			}
		})
	case map[string]string:
		w.array(8, func() {
			for key, value := range v {
				w.align(8)
				w.string(key)
				w.string(value)
			}
		})
	case map[string]variant:
		w.array(8, func() {
			for key, value := range v {
				w.align(8)
				w.string(key)
				w.value(value)
			}
		})
	case secret:
		w.align(8)
		w.string(string(v.Session))
		w.bytes(v.Parameters)
		w.bytes(v.Value)
		w.string(v.ContentType)
	}
}

// reader takes values from the fields or the body of a message. What is not
// there makes it bad, and reads as zero.
type reader struct {
	big bool // the byte order
	in  []byte
	at  int
	bad bool
}

func (r *reader) align(n int) { r.at = (r.at + n - 1) &^ (n - 1) }

// take is the next n bytes; none if there are fewer.
func (r *reader) take(n uint32) []byte {
	if r.bad || r.at > len(r.in) || uint64(n) > uint64(len(r.in)-r.at) {
		r.bad = true
		return nil
	}
	b := r.in[r.at:][:n]
	r.at += int(n)
	return b
}

func (r *reader) byte() byte {
	if b := r.take(1); !r.bad {
		return b[0]
	}
	return 0
}

func (r *reader) uint32() uint32 {
	r.align(4)
	b := r.take(4)
	switch {
	case r.bad:
		return 0
	case r.big:
		return binary.BigEndian.Uint32(b)
	}
	return binary.LittleEndian.Uint32(b)
}

func (r *reader) bytes() []byte { return r.take(r.uint32()) }

func (r *reader) string() string {
	s := string(r.bytes())
	r.byte() // the NUL after it
	return s
}

func (r *reader) signature() string {
	s := string(r.take(uint32(r.byte())))
	r.byte()
	return s
}

func (r *reader) path() objectPath {
	path := objectPath(r.string())
	r.bad = r.bad || !path.valid()
	return path
}

// into reads a value of the type that a result points to.
func (r *reader) into(result any) {
	switch to := result.(type) {
	case *bool:
		*to = r.uint32() == 1
	case *uint32:
		*to = r.uint32()
	case *string:
		*to = r.string()
	case *objectPath:
		*to = r.path()
	case *signature:
		*to = signature(r.signature())
	case variant:
		r.variant(to.of)
	case *[]objectPath:
		n := r.uint32()
		for end := r.at + int(n); r.at < end && !r.bad; {
			*to = append(*to, r.path())
		}
	case *secret:
		r.align(8)
		*to = secret{Session: r.path(), Parameters: r.bytes(), Value: r.bytes(), ContentType: r.string()}
	}
}

func (r *reader) variant(result any) {
	types := r.signature()
	switch {
	case result == nil:
		r.skip(types, maxDepth)
	case types == signatureOf(result):
		r.into(result)
	default:
		r.bad = true
	}
}

// skip passes over values whose types we need not know.
func (r *reader) skip(types string, depth int) {
	r.bad = r.bad || depth == 0
	for ; types != "" && !r.bad; types = types[1:] {
		switch types[0] {
		case 'y':
			r.byte()
		case 'n', 'q':
			r.align(2)
			r.take(2)
		case 'b', 'i', 'u', 'h':
			r.uint32()
		case 'x', 't', 'd':
			r.align(8)
			r.take(8)
		case 's', 'o':
			r.string()
		case 'g':
			r.signature()
		case 'v':
			r.skip(r.signature(), depth-1)
		case '(':
			r.align(8)
		case ')':
		case 'a':
			element := complete(types[1:])
			r.skipArray(element)
			types = types[len(element):]
		default:
			r.bad = true
		}
	}
}

func (r *reader) skipArray(element string) {
	n := r.uint32()
	if strings.IndexAny(element, "xtd({") == 0 {
		r.align(8)
	}
	r.take(n)
}

// complete is the first complete type of a signature.
func complete(types string) string {
	open := 0
	for i, c := range types {
		switch c {
		case 'a':
			continue
		case '(', '{':
			open++
		case ')', '}':
			open--
		}
		if open == 0 {
			return types[:i+1]
		}
	}
	return types
}

// valid tells whether the path has the form that D-Bus asks for: nothing in it
// could end a quotation.
func (p objectPath) valid() bool {
	if p == noObject {
		return true
	}
	segments := strings.Split(string(p), "/")
	for i, segment := range segments {
		if (i == 0) != (segment == "") || strings.Trim(segment, pathBytes) != "" {
			return false
		}
	}
	return len(segments) > 1
}

const pathBytes = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_"
