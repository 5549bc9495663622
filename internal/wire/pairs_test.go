package wire_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/seed-087d674e/tsh/internal/devcluster/clusterpb"
	"github.com/seed-087d674e/tsh/internal/wire"
	"github.com/seed-087d674e/tsh/internal/wire/accesswire"
	"github.com/seed-087d674e/tsh/internal/wire/clusterwire"
	"github.com/seed-087d674e/tsh/internal/wire/mfawire"
	"github.com/seed-087d674e/tsh/internal/wire/rolewire"
	"github.com/seed-087d674e/tsh/internal/wire/sessionwire"
)

// pair is one message twice: the client's struct, and the protobuf library's view of what
// the dev cluster, or described, says of it.
type pair struct {
	ours   any
	theirs proto.Message
}

// pairs has every message that travels by itself. What is inside them follows by its
// field number, so a new message is a line here, and one inside another is none.
func pairs() []pair {
	files := description()
	all := []pair{
		{new(wire.Empty), new(clusterpb.Empty)},
		{new(wire.Timestamp), new(timestamppb.Timestamp)},
		{new(wire.ProxySSHRequest), new(clusterpb.ProxySSHRequest)},
		{new(wire.ProxySSHResponse), new(clusterpb.ProxySSHResponse)},
		{new(wire.ProxyClusterRequest), new(clusterpb.ProxyClusterRequest)},
		{new(wire.ProxyClusterResponse), new(clusterpb.ProxyClusterResponse)},
		{new(wire.PingResponse), new(clusterpb.PingResponse)},
		{new(wire.ListUnifiedResourcesRequest), new(clusterpb.ListUnifiedResourcesRequest)},
		{new(wire.ListUnifiedResourcesResponse), new(clusterpb.ListUnifiedResourcesResponse)},
		{new(wire.ListResourcesRequest), new(clusterpb.ListResourcesRequest)},
		{new(wire.ListResourcesResponse), new(clusterpb.ListResourcesResponse)},
		{new(wire.ResolveSSHTargetRequest), new(clusterpb.ResolveSSHTargetRequest)},
		{new(wire.ResolveSSHTargetResponse), new(clusterpb.ResolveSSHTargetResponse)},

		{new(accesswire.CertAuthoritiesRequest), new(clusterpb.GetCertAuthoritiesRequest)},
		{new(accesswire.CertAuthoritiesResponse), new(clusterpb.GetCertAuthoritiesResponse)},
		{new(accesswire.UserCertsRequest), new(clusterpb.UserCertsRequest)},
		{new(accesswire.Certs), new(clusterpb.Certs)},
		{new(accesswire.AccessRequest), new(clusterpb.AccessRequest)},
		{new(accesswire.ListAccessRequestsRequest), new(clusterpb.ListAccessRequestsRequest)},
		{new(accesswire.ListAccessRequestsResponse), new(clusterpb.ListAccessRequestsResponse)},
		{new(accesswire.AccessCapabilitiesRequest), new(clusterpb.AccessCapabilitiesRequest)},
		{new(accesswire.AccessCapabilities), new(clusterpb.AccessCapabilities)},
		{new(accesswire.Watch), new(clusterpb.Watch)},
		{new(accesswire.Event), new(clusterpb.Event)},
		{new(accesswire.ReviewSubmission), new(clusterpb.AccessReviewSubmission)},
		{new(accesswire.RequestID), new(clusterpb.RequestID)},

		{new(rolewire.GetUserRequest), new(clusterpb.GetUserRequest)},
		{new(rolewire.GetUserResponse), new(clusterpb.GetUserResponse)},
		{new(rolewire.GetRoleRequest), new(clusterpb.GetRoleRequest)},
		{new(rolewire.ListRolesRequest), new(clusterpb.ListRolesRequest)},
		{new(rolewire.ListRolesResponse), new(clusterpb.ListRolesResponse)},

		{new(clusterwire.RemoteClustersResponse), new(clusterpb.RemoteClustersPage)},
		{new(clusterwire.SessionTracker), new(clusterpb.SessionTracker)},

		{new(mfawire.ChallengeRequest), new(clusterpb.CreateAuthenticateChallengeRequest)},
		{new(mfawire.Challenge), new(clusterpb.MFAAuthenticateChallenge)},
		{new(mfawire.Answer), new(clusterpb.MFAAuthenticateResponse)},
		{new(mfawire.GetDevicesResponse), new(clusterpb.GetMFADevicesResponse)},
		{new(mfawire.RegisterChallengeRequest), new(clusterpb.CreateRegisterChallengeRequest)},
		{new(mfawire.RegisterChallenge), new(clusterpb.MFARegisterChallenge)},
		{new(mfawire.AddDeviceRequest), new(clusterpb.AddMFADeviceSyncRequest)},
		{new(mfawire.AddDeviceResponse), new(clusterpb.AddMFADeviceSyncResponse)},
		{new(mfawire.DeleteDeviceRequest), new(clusterpb.DeleteMFADeviceSyncRequest)},
		{new(mfawire.PrivilegeTokenRequest), new(clusterpb.CreatePrivilegeTokenRequest)},
		{new(mfawire.UserToken), new(clusterpb.UserToken)},
		{new(mfawire.HeadlessLogin), new(clusterpb.HeadlessAuthentication)},
		{new(mfawire.HeadlessDecision), new(clusterpb.UpdateHeadlessAuthenticationStateRequest)},

		{new(sessionwire.RequiredRequest), new(clusterpb.IsMFARequiredRequest)},
		{new(sessionwire.RequiredResponse), new(clusterpb.IsMFARequiredResponse)},
		{new(sessionwire.ChallengeRequest), new(clusterpb.CreateAuthenticateChallengeRequest)},
		{new(sessionwire.SingleUseRequest), new(clusterpb.UserSingleUseCertsRequest)},
		{new(sessionwire.SingleUseResponse), new(clusterpb.UserSingleUseCertsResponse)},
		{new(clusterwire.RemoteClustersRequest), described(files, "RemoteClustersRequest")},
	}
	for i := range all {
		all[i].theirs = complete(files, all[i].theirs)
	}
	return all
}

