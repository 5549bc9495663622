package qr

import (
	"bytes"
	"image"
	"image/color"
	"strings"
	"testing"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"
)

func read(t *testing.T, c *Code) string {
	t.Helper()
	const pixels, margin = 3, 4
	size := (c.Size + 2*margin) * pixels
	img := image.NewGray(image.Rect(0, 0, size, size))
	for y := range size {
		for x := range size {
			img.SetGray(x, y, color.Gray{255})
			if c.Dark(x/pixels-margin, y/pixels-margin) {
				img.SetGray(x, y, color.Gray{0})
			}
		}
	}
	bitmap, err := gozxing.NewBinaryBitmapFromImage(img)
	if err != nil {
		t.Fatal(err)
	}
	result, err := qrcode.NewQRCodeReader().Decode(bitmap, nil)
	if err != nil {
		t.Fatalf("a code of %d modules is not read: %v", c.Size, err)
	}
	return result.GetText()
}

// Codes at the edges of every version are read by a decoder that is not ours.
func TestEveryVersion(t *testing.T) {
	sizes := make(map[int]bool)
	for version := 1; version <= maxVersion; version++ {
		for _, n := range []int{capacity(version) - 1, capacity(version)} {
			data := bytes.Repeat([]byte("otpauth://0Az"), n/13+1)[:n]
			c, err := Encode(data)
			if err != nil {
				t.Fatal(err)
			}
			if c.Size != 17+4*version {
				t.Errorf("%d bytes in a code of %d modules, want version %d", n, c.Size, version)
			}
			sizes[c.Size] = true
			if got := read(t, c); got != string(data) {
				t.Errorf("%d bytes: read %q", n, got)
			}
		}
	}
	if capacity(maxVersion) != MaxBytes || len(sizes) != maxVersion {
		t.Errorf("the largest code holds %d bytes, %d versions were made", capacity(maxVersion), len(sizes))
	}
	if _, err := Encode(make([]byte, MaxBytes+1)); err == nil || !strings.Contains(err.Error(), "859") {
		t.Errorf("one byte too many: %v", err)
	}
}

// Every mask is written as it is said to be, whatever the best one is.
func TestEveryMask(t *testing.T) {
	const version = 7 // the first that says its version
	data := []byte("otpauth://totp/dev.example:alice@localhost?secret=JBSWY3DPEHPK3PXP")
	for mask := range masks {
		c := newCode(version)
		c.place(interleave(version, pack(version, data)), mask)
		if got := read(t, c); got != string(data) {
			t.Errorf("mask %d: read %q", mask, got)
		}
	}
}

func FuzzEncode(f *testing.F) {
	f.Add([]byte("otpauth://totp/"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Encode(data)
		if (err != nil) != (len(data) > MaxBytes) {
			t.Fatalf("%d bytes: %v", len(data), err)
		}
		if err == nil && !(c.Dark(0, 0) && c.Dark(c.Size-1, 0) && c.Dark(0, c.Size-1)) {
			t.Fatal("no finders")
		}
	})
}
