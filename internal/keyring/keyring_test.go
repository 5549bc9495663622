package keyring

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
)

// case K07: on macOS a slot becomes part of a line of commands.
func TestSlotsThatAreRefused(t *testing.T) {
	for _, slot := range []string{
		"", strings.Repeat("a", maxSlot+1), "a\nadd-generic-password -s x", "a\r", "a'b", `a"b`, "a\x00", "a b", "a/b", "a\\b", "A", "é", "a$b", "a;b", "a\xff",
	} {
		key := make([]byte, KeySize)
		_, err := System{}.Get(slot)
		for call, err := range map[string]error{
			"CheckSlot": CheckSlot(slot), "Get": err, "Set": System{}.Set(slot, key), "Delete": System{}.Delete(slot),
		} {
			if err == nil || !strings.HasPrefix(err.Error(), "the name of a slot") {
				t.Errorf("%s(%q): %v", call, slot, err)
			}
		}
	}
	for _, slot := range []string{"a", "0", "a-1.example.com", strings.Repeat("a", maxSlot)} {
		if err := CheckSlot(slot); err != nil {
			t.Errorf("CheckSlot(%q): %v", slot, err)
		}
	}
}

func TestKeysOfAnotherSizeAreRefused(t *testing.T) {
	for _, size := range []int{0, KeySize - 1, KeySize + 1} {
		if err := (System{}).Set("slot", make([]byte, size)); err == nil || isOurs(err) {
			t.Errorf("a key of %d bytes: %v", size, err)
		}
	}
}

// case K05: another prefix, encoding, length, or anything around it.
func TestValuesThatAreNotOurs(t *testing.T) {
	key := bytes.Repeat([]byte{0xfb}, KeySize)
	good := encode(key)
	if got, err := decode(good); err != nil || !bytes.Equal(got, key) {
		t.Fatalf("decode(encode(key)) = %x, %v", got, err)
	}
	for _, value := range damaged() {
		if got, err := decode(value); !errors.Is(err, ErrDamaged) || got != nil {
			t.Errorf("decode(%q) = %x, %v", value, got, err)
		}
	}
}

// damaged are values near to one of ours.
func damaged() []string {
	key := bytes.Repeat([]byte{0xfb}, KeySize)
	good := encode(key)
	b64 := strings.TrimPrefix(good, version)
	return []string{
		"", version, b64, "tsh2:" + b64, strings.ToUpper(version) + b64, version + good, " " + good, good + "\n", good + "\r\n", good + " ", good + "\x00",
		good[:20] + "\n" + good[20:], good[:len(good)-1], good + "=", version + base64.URLEncoding.EncodeToString(key),
		version + base64.RawStdEncoding.EncodeToString(key), version + b64[:42] + "/=", // stray bits
		encode(key[:KeySize-1]), encode(append(key, 1)), "go-keyring-base64:" + b64, "\xff\xfe",
	}
}

func isOurs(err error) bool {
	for _, known := range []error{ErrUnavailable, ErrLocked, ErrNoAnswer, ErrMissing, ErrDamaged} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}
