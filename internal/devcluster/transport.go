package devcluster

import (
	"bytes"
	"context"
	"io"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/seed-087d674e/tsh/internal/devcluster/clusterpb"
)

const (
	transportName = "teleport.transport.v1.TransportService"
	// maxFrame is the most that one frame carries.
	maxFrame = 16 << 10
	// firstBytesTimeout is how long a client may take to begin with SSH.
	firstBytesTimeout = 10 * time.Second
	// sshPrefix is how every SSH connection begins.
	sshPrefix = "SSH-2.0"
)

func (c *Cluster) transportService() *grpc.ServiceDesc {
	return &grpc.ServiceDesc{
		ServiceName: transportName,
		HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{
			unary(transportName, "GetClusterDetails", func(context.Context, *pb.Empty) (*pb.GetClusterDetailsResponse, error) {
				return &pb.GetClusterDetailsResponse{Details: &pb.ClusterDetails{}}, nil
			}),
		},
		Streams: []grpc.StreamDesc{
			{StreamName: "ProxySSH", ServerStreams: true, ClientStreams: true, Handler: func(_ any, s grpc.ServerStream) error { return c.proxySSH(s) }},
			{StreamName: "ProxyCluster", ServerStreams: true, ClientStreams: true, Handler: func(_ any, s grpc.ServerStream) error { return c.proxyCluster(s) }},
		},
	}
}

// proxySSH connects a client to a node: details first, then frames both ways
// until the node's side ends, which ends the call with OK.
func (c *Cluster) proxySSH(stream grpc.ServerStream) error {
	first := new(pb.ProxySSHRequest)
	if err := stream.RecvMsg(first); err != nil {
		return err
	}
	if first.DialTarget == nil {
		return status.Error(codes.InvalidArgument, "first frame must contain a dial target")
	}
	cluster, n, err := c.routedTarget(first.DialTarget)
	if err != nil {
		return err
	}
	ctx := stream.Context()
	if err := cluster.mayDial(ctx, n); err != nil {
		return err
	}
	c.dials.Add(1)
	client, err := cluster.reachNode(ctx, n)
	if err != nil {
		return status.Errorf(codes.Unavailable, "failed to dial target host\n\t%v", err)
	}
	defer client.Close()
	if err := stream.SendMsg(&pb.ProxySSHResponse{Details: &pb.ClusterDetails{}}); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = client.Close() })
	defer stop()
	c.goFunc(func() { forwardToNode(stream, client) })
	err = sendFrames(client, func(payload []byte) error {
		return stream.SendMsg(&pb.ProxySSHResponse{Frame: &pb.ProxySSHResponse_Ssh{Ssh: &pb.Frame{Payload: payload}}})
	})
	if ctx.Err() != nil {
		return status.FromContextError(ctx.Err()).Err()
	}
	return err
}

// Transports is how many connections to nodes there were, of this cluster and through it.
func (c *Cluster) Transports() int { return int(c.dials.Load()) }

// reachNode connects to the SSH server of a node.
func (c *Cluster) reachNode(ctx context.Context, n *node) (net.Conn, error) {
	if n.sshd {
		return c.dialSSHD(n)
	}
	client, server := newPipe(callerAddr(ctx), n.tcpAddr())
	c.goFunc(func() { c.serveNode(n, server) })
	return client, nil
}

// forwardToNode copies the client's frames to the node. A client that begins
// with something else than SSH, or with nothing, loses the connection; one
// that only says that it sends no more keeps it.
func forwardToNode(stream grpc.ServerStream, conn net.Conn) {
	idle := time.AfterFunc(firstBytesTimeout, func() { _ = conn.Close() })
	defer idle.Stop()
	seen := 0
	for {
		req := new(pb.ProxySSHRequest)
		if err := stream.RecvMsg(req); err != nil {
			if err == io.EOF && seen == len(sshPrefix) {
				return
			}
			_ = conn.Close()
			return
		}
		payload := req.GetSsh().GetPayload()
		if seen < len(sshPrefix) && len(payload) > 0 {
			idle.Stop()
			n := min(len(payload), len(sshPrefix)-seen)
			if !bytes.Equal(payload[:n], []byte(sshPrefix)[seen:seen+n]) {
				_ = conn.Close()
				return
			}
			seen += n
		}
		if _, err := conn.Write(payload); err != nil {
			return
		}
	}
}

// sendFrames sends what conn delivers, until its end (nil) or the stream's.
func sendFrames(conn net.Conn, send func([]byte) error) error {
	for {
		buf := make([]byte, maxFrame) // the stream may keep it
		n, err := conn.Read(buf)
		if n > 0 {
			if err := send(buf[:n]); err != nil {
				return err
			}
		}
		if err != nil {
			return nil
		}
	}
}

// proxyCluster connects a client to the auth server, where TLS begins anew.
func (c *Cluster) proxyCluster(stream grpc.ServerStream) error {
	first := new(pb.ProxyClusterRequest)
	if err := stream.RecvMsg(first); err != nil {
		return err
	}
	cluster := c.member(or(first.Cluster, c.settings.Name))
	if cluster == nil {
		return unknownCluster(first.Cluster)
	}
	ctx := stream.Context()
	client, server := newPipe(callerAddr(ctx), c.listener.Addr())
	defer client.Close()
	cluster.goFunc(func() { cluster.serveTLS(server, true) })
	stop := context.AfterFunc(ctx, func() { _ = client.Close() })
	defer stop()
	bad := make(chan error, 1)
	c.goFunc(func() {
		if err := forwardToAuth(stream, client, first.Frame); err != nil {
			bad <- err
			_ = client.Close()
		}
	})
	err := sendFrames(client, func(payload []byte) error {
		return stream.SendMsg(&pb.ProxyClusterResponse{Frame: &pb.Frame{Payload: payload}})
	})
	select {
	case err := <-bad:
		return err
	default:
	}
	if ctx.Err() != nil {
		return status.FromContextError(ctx.Err()).Err()
	}
	return err
}

// forwardToAuth copies the client's frames to the auth server. It returns only
// what the client is to be told; its end alone ends nothing.
func forwardToAuth(stream grpc.ServerStream, conn net.Conn, frame *pb.Frame) error {
	for {
		if len(frame.GetPayload()) > 0 {
			if _, err := conn.Write(frame.Payload); err != nil {
				return nil
			}
		}
		req := new(pb.ProxyClusterRequest)
		if err := stream.RecvMsg(req); err != nil {
			return nil
		}
		if req.Frame == nil {
			return status.Error(codes.InvalidArgument, "frame is missing from the request")
		}
		frame = req.Frame
	}
}

// pipeConn is one end of a connection within the process that knows the
// addresses it stands for.
type pipeConn struct {
	net.Conn
	local, remote net.Addr
}

func (p *pipeConn) LocalAddr() net.Addr  { return p.local }
func (p *pipeConn) RemoteAddr() net.Addr { return p.remote }

// newPipe connects the proxy's end with a server's end; the server sees the
// client's address.
func newPipe(clientAddr, serverAddr net.Addr) (client, server net.Conn) {
	a, b := net.Pipe()
	return &pipeConn{a, clientAddr, serverAddr}, &pipeConn{b, serverAddr, clientAddr}
}

func unknownCluster(name string) error {
	return status.Errorf(codes.NotFound, "looking up remote cluster %q\n\tnot found", name)
}
