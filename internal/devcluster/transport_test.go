package devcluster

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/seed-087d674e/tsh/internal/devcluster/clusterpb"
)

// sshStream opens a ProxySSH stream and sends the messages.
func sshStream(t *testing.T, cc *grpc.ClientConn, messages ...*pb.ProxySSHRequest) grpc.ClientStream {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	stream, err := cc.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/"+transportName+"/ProxySSH")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range messages {
		if err := stream.SendMsg(m); err != nil {
			t.Fatal(err)
		}
	}
	return stream
}

func target(hostPort, cluster string) *pb.ProxySSHRequest {
	return &pb.ProxySSHRequest{DialTarget: &pb.TargetHost{HostPort: hostPort, Cluster: cluster}}
}

func frame(payload string) *pb.ProxySSHRequest {
	return &pb.ProxySSHRequest{Frame: &pb.ProxySSHRequest_Ssh{Ssh: &pb.Frame{Payload: []byte(payload)}}}
}

// readAll returns the bytes of the node until the stream ends, and how.
func readAll(t *testing.T, stream grpc.ClientStream) (string, error) {
	t.Helper()
	first := new(pb.ProxySSHResponse)
	if err := stream.RecvMsg(first); err != nil {
		return "", err
	}
	if first.Details == nil || first.Frame != nil {
		t.Errorf("first answer %v", first)
	}
	var b strings.Builder
	for {
		resp := new(pb.ProxySSHResponse)
		if err := stream.RecvMsg(resp); err != nil {
			return b.String(), err
		}
		if len(resp.GetSsh().GetPayload()) > maxFrame {
			t.Errorf("frame of %d bytes", len(resp.GetSsh().GetPayload()))
		}
		b.Write(resp.GetSsh().GetPayload())
	}
}

func TestDialErrors(t *testing.T) {
	f := startCluster(t, func(c *Config) { c.Hostnames = []string{"twin", "twin", "single"} })
	cc := f.transport(f.login(nil))
	name := f.Name()
	tests := []struct {
		name  string
		first *pb.ProxySSHRequest
		code  codes.Code
		text  string
	}{
		{"no target", frame("SSH-2.0-x\r\n"), codes.InvalidArgument, "first frame must contain a dial target"},
		{"no port", target("single", name), codes.InvalidArgument, "dial target contains an invalid hostport"},
		{"empty", target("", name), codes.InvalidArgument, "dial target contains an invalid hostport"},
		{"no host", target(":0", name), codes.InvalidArgument, "dial target contains an invalid hostport"},
		{"unknown", target("nope:0", name), codes.Unavailable, "target host nope is offline or does not exist"},
		{"wrong port", target("single:2222", name), codes.Unavailable, "target host single is offline or does not exist"},
		{"unknown id", target("0d0f0d0f-0000-4000-8000-000000000000:0", name), codes.NotFound, "unable to locate node matching UUID-like target 0d0f0d0f-0000-4000-8000-000000000000"},
		{"unknown instance", target("1234-i-0abc:0", name), codes.NotFound, "unable to locate node matching UUID-like target 1234-i-0abc"},
		{"ambiguous", target("twin:0", name), codes.NotFound, "ambiguous host could match multiple nodes\n\terr-node-is-ambiguous"},
		{"other cluster", target("single:0", "leaf"), codes.NotFound, "looking up remote cluster \"leaf\"\n\tnot found"},
		{"no cluster", target("single:0", ""), codes.NotFound, "looking up remote cluster \"\"\n\tnot found"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := readAll(t, sshStream(t, cc, test.first))
			if st := status.Convert(err); st.Code() != test.code || st.Message() != test.text {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestTargetForms(t *testing.T) {
	f := startCluster(t, func(c *Config) { c.Nodes = 2 })
	cc := f.transport(f.login(nil))
	for _, hostPort := range []string{
		"node-2:0", "node-2:", "node-2:3022", f.nodes[1].id + ":0", f.nodes[1].id + ":9", "127.0.0.2:3022", "127.0.0.1:0", "localhost:0",
	} {
		stream := sshStream(t, cc, target(hostPort, f.Name()))
		first := new(pb.ProxySSHResponse)
		if err := stream.RecvMsg(first); err != nil || first.Details == nil {
			t.Errorf("%s: %v, %v", hostPort, first, err)
		}
	}
}

// Frames that follow the target at once wait for the node. The one that comes
// with the target is ignored, and so are empty and unknown ones.
func TestEarlyFrames(t *testing.T) {
	f := startCluster(t, nil)
	cc := f.transport(f.login(nil))
	first := target("node-1:0", f.Name())
	first.Frame = frame("not ssh at all").Frame
	agent := &pb.ProxySSHRequest{Frame: &pb.ProxySSHRequest_Agent{Agent: &pb.Frame{Payload: []byte("x")}}}
	stream := sshStream(t, cc, first, new(pb.ProxySSHRequest), frame(""), agent, frame("SSH"), frame("-2.0-x\r\n"), frame("garbage that is no packet!"))
	got, err := readAll(t, stream)
	if err != io.EOF || !strings.HasPrefix(got, "SSH-2.0-Teleport resume-v1 ") {
		t.Errorf("%q, %v", got, err)
	}
}

// A client that speaks something else loses the connection without a word.
func TestOnlySSHPasses(t *testing.T) {
	f := startCluster(t, nil)
	cc := f.transport(f.login(nil))
	for _, frames := range [][]string{{"GET / HTTP/1.1\r\n"}, {"SSH-", "1.99-x\r\n"}} {
		messages := []*pb.ProxySSHRequest{target("node-1:0", f.Name())}
		for _, text := range frames {
			messages = append(messages, frame(text))
		}
		if _, err := readAll(t, sshStream(t, cc, messages...)); err != io.EOF {
			t.Errorf("%q: %v", frames, err)
		}
	}
}

// The end of the client's sending ends nothing.
func TestHalfClose(t *testing.T) {
	f := startCluster(t, nil)
	cc := f.transport(f.login(nil))
	stream := sshStream(t, cc, target("node-1:0", f.Name()), frame("SSH-2.0-x\r\n"))
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	for _, want := range []bool{true, false, false} { // details, version, key exchange
		resp := new(pb.ProxySSHResponse)
		if err := stream.RecvMsg(resp); err != nil || (resp.Details != nil) != want {
			t.Fatalf("%v, %v", resp, err)
		}
	}
	ended := make(chan error, 1)
	go func() { ended <- stream.RecvMsg(new(pb.ProxySSHResponse)) }()
	select {
	case err := <-ended:
		t.Errorf("ended: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
}

func TestProxyClusterErrors(t *testing.T) {
	f := startCluster(t, nil)
	cc := f.transport(f.login(nil))
	open := func(messages ...*pb.ProxyClusterRequest) error {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		stream, err := cc.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/"+transportName+"/ProxyCluster")
		if err != nil {
			return err
		}
		for _, m := range messages {
			if err := stream.SendMsg(m); err != nil {
				return err
			}
		}
		return stream.RecvMsg(new(pb.ProxyClusterResponse))
	}
	if err := open(&pb.ProxyClusterRequest{Cluster: "leaf"}); status.Code(err) != codes.NotFound {
		t.Errorf("leaf: %v", err)
	}
	if err := open(&pb.ProxyClusterRequest{}, &pb.ProxyClusterRequest{}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("no frame: %v", err)
	}
}
