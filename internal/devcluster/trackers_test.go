package devcluster

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	pb "github.com/seed-087d674e/tsh/internal/devcluster/clusterpb"
)

// sessions are the trackers that a user is shown.
func (f *fixture) sessions(l *login) []*pb.SessionTracker {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), 20*time.Second)
	defer cancel()
	stream, err := f.auth(l).NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, "/"+authName+"/GetActiveSessionTrackers")
	if err == nil {
		err = stream.SendMsg(new(pb.Empty))
	}
	if err == nil {
		err = stream.CloseSend()
	}
	if err != nil {
		f.t.Fatal(err)
	}
	var all []*pb.SessionTracker
	for {
		tracker := new(pb.SessionTracker)
		err := stream.RecvMsg(tracker)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			f.t.Fatal(err)
		}
		all = append(all, tracker)
	}
}

// A session with a terminal is tracked as long as it goes on, for those who are in it and
// those who may list sessions.
func TestTrackers(t *testing.T) {
	if !ptySupported {
		t.Skip("no terminals here")
	}
	f := startCluster(t, func(cfg *Config) { cfg.SecondFactor = factorOff })
	alice := f.login(nil)
	for name, role := range map[string]string{"bob": "access", "olga": "auditor"} {
		if _, err := f.AddUser(UserSpec{Name: name, Password: alicePassword, Roles: []string{role}, Logins: []string{"root"}}); err != nil {
			t.Fatal(err)
		}
	}
	as := func(name string) *login { return f.login(func(m map[string]any) { m["user"] = name }) }
	if all := f.sessions(alice); len(all) != 0 {
		t.Errorf("before: %v", all)
	}
	client, err := f.ssh(alice, f.transport(alice), "node-1", "root")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	s, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.RequestPty("xterm", 24, 80, nil); err != nil {
		t.Fatal(err)
	}
	in, err := s.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start("echo ready; read line"); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || !strings.Contains(line, "ready") {
		t.Fatalf("%q, %v", line, err)
	}
	for _, l := range []*login{alice, as("olga")} {
		all := f.sessions(l)
		if len(all) != 1 || all[0].Spec.Kind != "ssh" || all[0].Spec.State != stateRunning || all[0].Spec.Hostname != "node-1" ||
			all[0].Spec.Login != "root" || all[0].Spec.Participants[0].User != "alice" || all[0].Header.Metadata.Name != all[0].Spec.SessionId {
			t.Errorf("%v", all)
		}
	}
	if all := f.sessions(as("bob")); len(all) != 0 {
		t.Errorf("another user is shown %v", all)
	}
	if _, err := io.WriteString(in, "\n"); err != nil {
		t.Fatal(err)
	}
	if err := s.Wait(); err != nil {
		t.Fatal(err)
	}
	_ = client.Close()
	late := time.After(20 * time.Second)
	for len(f.sessions(alice)) > 0 {
		select {
		case <-late:
			t.Fatal("a session that is over is listed")
		default:
			pause()
		}
	}
}

// The leaf clusters of a 14.x cluster are listed by HTTP, on connections that negotiate
// nothing; the connections of today are as they were.
func TestRemoteClusters14(t *testing.T) {
	f := start14(t, func(cfg *Config) { cfg.Leaf, cfg.SecondFactor, cfg.SeparatePorts = "leaf.example", factorOff, false })
	key := newRSA(t)
	_, body := f.do("POST", "/webapi/mfa/login/finish", body14(t, key, func(map[string]any) {}))
	var answer loginResponse14
	if err := json.Unmarshal(body, &answer); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	hosts := x509.NewCertPool()
	hosts.AppendCertsFromPEM(answer.HostSigners[0].TLSCerts[0])
	config := &tls.Config{RootCAs: hosts, ServerName: encodeCluster(f.Name()), Time: f.clock.Now,
		Certificates: []tls.Certificate{{Certificate: [][]byte{parseCert(t, answer.TLSCert).Raw}, PrivateKey: key}}}
	for proto, want := range map[string]string{alpnHTTP1: "", alpnH2: alpnH2} {
		config.NextProtos = []string{alpnAuth + encodeCluster(f.Name()), proto}
		conn, err := tls.Dial("tcp", f.Addr(), config)
		if err != nil {
			t.Fatalf("%s: %v", proto, err)
		}
		defer conn.Close()
		if got := conn.ConnectionState().NegotiatedProtocol; got != want {
			t.Errorf("%s: negotiated %q", proto, got)
		}
		if proto != alpnHTTP1 {
			continue
		}
		req, err := http.NewRequest(http.MethodGet, "https://x/v2/remoteclusters", nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := req.Write(conn); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), req)
		if err != nil {
			t.Fatal(err)
		}
		var list []struct {
			Kind     string
			Metadata struct{ Name string }
			Status   struct{ Connection string }
		}
		if err := json.NewDecoder(resp.Body).Decode(&list); err != nil || len(list) != 1 || list[0].Kind != "remote_cluster" ||
			list[0].Metadata.Name != "leaf.example" || list[0].Status.Connection != "online" {
			t.Errorf("%+v, %v", list, err)
		}
	}
}
