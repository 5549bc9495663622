package login

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// onceConn is a connection whose peer has said all it will say.
type onceConn struct {
	net.Conn
	in  *bytes.Reader
	out bytes.Buffer
}

func (c *onceConn) Read(p []byte) (int, error)  { return c.in.Read(p) }
func (c *onceConn) Write(p []byte) (int, error) { return c.out.Write(p) }
func (c *onceConn) SetDeadline(time.Time) error { return nil }
func (c *onceConn) Close() error                { return nil }

// answerTo is the answer to one request; nil if there is none.
func answerTo(t *testing.T, c *callback, request []byte) *http.Response {
	t.Helper()
	conn := &onceConn{in: bytes.NewReader(request)}
	(&answerer{handle: c.handle}).answer(conn)
	if conn.out.Len() == 0 {
		return nil
	}
	answer, err := http.ReadResponse(bufio.NewReader(&conn.out), nil)
	must(t, err)
	return answer
}

// FuzzCallback sends anything to the listener: it never ends the login, is never
// part of the answer, and is answered with a status or not at all.
func FuzzCallback(f *testing.F) {
	const host = "127.0.0.1:4242"
	for _, line := range []string{
		"GET /callback?response={} HTTP/1.1", "GET /callback?err=x&secret_key=" + strings.Repeat("0", 64) + " HTTP/1.1", "OPTIONS /callback HTTP/1.1", "GET / HTTP/1.0",
		"GET http://evil/callback HTTP/1.1", "PRI * HTTP/2.0", "GET /callback?response=%7B%22ciphertext%22%3A%22AAAA%22%2C%22nonce%22%3A%22AAAAAAAAAAAAAAAA%22%7D HTTP/1.1",
	} {
		f.Add([]byte(line + "\r\nHost: " + host + "\r\n\r\n"))
	}
	f.Add([]byte("POST /callback HTTP/1.1\r\nHost: " + host + "\r\nContent-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nerr=x\r\n0\r\n\r\n"))
	f.Add([]byte("POST /callback HTTP/1.1\r\nHost: " + host + "\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 104857600\r\n\r\nerr=x"))
	f.Fuzz(func(t *testing.T, request []byte) {
		c := newCallback("http://"+host, []string{host}, pages{"https://proxy/ok", "https://proxy/no"})
		c.start = startAt("https://idp.example.com/")
		c.judge = func([]byte) error { t.Error("an answer that nobody has sealed was opened"); return nil }
		answer := answerTo(t, c, request)
		if answer == nil {
			return
		}
		body, err := io.ReadAll(answer.Body)
		must(t, err)
		if c.ended || c.used || answer.StatusCode == 302 || answer.Header.Get("Access-Control-Allow-Origin") != "" || answer.Header.Get("Connection") != "" && !answer.Close {
			t.Errorf("%s %v", answer.Status, answer.Header)
		}
		if bytes.Contains(body, []byte(hex.EncodeToString(c.secret))) || answer.StatusCode >= 500 {
			t.Errorf("%s %s", answer.Status, body)
		}
	})
}
