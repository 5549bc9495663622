package keyring

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"reflect"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"
)

// received is what our side makes of bytes from a bus.
func received(data []byte) (message, error) {
	return (&bus{in: bufio.NewReader(bytes.NewReader(data))}).receive()
}

// Machines of either byte order speak, and variants may hold what
// we never heard of.
func TestMessagesOfGodbus(t *testing.T) {
	type odd struct {
		A byte
		B []uint64
		C map[string]dbus.Variant
	}
	strange := []any{
		byte(1), int16(2), uint32(3), 4.5, "five", dbus.ObjectPath("/six"), dbus.SignatureOf("seven"), []string{}, []odd{}, [][]int64{{8}, {}},
		odd{9, []uint64{10}, map[string]dbus.Variant{"11": dbus.MakeVariant([]odd{{B: []uint64{12}}})}},
	}
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		for _, value := range strange {
			sent := &dbus.Message{Type: dbus.TypeMethodReply, Body: []any{dbus.MakeVariant(value), testItem, true}, Headers: map[dbus.HeaderField]dbus.Variant{
				dbus.FieldReplySerial: dbus.MakeVariant(uint32(7)),
				dbus.FieldSignature:   dbus.MakeVariant(dbus.ParseSignatureMust("vob")),
			}}
			var out bytes.Buffer
			if err := sent.EncodeTo(&out, order); err != nil {
				t.Fatal(err)
			}
			m, err := received(out.Bytes())
			if err != nil || m.kind != methodReply || m.replySerial != 7 {
				t.Fatalf("%v %v: %+v, %v", order, value, m, err)
			}
			var path objectPath
			var last bool
			if err := m.store(variant{}, &path, &last); err != nil || path != objectPath(testItem) || !last {
				t.Errorf("%v %v: %q %v, %v", order, value, path, last, err)
			}
		}
	}
}

func TestRequestsAreReadByGodbus(t *testing.T) {
	call := request{"a.service", "/path", "an.interface.Method", []any{
		"text", objectPath("/p"), true, variant{"of text"}, []objectPath{"/a", "/b"}, map[string]string{"k": "v"},
		map[string]variant{"k": {map[string]string{"a": "b"}}}, secret{"/s", []byte{}, []byte("value"), "text/plain"},
	}}
	m, err := dbus.DecodeMessage(bytes.NewReader(call.message(3)))
	if err != nil || m.Type != dbus.TypeMethodCall || m.Serial() != 3 {
		t.Fatal(m, err)
	}
	want := []any{
		"text", dbus.ObjectPath("/p"), true, dbus.MakeVariant("of text"), []dbus.ObjectPath{"/a", "/b"}, map[string]string{"k": "v"},
		map[string]dbus.Variant{"k": dbus.MakeVariant(map[string]string{"a": "b"})}, []any{dbus.ObjectPath("/s"), []byte{}, []byte("value"), "text/plain"},
	}
	if !reflect.DeepEqual(m.Body, want) {
		t.Errorf("%v, want %v", m.Body, want)
	}
	head := []any{m.Headers[dbus.FieldDestination].Value(), m.Headers[dbus.FieldPath].Value(), m.Headers[dbus.FieldInterface].Value(), m.Headers[dbus.FieldMember].Value()}
	if want := []any{"a.service", dbus.ObjectPath("/path"), "an.interface", "Method"}; !reflect.DeepEqual(head, want) {
		t.Errorf("%v, want %v", head, want)
	}
}

func TestObjectPaths(t *testing.T) {
	for _, path := range []string{"/", "/a", "/a/B_9"} {
		if !objectPath(path).valid() || !dbus.ObjectPath(path).IsValid() {
			t.Errorf("%q is none", path)
		}
	}
	for _, path := range []string{"", "a", "a/b", "//", "/a/", "/a//b", "/a'b", "/a b", "/a\x00", "/é"} {
		if objectPath(path).valid() || dbus.ObjectPath(path).IsValid() {
			t.Errorf("%q is one", path)
		}
	}
}

// case K09: whatever comes, it is read or refused.
func FuzzMessage(f *testing.F) {
	f.Add([]byte(hugeMessage()))
	f.Add(request{"a.service", "/path", "an.interface.Method", []any{map[string]variant{"k": {map[string]string{"a": "b"}}}}}.message(1))
	f.Add([]byte("l\x02\x00\x01\x00\x00\x00\x00\x01\x00\x00\x00\x09\x00\x00\x00\x4d" + strings.Repeat("\x01v\x00", 100)))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := received(data)
		if err != nil {
			return
		}
		var path objectPath
		var paths []objectPath
		var held secret
		_ = m.store(variant{}, &path)
		_ = m.store(&paths, &path)
		_ = m.store(&held)
		if path != "" && !path.valid() {
			t.Errorf("the path %q", path)
		}
	})
}
