package wire

import (
	"encoding/binary"
	"math"
)

// The encoding below messages: varints, tags and length-prefixed bytes (the
// "Encoding" chapter of the protobuf documentation). The protowire package does
// the same; but importing it reads and hashes the whole program at every start.

// wireType is the lower three bits of a tag.
type wireType uint8

const (
	varintType  wireType = 0
	fixed64Type wireType = 1
	bytesType   wireType = 2
	fixed32Type wireType = 5
)

// maxFieldNumber is what fits the type; proto3 stops at 2^29-1 already.
const maxFieldNumber = math.MaxInt32

// consumeTag reads a tag and returns its length, negative if there is none.
func consumeTag(b []byte) (number int32, typ wireType, n int) {
	x, n := binary.Uvarint(b)
	if n <= 0 || x>>3 == 0 || x>>3 > maxFieldNumber {
		return 0, 0, -1
	}
	return int32(x >> 3), wireType(x & 7), n
}

// consumeVarint reads a varint and returns its length, negative if there is none.
func consumeVarint(b []byte) (x uint64, n int) {
	if x, n = binary.Uvarint(b); n <= 0 {
		return 0, -1
	}
	return x, n
}

// consumeBytes reads length-prefixed bytes and returns the length of the whole,
// negative if b ends before.
func consumeBytes(b []byte) (data []byte, n int) {
	size, n := binary.Uvarint(b)
	if n <= 0 || size > uint64(len(b)-n) {
		return nil, -1
	}
	end := n + int(size)
	return b[n:end:end], end
}

// skipValue returns the length of a value of any type, negative if b ends
// before or the type is one that proto3 does not have (groups).
func skipValue(typ wireType, b []byte) int {
	n := -1
	switch typ {
	case varintType:
		_, n = consumeVarint(b)
	case bytesType:
		_, n = consumeBytes(b)
	case fixed32Type:
		n = 4
	case fixed64Type:
		n = 8
	}
	if n > len(b) {
		return -1
	}
	return n
}

func appendTag(b []byte, number int32, typ wireType) []byte {
	return binary.AppendUvarint(b, uint64(number)<<3|uint64(typ))
}

func appendVarint(b []byte, number int32, x uint64) []byte {
	return binary.AppendUvarint(appendTag(b, number, varintType), x)
}

func appendBytes[T string | []byte](b []byte, number int32, data T) []byte {
	b = binary.AppendUvarint(appendTag(b, number, bytesType), uint64(len(data)))
	return append(b, data...)
}
