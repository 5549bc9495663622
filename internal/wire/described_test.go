package wire_test

import (
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/seed-087d674e/tsh/internal/devcluster/clusterpb"
)

// facts are what the dev cluster's description of its messages leaves out, because it
// never sends or reads it: written from the tables of the auth API (4, 5, 6, 8.1, 9.1, 9.2,
// 9.3), a field a line, "number type" with "repeated" or "map" before the type. A message
// that the dev cluster has gets these fields besides; another is new.
func facts() map[string]string {
	return map[string]string{
		"ServerSpec": `
			4 map CommandLabel
			11 string
			12 repeated string
			13 repeated string
			14 CloudMetadata
			16 string
			17 repeated string`,
		"CommandLabel": `
			1 int64
			2 repeated string
			3 string`,
		"Rotation": `
			1 string
			2 string
			3 string
			4 string
			6 int64`,
		"CloudMetadata": `
			1 AWSMetadata`,
		"AWSMetadata": `
			1 string
			2 string
			3 string
			4 string
			5 string
			6 string`,
		"ListUnifiedResourcesRequest": `
			8 Empty`,
		"ListResourcesRequest": `
			10 Empty`,
		"MFAAuthenticateChallenge": `
			5 SSOChallenge`,
		"SSOChallenge": `
			1 string
			2 string`,
		"RoleOptions": `
			5 int64
			9 int64
			10 int64`,
		"Rule": `
			3 string`,
		"RoleConditions": `
			30 string`,
		"RoleRequestConditions": `
			6 repeated string`,
		"RemoteClustersRequest": `
			1 int32
			2 string`,
	}
}

// description is the dev cluster's with facts, as the protobuf library has it.
func description() *protoregistry.Files {
	set := &descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{protodesc.ToFileDescriptorProto(timestamppb.File_google_protobuf_timestamp_proto)}}
	known := make(map[string]*descriptorpb.DescriptorProto)
	var first *descriptorpb.FileDescriptorProto
	protoregistry.GlobalFiles.RangeFilesByPackage("devcluster.v1", func(d protoreflect.FileDescriptor) bool {
		file := protodesc.ToFileDescriptorProto(d)
		set.File = append(set.File, file)
		for _, m := range file.MessageType {
			known[m.GetName()] = m
		}
		if file.GetName() == clusterpb.File_cluster_proto.Path() {
			first = file // which all others import
		}
		return true
	})
	for name, lines := range facts() {
		d := known[name]
		if d == nil {
			d = &descriptorpb.DescriptorProto{Name: &name}
			first.MessageType = append(first.MessageType, d)
		}
		for line := range strings.Lines(lines) {
			if words := strings.Fields(line); len(words) > 0 {
				describeField(d, words)
			}
		}
	}
	files, err := protodesc.NewFiles(set)
	if err != nil {
		panic(err)
	}
	return files
}

// described returns an empty message of that name, facts included.
func described(files *protoregistry.Files, name string) proto.Message {
	d, err := files.FindDescriptorByName(protoreflect.FullName("devcluster.v1." + name))
	if err != nil {
		panic(err)
	}
	return dynamicpb.NewMessage(d.(protoreflect.MessageDescriptor))
}

// complete returns m where facts add nothing to it, and else what they make of it.
func complete(files *protoregistry.Files, m proto.Message) proto.Message {
	d := m.ProtoReflect().Descriptor()
	if !addsTo(d, map[protoreflect.FullName]bool{}) {
		return m
	}
	return described(files, string(d.Name()))
}

// addsTo reports whether facts have something for d, or for what is inside it.
func addsTo(d protoreflect.MessageDescriptor, met map[protoreflect.FullName]bool) bool {
	if _, ok := facts()[string(d.Name())]; ok {
		return true
	}
	if met[d.FullName()] {
		return false
	}
	met[d.FullName()] = true
	for i := range d.Fields().Len() {
		if inner := d.Fields().Get(i).Message(); inner != nil && addsTo(inner, met) {
			return true
		}
	}
	return false
}

// describeField adds the field that a line of facts stands for to d.
func describeField(d *descriptorpb.DescriptorProto, words []string) {
	number, err := strconv.Atoi(words[0])
	if err != nil {
		panic(err)
	}
	f := typedField("f"+words[0], int32(number), words[len(words)-1])
	switch {
	case words[1] == "repeated":
		f.Label = descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
	case words[1] == "map":
		entry := "F" + words[0] + "Entry"
		d.NestedType = append(d.NestedType, &descriptorpb.DescriptorProto{
			Name: &entry, Options: &descriptorpb.MessageOptions{MapEntry: proto.Bool(true)},
			Field: []*descriptorpb.FieldDescriptorProto{typedField("key", 1, "string"), typedField("value", 2, words[2])},
		})
		f = typedField("f"+words[0], int32(number), d.GetName()+"."+entry)
		f.Label = descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
	}
	d.Field = append(d.Field, f)
}

func typedField(name string, number int32, typ string) *descriptorpb.FieldDescriptorProto {
	f := &descriptorpb.FieldDescriptorProto{Name: &name, Number: &number, Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum()}
	if scalar, ok := descriptorpb.FieldDescriptorProto_Type_value["TYPE_"+strings.ToUpper(typ)]; ok && typ == strings.ToLower(typ) {
		f.Type = descriptorpb.FieldDescriptorProto_Type(scalar).Enum()
		return f
	}
	f.Type, f.TypeName = descriptorpb.FieldDescriptorProto_TYPE_MESSAGE.Enum(), proto.String(".devcluster.v1."+typ)
	return f
}
