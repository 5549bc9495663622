package testenv

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"strings"

	"golang.org/x/crypto/chacha20poly1305"
)

// TLSFloods names what FloodTLS can send without end.
func TLSFloods() []string {
	return []string{"KeyUpdate", "KeyUpdate that wants another", "tickets", "a message of 16 MiB"}
}

// FloodTLS is a TLS 1.3 server that, once it is trusted and has been spoken to, sends
// nothing but messages of the handshake: what TLSFloods names. It returns when the client
// has hung up, with an error if it got no answer to what it was asked.
func FloodTLS(conn net.Conn, cfg *tls.Config, what string) error {
	var log bytes.Buffer
	cfg = cfg.Clone()
	cfg.MinVersion, cfg.SessionTicketsDisabled, cfg.KeyLogWriter = tls.VersionTLS13, true, &log
	secured := tls.Server(conn, cfg)
	if _, err := secured.Read(make([]byte, 4096)); err != nil {
		return err
	}
	_, line, _ := strings.Cut(log.String(), "SERVER_TRAFFIC_SECRET_0 ")
	fields := strings.Fields(line)
	if len(fields) < 2 {
		return errors.New("no secret in the key log")
	}
	secret, err := hex.DecodeString(fields[1])
	if err != nil {
		return err
	}
	w := &tls13Writer{conn: conn, secret: secret, chacha: secured.ConnectionState().CipherSuite == tls.TLS_CHACHA20_POLY1305_SHA256}
	for range 100000 {
		if w.flood(what) != nil {
			return nil
		}
	}
	_, _ = io.Copy(io.Discard, conn)
	return nil
}

// tls13Writer writes records of TLS 1.3 that crypto/tls would never write.
type tls13Writer struct {
	conn     net.Conn
	secret   []byte
	chacha   bool
	sequence uint64
}

func (w *tls13Writer) flood(what string) error {
	switch what {
	case "KeyUpdate":
		return w.keyUpdate(0)
	case "KeyUpdate that wants another":
		return w.keyUpdate(1)
	case "tickets":
		return w.handshake([]byte{4, 0, 0, 14, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 'x', 0, 0})
	}
	return w.handshake(append([]byte{4, 0xff, 0xff, 0xff}, make([]byte, 1000)...))
}

// expand is HKDF-Expand-Label without a context (RFC 8446, section 7.1).
func expand(secret []byte, label string, size int) []byte {
	label = "tls13 " + label
	info := binary.BigEndian.AppendUint16(nil, uint16(size))
	info = append(append(info, byte(len(label))), label...)
	out, err := hkdf.Expand(sha256.New, secret, string(append(info, 0)), size)
	if err != nil {
		panic(err)
	}
	return out
}

func (w *tls13Writer) aead() cipher.AEAD {
	if w.chacha {
		a, _ := chacha20poly1305.New(expand(w.secret, "key", 32))
		return a
	}
	block, _ := aes.NewCipher(expand(w.secret, "key", 16))
	a, _ := cipher.NewGCM(block)
	return a
}

// handshake writes part of a handshake message in a record of its own.
func (w *tls13Writer) handshake(message []byte) error {
	nonce := expand(w.secret, "iv", 12)
	for i := range 8 {
		nonce[4+i] ^= byte(w.sequence >> (56 - 8*i))
	}
	w.sequence++
	header := binary.BigEndian.AppendUint16([]byte{23, 3, 3}, uint16(len(message)+1+16))
	_, err := w.conn.Write(w.aead().Seal(header, nonce, append(bytes.Clone(message), 22), header))
	return err
}

func (w *tls13Writer) keyUpdate(request byte) error {
	err := w.handshake([]byte{24, 0, 0, 1, request})
	w.secret, w.sequence = expand(w.secret, "traffic upd", len(w.secret)), 0
	return err
}
