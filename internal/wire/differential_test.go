package wire_test

import (
	"bytes"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/seed-087d674e/tsh/internal/wire"
)

// differences compares every field of ours with the one of the same number.
func differences(path string, ours reflect.Value, theirs protoreflect.Message) (found []string) {
	members := make(map[protoreflect.OneofDescriptor]int)
	eachField(ours.Type(), theirs.Descriptor(), func(f reflect.StructField, g protoreflect.FieldDescriptor) {
		if g != nil && g.ContainingOneof() != nil && !ours.FieldByIndex(f.Index).IsZero() {
			members[g.ContainingOneof()]++
		}
	})
	eachField(ours.Type(), theirs.Descriptor(), func(f reflect.StructField, g protoreflect.FieldDescriptor) {
		// Where several of a oneof were sent, the library keeps the last and we keep all.
		if g == nil || g.ContainingOneof() != nil && members[g.ContainingOneof()] > 1 {
			return
		}
		found = append(found, fieldDifferences(path+"."+f.Name, ours.FieldByIndex(f.Index), theirs, g)...)
	})
	return found
}

func fieldDifferences(path string, ours reflect.Value, theirs protoreflect.Message, g protoreflect.FieldDescriptor) (found []string) {
	value := theirs.Get(g)
	switch {
	case g.IsMap():
		if ours.Len() != value.Map().Len() {
			return []string{fmt.Sprintf("%s: %d entries, want %d", path, ours.Len(), value.Map().Len())}
		}
		value.Map().Range(func(key protoreflect.MapKey, v protoreflect.Value) bool {
			own := ours.MapIndex(reflect.ValueOf(key.String()))
			if !own.IsValid() {
				found = append(found, fmt.Sprintf("%s: no entry %q", path, key))
				return true
			}
			found = append(found, valueDifferences(path, own, v, g.MapValue())...)
			return true
		})
	case g.IsList():
		if ours.Len() != value.List().Len() {
			return []string{fmt.Sprintf("%s: %d elements, want %d", path, ours.Len(), value.List().Len())}
		}
		for i := range ours.Len() {
			found = append(found, valueDifferences(path, ours.Index(i), value.List().Get(i), g)...)
		}
	case ours.Kind() == reflect.Pointer && ours.IsNil() == theirs.Has(g):
		return []string{fmt.Sprintf("%s: present %v, want %v", path, !ours.IsNil(), theirs.Has(g))}
	default:
		return valueDifferences(path, ours, value, g)
	}
	return found
}

func valueDifferences(path string, ours reflect.Value, theirs protoreflect.Value, g protoreflect.FieldDescriptor) []string {
	equal := false
	switch ours.Kind() {
	case reflect.Pointer:
		if ours.IsNil() {
			return nil // and so are they
		}
		return differences(path, ours.Elem(), theirs.Message())
	case reflect.Struct:
		return differences(path, ours, theirs.Message())
	case reflect.Bool:
		equal = ours.Bool() == theirs.Bool()
	case reflect.String:
		equal = ours.String() == theirs.String()
	case reflect.Slice:
		equal = bytes.Equal(ours.Bytes(), theirs.Bytes())
	case reflect.Uint64:
		equal = ours.Uint() == theirs.Uint() || g.Kind() == protoreflect.Uint32Kind && uint64(uint32(ours.Uint())) == theirs.Uint()
	case reflect.Int32, reflect.Int64:
		if g.Kind() == protoreflect.EnumKind {
			return nil // the dev cluster has none
		}
		equal = ours.Int() == theirs.Int()
	}
	if equal {
		return nil
	}
	return []string{fmt.Sprintf("%s: %v, want %v", path, ours, theirs)}
}

// fill sets every field to something else than zero and than its neighbours; of a oneof
// it sets the member of that turn.
func fill(m protoreflect.Message, turn, depth int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		g := fields.Get(i)
		if oneof := g.ContainingOneof(); oneof != nil && oneof.Fields().Get(turn%oneof.Fields().Len()) != g {
			continue
		}
		switch {
		case g.IsMap():
			for k := range 2 {
				key := protoreflect.ValueOfString(fmt.Sprintf("key %d of %d", k, g.Number())).MapKey()
				m.Mutable(g).Map().Set(key, filled(g.MapValue(), m.Mutable(g).Map().NewValue, turn+k, depth))
			}
		case g.IsList():
			for k := range 3 {
				m.Mutable(g).List().Append(filled(g, m.Mutable(g).List().NewElement, turn+k, depth))
			}
		default:
			m.Set(g, filled(g, func() protoreflect.Value { return m.NewField(g) }, turn, depth))
		}
	}
}

