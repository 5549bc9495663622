// Package wire holds the protobuf messages that the client exchanges with a
// cluster, only the fields it uses, and the codec for them. Use Marshal and
// Unmarshal with the structs of this package.
//
// The messages are plain structs whose fields carry their number in a tag, and
// one small codec reads the tags through reflection. The generated code that
// is usual instead needs the whole protobuf runtime, which adds 1.6 MB to the
// program and 0.6 ms to the start of every command.
//
// How a Go field maps to proto3:
//
//	string, []byte, bool, int32, int64, uint64   the scalar (enums are int32 types)
//	*T                                           message, absent when nil, empty when &T{}
//	T                                            message that is always written (a "non-nullable" one)
//	[]string, [][]byte, []T, []*T                repeated
//	map[string]string, map[string]T, ...*T       map with sorted keys
//
// A oneof is a set of pointer fields. Fields without a tag do not travel.
package wire

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
)

// Limits of what Unmarshal accepts.
const (
	maxDepth  = 32       // messages inside messages
	maxMemory = 64 << 20 // bytes that the values of one message may take
)

var (
	errTruncated = errors.New("malformed protobuf message")
	errTooDeep   = fmt.Errorf("protobuf message nests deeper than %d", maxDepth)
	errTooBig    = fmt.Errorf("protobuf message unpacks to more than %d MiB, or than is left for it", maxMemory>>20)
)

// field is one tagged field of a message struct.
type field struct {
	index  int
	number int32
	typ    reflect.Type
}

// layouts remembers the fields of the message types seen in one call. It is
// not kept between calls: parsing tags costs far less than what a package-level
// cache would cost every command in code and locking.
type layouts map[reflect.Type][]field

func (l layouts) of(t reflect.Type) []field {
	if fields, ok := l[t]; ok {
		return fields
	}
	var fields []field
	for i := range t.NumField() {
		f := t.Field(i)
		tag, ok := f.Tag.Lookup("wire")
		if !ok {
			continue
		}
		number, err := strconv.ParseInt(tag, 10, 29)
		if err != nil || number < 1 {
			panic("wire: bad field number on " + t.String() + "." + f.Name)
		}
		fields = append(fields, field{index: i, number: int32(number), typ: f.Type})
	}
	l[t] = fields
	return fields
}

func isBytes(t reflect.Type) bool {
	return t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8
}