// eachField calls do with each field that travels, and with what their message has under
// the number: nil if it has nothing.
func eachField(ours reflect.Type, theirs protoreflect.MessageDescriptor, do func(reflect.StructField, protoreflect.FieldDescriptor)) {
	for i := range ours.NumField() {
		f := ours.Field(i)
		tag, ok := f.Tag.Lookup("wire")
		if !ok {
			continue
		}
		number, err := strconv.Atoi(tag)
		if err != nil {
			panic(err)
		}
		do(f, theirs.Fields().ByNumber(protoreflect.FieldNumber(number)))
	}
}

// checker walks the pairs.
type checker struct {
	met      map[string]bool // types of ours, and which of theirs they were met with
	findings []string
}

func (c *checker) pair(ours reflect.Type, theirs protoreflect.MessageDescriptor) {
	name := ours.String()
	both := name + "=" + string(theirs.FullName())
	if c.met[both] {
		return
	}
	c.met[name], c.met[both] = true, true
	eachField(ours, theirs, func(f reflect.StructField, g protoreflect.FieldDescriptor) {
		if g == nil {
			c.findings = append(c.findings, fmt.Sprintf("%s.%s: %s has no field %s, nor do facts", name, f.Name, theirs.Name(), f.Tag))
			return
		}
		c.field(name+"."+f.Name, f.Type, g)
	})
}

// field compares the types of a field: how it travels, how often, and how it is read.
func (c *checker) field(name string, t reflect.Type, g protoreflect.FieldDescriptor) {
	wrong := func() {
		c.findings = append(c.findings, fmt.Sprintf("%s is %s, and the dev cluster's %s", name, t, g.Kind()))
	}
	switch {
	case g.IsMap() != (t.Kind() == reflect.Map), g.IsList() != (t.Kind() == reflect.Slice && t.Elem().Kind() != reflect.Uint8):
		wrong()
		return
	case g.IsMap():
		t, g = t.Elem(), g.MapValue()
	case g.IsList():
		t = t.Elem()
	}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	kinds := map[reflect.Kind][]protoreflect.Kind{
		reflect.Bool: {protoreflect.BoolKind}, reflect.String: {protoreflect.StringKind}, reflect.Slice: {protoreflect.BytesKind},
		reflect.Int32: {protoreflect.Int32Kind, protoreflect.EnumKind}, reflect.Int64: {protoreflect.Int64Kind},
		reflect.Uint64: {protoreflect.Uint64Kind, protoreflect.Uint32Kind}, reflect.Struct: {protoreflect.MessageKind},
	}
	for _, kind := range kinds[t.Kind()] {
		if kind == g.Kind() {
			if t.Kind() == reflect.Struct {
				c.pair(t, g.Message())
			}
			return
		}
	}
	wrong()
}

// messageTypes finds every exported struct of the rooms' packages that has a field with
// a number, as "package.Type".
func messageTypes(t *testing.T) (names []string) {
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			if s, ok := spec.Type.(*ast.StructType); ok && spec.Name.IsExported() {
				for _, f := range s.Fields.List {
					if f.Tag != nil && strings.Contains(f.Tag.Value, "wire:") {
						names = append(names, file.Name.Name+"."+spec.Name.Name)
						break
					}
				}
			}
			return false
		})
		return nil
	})
	if err != nil || len(names) < 70 {
		t.Fatalf("found %d messages: %v", len(names), err)
	}
	return names
}

// Every message of the client has one of the dev cluster's to be compared with, field
// by field: number, type, and how often it comes. Who adds a message adds it to pairs.
func TestEveryMessageHasAPair(t *testing.T) {
	c := &checker{met: map[string]bool{}}
	for _, p := range pairs() {
		c.pair(reflect.TypeOf(p.ours).Elem(), p.theirs.ProtoReflect().Descriptor())
	}
	for _, finding := range c.findings {
		t.Error(finding)
	}
	for _, name := range messageTypes(t) {
		if !c.met[name] {
			t.Errorf("%s has no pair: see pairs", name)
		}
	}
}