func filled(g protoreflect.FieldDescriptor, empty func() protoreflect.Value, turn, depth int) protoreflect.Value {
	n := int64(g.Number())*1000 + int64(turn) + 1
	switch g.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(fmt.Sprintf("%s %d é", g.Name(), n))
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes(fmt.Appendf(nil, "\x00\xff%d", n))
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(int32(-n))
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(n << 40)
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(uint32(n) << 10)
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(uint64(n) << 50)
	case protoreflect.MessageKind:
		v := empty()
		if depth > 0 {
			fill(v.Message(), turn, depth-1)
		}
		return v
	}
	panic("a kind that no message has: " + g.Kind().String())
}

const deepest = 12 // messages inside each other, when they are made here

// What the library encodes we decode to the same values, and what we encode of it the
// library does: every field, every member of a oneof, maps and lists with several.
func TestEveryFieldMeansTheSame(t *testing.T) {
	for _, p := range pairs() {
		for turn := range 4 {
			theirs := p.theirs.ProtoReflect().New()
			fill(theirs, turn, deepest)
			raw, err := proto.Marshal(theirs.Interface())
			if err != nil {
				t.Fatal(err)
			}
			ours := reflect.New(reflect.TypeOf(p.ours).Elem())
			if err := wire.Unmarshal(raw, ours.Interface()); err != nil {
				t.Fatal(err)
			}
			for _, d := range differences(ours.Type().Elem().String(), ours.Elem(), theirs) {
				t.Errorf("decoded, turn %d: %s", turn, d)
			}
			back := p.theirs.ProtoReflect().New()
			if err := proto.Unmarshal(wire.Marshal(ours.Interface()), back.Interface()); err != nil {
				t.Fatal(err)
			}
			for _, d := range differences(ours.Type().Elem().String(), ours.Elem(), back) {
				t.Errorf("encoded, turn %d: %s", turn, d)
			}
		}
	}
}

// FuzzMessages decodes anything as each message, with ours and with the library: what the
// library takes means the same to us, and what we encode of it means the same to it.
func FuzzMessages(f *testing.F) {
	all := pairs()
	for i, p := range all {
		for turn := range 3 {
			m := p.theirs.ProtoReflect().New()
			fill(m, turn, deepest)
			raw, err := proto.Marshal(m.Interface())
			if err != nil {
				f.Fatal(err)
			}
			f.Add(uint8(i), raw)
		}
	}
	captured, err := filepath.Glob(filepath.Join("testdata", "grpc", "*.binpb"))
	if err != nil || len(captured) < 28 {
		f.Fatalf("%d captured messages, %v", len(captured), err)
	}
	for _, path := range captured {
		for i := range all {
			f.Add(uint8(i), readFile(f, path))
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, raw []byte) {
		p := all[int(which)%len(all)]
		if d := disagreement(p, raw); d != "" {
			t.Fatalf("%T of %x: %s", p.ours, raw, d)
		}
	})
}

// disagreement decodes raw twice, and says what differs.
func disagreement(p pair, raw []byte) string {
	ours, theirs := reflect.New(reflect.TypeOf(p.ours).Elem()), p.theirs.ProtoReflect().New()
	refused, wanted := wire.Unmarshal(bytes.Clone(raw), ours.Interface()), proto.Unmarshal(raw, theirs.Interface())
	if refused != nil {
		// We refuse groups, which no server sends, and what would take too much memory.
		if wanted != nil || hasGroup(raw, theirs.Descriptor()) || strings.Contains(refused.Error(), "unpacks to more") {
			return ""
		}
		return fmt.Sprintf("we refuse what the library takes: %v", refused)
	}
	if wanted == nil {
		if d := differences("", ours.Elem(), theirs); len(d) > 0 {
			return "decoded: " + strings.Join(d, "\n")
		}
	}
	encoded, back := wire.Marshal(ours.Interface()), p.theirs.ProtoReflect().New()
	if err := proto.Unmarshal(encoded, back.Interface()); err != nil {
		if strings.Contains(err.Error(), "UTF-8") && !utf8.Valid(encoded) {
			return "" // we do not look; what is shown passes through internal/text
		}
		return fmt.Sprintf("the library refuses our %x: %v", encoded, err)
	}
	if d := differences("", ours.Elem(), back); len(d) > 0 {
		return "encoded: " + strings.Join(d, "\n")
	}
	return ""
}

// hasGroup reports whether there is a group in raw, at any depth that we look at.
func hasGroup(raw []byte, d protoreflect.MessageDescriptor) bool {
	for len(raw) > 0 {
		number, typ, n := protowire.ConsumeField(raw)
		if n < 0 {
			return false
		}
		if typ == protowire.StartGroupType {
			return true
		}
		_, _, tag := protowire.ConsumeTag(raw)
		if g := d.Fields().ByNumber(number); g != nil && g.Message() != nil && typ == protowire.BytesType {
			if inner, n := protowire.ConsumeBytes(raw[tag:]); n >= 0 && hasGroup(inner, g.Message()) {
				return true
			}
		}
		raw = raw[n:]
	}
	return false
}
