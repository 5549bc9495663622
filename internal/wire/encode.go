package wire

import (
	"reflect"
	"slices"
)

// Marshal returns the protobuf encoding of the message that v points to: known
// fields in the order of the struct, map entries in the order of their keys,
// scalars that are zero left out. It panics if v is not built as the package
// comment says; that is a mistake in the program, never in its input.
func Marshal(v any) []byte {
	e := encoder{layouts{}}
	return e.message(nil, reflect.ValueOf(v).Elem())
}

type encoder struct{ layouts layouts }

func (e encoder) message(b []byte, v reflect.Value) []byte {
	for _, f := range e.layouts.of(v.Type()) {
		b = e.field(b, f.number, v.Field(f.index))
	}
	return b
}

func (e encoder) field(b []byte, n int32, v reflect.Value) []byte {
	switch {
	case v.Kind() == reflect.Map:
		return e.entries(b, n, v)
	case v.Kind() == reflect.Slice && !isBytes(v.Type()):
		for i := range v.Len() {
			b = e.value(b, n, v.Index(i))
		}
		return b
	case v.IsZero() && v.Kind() != reflect.Struct:
		return b
	}
	return e.value(b, n, v)
}

// value appends one value with its tag, zero or not.
func (e encoder) value(b []byte, n int32, v reflect.Value) []byte {
	switch v.Kind() {
	case reflect.String:
		return appendBytes(b, n, v.String())
	case reflect.Slice:
		return appendBytes(b, n, v.Bytes())
	case reflect.Bool:
		var x uint64
		if v.Bool() {
			x = 1
		}
		return appendVarint(b, n, x)
	case reflect.Int32, reflect.Int64:
		return appendVarint(b, n, uint64(v.Int()))
	case reflect.Uint64:
		return appendVarint(b, n, v.Uint())
	case reflect.Pointer:
		if v.IsNil() {
			v = reflect.New(v.Type().Elem())
		}
		return e.value(b, n, v.Elem())
	case reflect.Struct:
		return appendBytes(b, n, e.message(nil, v))
	}
	panic("wire: field of unsupported type " + v.Type().String())
}

// entries appends a map: one message {key = 1, value = 2} for each entry.
func (e encoder) entries(b []byte, n int32, v reflect.Value) []byte {
	keys := make([]string, 0, v.Len())
	for _, key := range v.MapKeys() {
		keys = append(keys, key.String())
	}
	slices.Sort(keys)
	for _, key := range keys {
		k := reflect.ValueOf(key)
		entry := e.value(e.value(nil, 1, k), 2, v.MapIndex(k))
		b = appendBytes(b, n, entry)
	}
	return b
}
