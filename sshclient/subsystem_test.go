//go:build linux || darwin

package sshclient_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/seed-087d674e/tsh/sshclient"
	"github.com/seed-087d674e/tsh/sshclient/sftp"
	"github.com/seed-087d674e/tsh/sshclient/transfer"
)

// subsystem returns a session that starts a subsystem, or refuses it with a few words.
func subsystem(refusal string, run func(ssh.Channel)) func(ssh.Channel, <-chan *ssh.Request) {
	return func(ch ssh.Channel, reqs <-chan *ssh.Request) {
		r, ok := <-reqs
		if !ok {
			return
		}
		if r.Type != "subsystem" || refusal != "" {
			io.WriteString(ch.Stderr(), refusal)
			r.Reply(false, nil)
		} else {
			r.Reply(true, nil)
			go ssh.DiscardRequests(reqs)
			run(ch)
		}
		ch.Close()
	}
}

// A subsystem is a stream; what the node says at its end is the error.
func TestSubsystemStream(t *testing.T) {
	c := newCluster(t)
	client := connect(t, c, &node{session: subsystem("", func(ch ssh.Channel) {
		io.CopyN(ch, ch, 5)
		io.WriteString(ch.Stderr(), "disk \x1b[31mon fire\r\n")
	})})
	s, err := client.Subsystem(deadline(t), "echo")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := io.WriteString(s, "hello"); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(s)
	if string(got) != "hello" || err == nil || !strings.Contains(err.Error(), `disk \x1b[31mon fire`) { // case X04
		t.Errorf("%q, %v", got, err)
	}
	wantOp(t, err, sshclient.OpSession)
}

// A refusal says what the node said; a node that does not answer is given up, and so is
// a wait that nobody wants any more.
func TestSubsystemRefused(t *testing.T) {
	c := newCluster(t)
	client := connect(t, c, &node{session: subsystem("file copying is not permitted\r\n", nil)})
	_, err := client.Subsystem(deadline(t), "sftp")
	if refused := as[*sshclient.RefusedError](t, err); refused.Request != "subsystem" || refused.Message != "file copying is not permitted" {
		t.Errorf("%+v", refused)
	}
	synctest.Test(t, func(t *testing.T) {
		never := make(chan struct{})
		defer close(never)
		client := connect(t, c, &node{session: func(ssh.Channel, <-chan *ssh.Request) { <-never }})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := client.Subsystem(ctx, "sftp"); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if _, err := client.Subsystem(t.Context(), "sftp"); !errors.Is(err, sshclient.ErrNoAnswer) {
			t.Error(err)
		}
	})
}

// Files go to OpenSSH's server and come back.
func TestOpenSSHFiles(t *testing.T) {
	d, cfg, target := startSSHD(t)
	client, err := sshclient.Dial(deadline(t), d, target, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	stream, err := client.Subsystem(deadline(t), "sftp")
	if err != nil {
		t.Fatal(err)
	}
	files, err := sftp.New(deadline(t), stream, sftp.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	if chunk := files.Chunk(deadline(t)); chunk <= 32<<10 {
		t.Errorf("pieces of %d bytes: what the server says it takes is not made use of", chunk)
	}
	src, there, back := t.TempDir(), t.TempDir(), t.TempDir()
	want := make(map[string]string)
	for name, size := range map[string]int64{"empty": 0, "small": 10, "d/large": 9<<20 + 1, "d/e/other": 70_000} {
		data, _ := io.ReadAll(&pattern{left: size})
		if err := errors.Join(os.MkdirAll(filepath.Dir(filepath.Join(src, "t", name)), 0o755), os.WriteFile(filepath.Join(src, "t", name), data, 0o640)); err != nil {
			t.Fatal(err)
		}
		want[name] = string(data)
	}
	os.Symlink(".", filepath.Join(src, "t", "loop"))
	node := transfer.Place{Client: files}
	for _, step := range [][2]transfer.Source{
		{{Path: filepath.Join(src, "t")}, {Place: node, Path: there}},
		{{Place: node, Path: filepath.Join(there, "t")}, {Path: back}},
		{{Place: node, Path: filepath.Join(src, "t")}, {Path: filepath.Join(back, "loop")}},
	} {
		failed := make(chan string, 10)
		o := transfer.Options{Recursive: true, Times: true, Failed: func(path string, err error) { failed <- path + " " + err.Error() }}
		sum, err := transfer.Copy(deadline(t), step[:1], step[1], o)
		close(failed)
		for f := range failed {
			if !strings.Contains(f, "leads back") {
				t.Error(f)
			}
		}
		if err != nil || sum.Files != int64(len(want)) {
			t.Errorf("%+v, %v", sum, err)
		}
	}
	for name, data := range want {
		for _, at := range []string{filepath.Join(back, "t", name), filepath.Join(back, "loop", name)} {
			got, err := os.ReadFile(at)
			fi, err2 := os.Stat(at)
			if err != nil || err2 != nil || string(got) != data || fi.Mode() != 0o640 {
				t.Errorf("%s: %d bytes, %v", at, len(got), errors.Join(err, err2))
			}
		}
	}
	if err := files.Rename(deadline(t), filepath.Join(there, "t", "small"), filepath.Join(there, "t", "empty")); err != nil {
		t.Errorf("rename over a file: %v", err)
	}
}
