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

// maxJSONDepth limits objects and arrays inside each other in an answer.
const maxJSONDepth = 64

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
	var open []map[string]bool // names seen in each open object; nil for arrays
	name := false              // the next string is a member's name
	for {
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
				if seen := open[len(open)-1]; seen[t] {
					return fmt.Errorf("the JSON object has two members %s", shortQuote(t))
				} else {
					seen[t] = true
				}
				name = false
				continue // its value follows
			}
		}
		if len(open) == 0 {
			break
		}
		name = open[len(open)-1] != nil
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the JSON document")
	}
	return nil
}

// nest keeps account of the objects and arrays that are open.
func nest(open []map[string]bool, delim json.Delim) ([]map[string]bool, error) {
	switch delim {
	case '{':
		open = append(open, map[string]bool{})
	case '[':
		open = append(open, nil)
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
