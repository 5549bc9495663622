package sshagent

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/seed-087d674e/tsh/internal/text"
)

const (
	maxRequest = 256 << 10
	// constraintProvider names the library that signs with a key of a FIDO device
	// (OpenSSH's PROTOCOL.u2f).
	constraintProvider = "sk-provider@openssh.com"
)

// Connection is a connection to an agent that programs elsewhere are served with.
type Connection struct{ conn connection }

// Connect is Dial for as long as the caller likes: limit is for the connecting alone.
// A path other than "" is used in place of SSH_AUTH_SOCK.
func Connect(path string, limit time.Duration) (*Connection, error) {
	deadline := time.Now().Add(limit)
	if path == "" {
		var err error
		if path, err = address(); err != nil {
			return nil, err
		}
	} else if runtime.GOOS != "windows" && !filepath.IsAbs(path) {
		return nil, fmt.Errorf("the ssh-agent at %s cannot be used: an absolute path is needed", text.Line(path))
	}
	conn, err := within(limit, func() (connection, error) { return open(path, deadline) })
	if err != nil {
		if os.IsTimeout(err) {
			err = os.ErrDeadlineExceeded
		}
		return nil, fmt.Errorf("the ssh-agent at %s cannot be used: %s", text.Line(path), text.Line(reason(err).Error()))
	}
	return &Connection{conn}, nil
}

// Close ends the connection.
func (c *Connection) Close() error { return c.conn.Close() }

// Relay passes the requests of peer on and the agent's answers back, until either side
// ends, breaks the protocol or ctx ends; then the connection is closed. What a program
// elsewhere must not do is refused here, whatever the agent would say: load libraries,
// for PKCS#11 or for a key of a FIDO device that is added (CVE-2023-38408; OpenSSH's agent
// refuses both on bound connections only), and use extensions. Among them is session-bind: a binding
// made behind us, without ours, would show the agent a shorter way than it is, and
// OpenSSH's agent signs with keys for certain destinations on bound connections only.
func (c *Connection) Relay(ctx context.Context, peer io.ReadWriter) error {
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	return answerAll(peer, func(request []byte) ([]byte, error) {
		switch kind := request[0]; {
		case kind == askCard, kind == askCardGone, kind == askCardWith, kind == askExtension,
			kind == askAdding && bytes.Contains(request, []byte(constraintProvider)):
			return []byte{replyFailure}, nil
		}
		if err := writeFrame(c.conn, request); err != nil {
			return nil, err
		}
		return readFrame(c.conn, maxReply)
	})
}

// Serve answers the requests of peer as an agent that has one key and can do nothing
// but list it and sign with it, until peer ends or breaks the protocol.
func Serve(peer io.ReadWriter, key ssh.Signer, comment string) error {
	return answerAll(peer, func(request []byte) ([]byte, error) { return answerAs(key, comment, request), nil })
}

func answerAs(key ssh.Signer, comment string, request []byte) []byte {
	blob := key.PublicKey().Marshal()
	switch request[0] {
	case askKeys:
		if len(request) > 1 {
			break
		}
		return ssh.Marshal(struct {
			N             uint32 `sshtype:"12"`
			Blob, Comment string
		}{1, string(blob), comment})
	case askSignature:
		var wanted struct {
			Blob, Data []byte
			Flags      uint32
		}
		if ssh.Unmarshal(request[1:], &wanted) != nil || !bytes.Equal(wanted.Blob, blob) {
			break
		}
		if sig, err := sign(key, wanted.Data, wanted.Flags); err == nil {
			return ssh.Marshal(struct {
				Signature []byte `sshtype:"14"`
			}{ssh.Marshal(sig)})
		}
	}
	return []byte{replyFailure}
}

// sign signs with the algorithm that flags ask for, which matters to RSA keys.
func sign(key ssh.Signer, data []byte, flags uint32) (*ssh.Signature, error) {
	const sha256, sha512 = 2, 4
	multi, ok := key.(ssh.MultiAlgorithmSigner)
	if ok && slices.Contains(multi.Algorithms(), ssh.KeyAlgoRSASHA512) {
		switch {
		case flags&sha512 != 0:
			return multi.SignWithAlgorithm(rand.Reader, data, ssh.KeyAlgoRSASHA512)
		case flags&sha256 != 0:
			return multi.SignWithAlgorithm(rand.Reader, data, ssh.KeyAlgoRSASHA256)
		}
		return nil, fmt.Errorf("no signature with SHA-1") // case S25
	}
	return key.Sign(rand.Reader, data)
}

// answerAll reads requests one by one and writes what answer makes of each. The error is
// nil when peer has ended between two requests.
func answerAll(peer io.ReadWriter, answer func([]byte) ([]byte, error)) error {
	for {
		request, err := readFrame(peer, maxRequest)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		reply, err := answer(request)
		if err != nil {
			return err
		}
		if err := writeFrame(peer, reply); err != nil {
			return err
		}
	}
}

// readFrame reads one message; io.EOF is an end before it.
func readFrame(r io.Reader, most uint32) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(length[:])
	if size == 0 || size > most {
		return nil, fmt.Errorf("a message of %d bytes, of 1 to %d", size, most)
	}
	// What is announced is allocated as it comes.
	var message bytes.Buffer
	if _, err := io.CopyN(&message, r, int64(size)); err != nil {
		return nil, io.ErrUnexpectedEOF
	}
	return message.Bytes(), nil
}

func writeFrame(w io.Writer, message []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(message))), message...))
	return err
}
