// Package qr makes QR codes (ISO/IEC 18004) of bytes: model 2, versions 1 to 20,
// error correction level L. It does that and no more, in a quarter of the space
// that a library for all of the standard takes.
package qr

import "fmt"

// MaxBytes is how much a code holds.
const MaxBytes = 858

const (
	maxVersion = 20
	masks      = 8
)

// Code is a QR code: a square of dark and light modules, without a margin.
type Code struct {
	Size    int // modules on a side
	version int
	dark    []bool
	fixed   []bool // modules that say where and what the code is, and hold no data
}

// Encode makes the smallest code that holds data. More than MaxBytes are an
// error.
func Encode(data []byte) (*Code, error) {
	version := 1
	for version <= maxVersion && len(data) > capacity(version) {
		version++
	}
	if version > maxVersion {
		return nil, fmt.Errorf("%d bytes are more than a QR code of %d modules holds", len(data), 17+4*maxVersion)
	}
	var best *Code
	words := interleave(version, pack(version, data))
	for mask := range masks {
		c := newCode(version)
		c.place(words, mask)
		if best == nil || c.penalty() < best.penalty() {
			best = c
		}
	}
	return best, nil
}

// Dark reports whether the module in column x and row y is dark. Beyond the code
// all is light.
func (c *Code) Dark(x, y int) bool {
	return x >= 0 && y >= 0 && x < c.Size && y < c.Size && c.dark[y*c.Size+x]
}

// words is how many bytes a version has for data and their correction.
func words(version int) int {
	modules := (16*version+128)*version + 64
	if version >= 2 {
		n := version/7 + 2 // alignment patterns on a side
		modules -= (25*n-10)*n - 55
	}
	if version >= 7 {
		modules -= 36
	}
	return modules / 8
}

// blocks are what a version's bytes are divided into, each with as many bytes of
// correction (table 9 of the standard, level L).
func blocks(version int) (count, correction int) {
	counts := [maxVersion]int{1, 1, 1, 1, 1, 2, 2, 2, 2, 4, 4, 4, 4, 4, 6, 6, 6, 6, 7, 8}
	corrections := [maxVersion]int{7, 10, 15, 20, 26, 18, 20, 24, 30, 18, 20, 24, 26, 30, 22, 24, 28, 30, 28, 28}
	return counts[version-1], corrections[version-1]
}

// dataWords is how many of a version's bytes are not for correction.
func dataWords(version int) int {
	count, correction := blocks(version)
	return words(version) - count*correction
}

// lengthBits is how many bits say how many bytes follow.
func lengthBits(version int) int {
	if version < 10 {
		return 8
	}
	return 16
}

// capacity is how many bytes of ours a version holds, beside the four bits for
// the mode and the length.
func capacity(version int) int { return (8*dataWords(version) - 4 - lengthBits(version)) / 8 }

// pack writes mode, length, data and padding.
func pack(version int, data []byte) []byte {
	const modeBytes = 4
	b := bits{}
	b.write(modeBytes, 4)
	b.write(len(data), lengthBits(version))
	for _, x := range data {
		b.write(int(x), 8)
	}
	size := dataWords(version)
	b.write(0, min(4, 8*size-b.n))
	for pad := 0xec; len(b.bytes) < size; pad ^= 0xec ^ 0x11 {
		b.bytes = append(b.bytes, byte(pad))
	}
	return b.bytes
}

// bits are written from the highest on.
type bits struct {
	bytes []byte
	n     int
}

func (b *bits) write(value, count int) {
	for i := count - 1; i >= 0; i-- {
		if b.n%8 == 0 {
			b.bytes = append(b.bytes, 0)
		}
		b.bytes[b.n/8] |= byte(value>>i&1) << (7 - b.n%8)
		b.n++
	}
}

// interleave divides the data into blocks, and takes the first byte of each, then
// the second, and so on; then the same of their correction.
func interleave(version int, data []byte) []byte {
	count, correction := blocks(version)
	short := len(data) / count
	shortOnes := count - len(data)%count
	divisor := generator(correction)
	var parts, checks [][]byte
	for i := range count {
		n := short
		if i >= shortOnes {
			n++
		}
		parts, checks = append(parts, data[:n]), append(checks, remainder(data[:n], divisor))
		data = data[n:]
	}
	var out []byte
	for i := range short + 1 {
		for _, part := range parts {
			if i < len(part) {
				out = append(out, part[i])
			}
		}
	}
	for i := range correction {
		for _, check := range checks {
			out = append(out, check[i])
		}
	}
	return out
}

// multiply is the product in GF(256) by x^8+x^4+x^3+x^2+1.
func multiply(a, b byte) (product byte) {
	for ; b > 0; b >>= 1 {
		if b&1 != 0 {
			product ^= a
		}
		carry := a >> 7
		a = a<<1 ^ carry*0x1d
	}
	return product
}

// generator is the product of (x - 2^i) for i below degree, without its first
// coefficient, which is one.
func generator(degree int) []byte {
	g := make([]byte, degree)
	g[degree-1] = 1
	root := byte(1)
	for range degree {
		for i := range g {
			g[i] = multiply(g[i], root)
			if i+1 < degree {
				g[i] ^= g[i+1]
			}
		}
		root = multiply(root, 2)
	}
	return g
}

// remainder is that of the data divided by the generator: Reed and Solomon's
// correction.
func remainder(data, divisor []byte) []byte {
	rest := make([]byte, len(divisor))
	for _, b := range data {
		factor := b ^ rest[0]
		copy(rest, rest[1:])
		rest[len(rest)-1] = 0
		for i, d := range divisor {
			rest[i] ^= multiply(d, factor)
		}
	}
	return rest
}
