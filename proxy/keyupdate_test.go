package proxy

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"io"
	"net"
	"strings"
	"testing"

	"golang.org/x/crypto/chacha20poly1305"
)

// tls13Writer writes records of TLS 1.3 that crypto/tls would never write.
type tls13Writer struct {
	conn     net.Conn
	secret   []byte
	chacha   bool
	sequence uint64
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

func (w *tls13Writer) keyUpdate() error {
	err := w.handshake([]byte{24, 0, 0, 1, 0})
	w.secret, w.sequence = expand(w.secret, "traffic upd", len(w.secret)), 0
	return err
}

// case N11: a server that, once it is trusted, sends nothing but messages of
// the handshake. The connection is dropped.
func TestPostHandshakeFlood(t *testing.T) {
	ca := newAuthority(t, "web")
	for name, flood := range map[string]func(*tls13Writer) error{
		"KeyUpdate": (*tls13Writer).keyUpdate,
		"huge": func(w *tls13Writer) error {
			return w.handshake(append([]byte{4, 0xff, 0xff, 0xff}, make([]byte, 1000)...))
		},
	} {
		p := startPeer(t, func(conn net.Conn) {
			var log bytes.Buffer
			cfg := serverConfig(t, ca)
			cfg.MinVersion, cfg.SessionTicketsDisabled, cfg.KeyLogWriter = tls.VersionTLS13, true, &log
			secured := tls.Server(conn, cfg)
			if _, err := secured.Read(make([]byte, 4096)); err != nil {
				return
			}
			_, line, _ := strings.Cut(log.String(), "SERVER_TRAFFIC_SECRET_0 ")
			fields := strings.Fields(line)
			w := &tls13Writer{conn: conn, chacha: secured.ConnectionState().CipherSuite == tls.TLS_CHACHA20_POLY1305_SHA256}
			w.secret, _ = hex.DecodeString(fields[1])
			for range 100000 {
				if flood(w) != nil {
					return
				}
			}
			_, _ = io.Copy(io.Discard, conn)
		})
		// By hand: crypto/tls of Go 1.26 has a harmless race of its own where
		// such a server meets net/http, which reads and writes at once.
		conn, err := dialWeb(testContext(t), nil, webConfig{addr: p.addr, roots: ca.pool()})
		if err != nil {
			t.Fatal(err)
		}
		_, err = conn.Write([]byte("GET"))
		if err == nil {
			_, err = conn.Read(make([]byte, 1))
		}
		_ = conn.Close()
		if err == nil || !strings.Contains(err.Error(), "non-advancing") && !strings.Contains(err.Error(), "exceeds maximum") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
