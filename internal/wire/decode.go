package wire

import (
	"fmt"
	"reflect"
)

// Unmarshal decodes b into the message that v points to, which should be zero.
//
// Unknown fields, and known ones that come with another wire type, are skipped
// (proto3). The last of several values of a field counts; messages are merged.
// []byte fields share memory with b.
//
// Errors say that b is not well-formed, nests too deeply, or would take more
// than 64 MiB unpacked. No input makes it panic.
func Unmarshal(b []byte, v any) error {
	budget := maxMemory
	return UnmarshalWithin(b, v, &budget)
}

// UnmarshalWithin is Unmarshal for one of several messages that are kept: what
// it takes unpacked, in bytes, is subtracted from budget, and an error if that
// is not enough.
func UnmarshalWithin(b []byte, v any, budget *int) error {
	target := reflect.ValueOf(v).Elem()
	most := min(maxMemory, *budget)
	d := decoder{layouts: layouts{}, memory: most}
	err := d.message(b, target, maxDepth)
	*budget -= most - d.memory
	if err != nil {
		return fmt.Errorf("%s: %w", target.Type().Name(), err)
	}
	return nil
}

type decoder struct {
	layouts layouts
	memory  int // what may still be allocated
}

// take accounts for n bytes about to be allocated.
func (d *decoder) take(n int) error {
	if d.memory -= n; d.memory < 0 {
		return errTooBig
	}
	return nil
}

func (d *decoder) message(b []byte, v reflect.Value, depth int) error {
	if depth == 0 {
		return errTooDeep
	}
	fields := d.layouts.of(v.Type())
	for len(b) > 0 {
		number, typ, n := consumeTag(b)
		if n < 0 {
			return errTruncated
		}
		b = b[n:]
		f := lookup(fields, number)
		if f == nil || wireTypeOf(f.typ) != typ {
			if n = skipValue(typ, b); n < 0 {
				return errTruncated
			}
			b = b[n:]
			continue
		}
		n, err := d.field(b, v.Field(f.index), depth)
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

func lookup(fields []field, number int32) *field {
	for i := range fields {
		if fields[i].number == number {
			return &fields[i]
		}
	}
	return nil
}

func wireTypeOf(t reflect.Type) wireType {
	switch t.Kind() {
	case reflect.Bool, reflect.Int32, reflect.Int64, reflect.Uint64:
		return varintType
	}
	return bytesType
}

// field decodes the value at the start of b into v and returns its length.
func (d *decoder) field(b []byte, v reflect.Value, depth int) (int, error) {
	if wireTypeOf(v.Type()) == varintType {
		x, n := consumeVarint(b)
		if n < 0 {
			return 0, errTruncated
		}
		setVarint(v, x)
		return n, nil
	}
	data, n := consumeBytes(b)
	if n < 0 {
		return 0, errTruncated
	}
	switch {
	case v.Kind() == reflect.Map:
		return n, d.entry(data, v, depth)
	case v.Kind() == reflect.Slice && !isBytes(v.Type()):
		return n, d.element(data, v, depth)
	}
	return n, d.value(data, v, depth)
}

func setVarint(v reflect.Value, x uint64) {
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(x != 0)
	case reflect.Int32:
		v.SetInt(int64(int32(x))) // proto3: the upper half is dropped
	case reflect.Int64:
		v.SetInt(int64(x))
	case reflect.Uint64:
		v.SetUint(x)
	}
}

func (d *decoder) value(data []byte, v reflect.Value, depth int) error {
	switch v.Kind() {
	case reflect.String:
		if err := d.take(len(data)); err != nil {
			return err
		}
		v.SetString(string(data))
		return nil
	case reflect.Slice:
		v.SetBytes(data)
		return nil
	case reflect.Pointer:
		if v.IsNil() {
			if err := d.take(int(v.Type().Elem().Size())); err != nil {
				return err
			}
			v.Set(reflect.New(v.Type().Elem()))
		}
		return d.message(data, v.Elem(), depth-1)
	}
	return d.message(data, v, depth-1)
}

// element appends one element to the slice v.
func (d *decoder) element(data []byte, v reflect.Value, depth int) error {
	// Appending doubles the array: an element costs up to twice its size.
	if err := d.take(2 * int(v.Type().Elem().Size())); err != nil {
		return err
	}
	v.Set(reflect.Append(v, reflect.Zero(v.Type().Elem())))
	return d.value(data, v.Index(v.Len()-1), depth)
}

// entry adds one entry to the map v.
func (d *decoder) entry(data []byte, v reflect.Value, depth int) error {
	element := v.Type().Elem()
	const overhead = 64 // of a map, for each entry
	if err := d.take(overhead + int(element.Size())); err != nil {
		return err
	}
	key, value, err := d.keyAndValue(data, element, depth)
	if err != nil {
		return err
	}
	if v.IsNil() {
		v.Set(reflect.MakeMap(v.Type()))
	}
	v.SetMapIndex(reflect.ValueOf(key), value)
	return nil
}

func (d *decoder) keyAndValue(data []byte, element reflect.Type, depth int) (string, reflect.Value, error) {
	var key string
	value := reflect.New(element).Elem()
	if element.Kind() == reflect.Pointer {
		value.Set(reflect.New(element.Elem())) // a missing value is an empty message
	}
	for len(data) > 0 {
		number, typ, n := consumeTag(data)
		if n < 0 {
			return "", value, errTruncated
		}
		data = data[n:]
		if n = skipValue(typ, data); n < 0 {
			return "", value, errTruncated
		}
		raw, _ := consumeBytes(data[:n])
		data = data[n:]
		if typ != bytesType || number > 2 {
			continue
		}
		var err error
		if number == 1 {
			key, err = string(raw), d.take(len(raw))
		} else {
			err = d.value(raw, value, depth)
		}
		if err != nil {
			return "", value, err
		}
	}
	return key, value, nil
}
