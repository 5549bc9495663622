package proxy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"unicode/utf8"
)

// Limits of an answer's structure: a few bytes of text can take a hundred of
// memory.
const (
	maxJSONDepth    = 64       // objects and arrays inside each other
	maxJSONElements = 4096     // of an array
	maxJSONMembers  = 1024     // of an object
	maxJSONTokens   = 64 << 10 // names, values and brackets, altogether
)

// decodeJSON reads an answer of the web API into the struct that v points to.
// It is stricter than encoding/json: member names must match exactly (there,
// "USERNAME" sets a member "username"), no object may have a member twice, the
// text must be UTF-8 and the document must end where its object ends. Unknown
// members are ignored; null leaves a member as it is.
func decodeJSON(data []byte, v any) error {
	if err := checkJSON(data); err != nil {
		return err
	}
	return assign(data, reflect.ValueOf(v).Elem())
}

// checkJSON walks the whole document before anything of it is used.
func checkJSON(data []byte) error {
	if !utf8.Valid(data) {
		return errors.New("the JSON text is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var open []jsonLevel
	name := false // the next string is a member's name
	for tokens := 0; ; tokens++ {
		if tokens == maxJSONTokens {
			return fmt.Errorf("the JSON document has more than %d parts", maxJSONTokens)
		}
		token, err := d.Token()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("malformed JSON: %w", err)
		}
		switch t := token.(type) {
		case json.Delim:
			if open, err = nest(open, t); err != nil {
				return err
			}
		case string:
			if name {
				if err := open[len(open)-1].member(t); err != nil {
					return err
				}
				name = false
				continue // its value follows
			}
		}
		if len(open) == 0 {
			break
		}
		if name, err = open[len(open)-1].next(); err != nil {
			return err
		}
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the JSON document")
	}
	return nil
}

// jsonLevel is an object or array that is open.
type jsonLevel struct {
	names map[string]bool // seen in an object; nil for an array
	begun int             // elements of an array
}

// member notes a member's name.
func (l *jsonLevel) member(name string) error {
	if l.names[name] {
		return fmt.Errorf("the JSON object has two members %s", shortQuote(name))
	}
	if len(l.names) == maxJSONMembers {
		return fmt.Errorf("the JSON object has more than %d members", maxJSONMembers)
	}
	l.names[name] = true
	return nil
}

// next is called before each token inside: isName says that it is a member's
// name if it is a string.
func (l *jsonLevel) next() (isName bool, err error) {
	if l.names != nil {
		return true, nil
	}
	if l.begun++; l.begun > maxJSONElements+1 { // the last token may be the bracket
		return false, fmt.Errorf("the JSON array has more than %d elements", maxJSONElements)
	}
	return false, nil
}

// nest keeps account of the objects and arrays that are open.
func nest(open []jsonLevel, delim json.Delim) ([]jsonLevel, error) {
	switch delim {
	case '{':
		open = append(open, jsonLevel{names: map[string]bool{}})
	case '[':
		open = append(open, jsonLevel{})
	default:
		return open[:len(open)-1], nil
	}
	if len(open) > maxJSONDepth {
		return nil, fmt.Errorf("the JSON document nests deeper than %d", maxJSONDepth)
	}
	return open, nil
}

// assign stores a value into v: objects member by member, so that names match
// exactly, everything else as encoding/json does.
func assign(data json.RawMessage, v reflect.Value) error {
	if string(data) == "null" {
		return nil
	}
	if _, ok := v.Addr().Interface().(json.Unmarshaler); ok {
		return json.Unmarshal(data, v.Addr().Interface())
	}
	switch {
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return assign(data, v.Elem())
	case v.Kind() == reflect.Struct:
		return assignMembers(data, v)
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct:
		var elements []json.RawMessage
		if err := json.Unmarshal(data, &elements); err != nil {
			return err
		}
		v.Set(reflect.MakeSlice(v.Type(), len(elements), len(elements)))
		for i, element := range elements {
			if err := assign(element, v.Index(i)); err != nil {
				return err
			}
		}
		return nil
	}
	return json.Unmarshal(data, v.Addr().Interface())
}

func assignMembers(data json.RawMessage, v reflect.Value) error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(data, &members); err != nil {
		return err
	}
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		member, ok := members[name]
		if !ok || name == "" {
			continue
		}
		if err := assign(member, v.Field(i)); err != nil {
			return fmt.Errorf("member %s: %w", name, err)
		}
	}
	return nil
}
