package proxy

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// hostile is a web listener that is up to no good; it answers every request
// with what misbehave writes, and then closes the connection.
func hostile(t *testing.T, ca *authority, misbehave func(w io.Writer)) *peer {
	return startTLS(t, serverConfig(t, ca), func(conn *tls.Conn) {
		if _, err := conn.Read(make([]byte, 4096)); err == nil {
			misbehave(conn)
		}
	})
}

func finishOn(t *testing.T, p *peer, ca *authority) error {
	t.Helper()
	_, err := clientFor(t, p.addr, ca.pool()).LoginFinish(testContext(t), FinishRequest{User: "u", Password: canary, TOTPCode: canary})
	return err
}

// case N02
func TestRedirectsAreNotFollowed(t *testing.T) {
	ca := newAuthority(t, "web")
	var elsewhere *peer
	for _, status := range []int{301, 302, 303, 307, 308} {
		for _, target := range []string{"https://evil.example/\x1b[2J", "http://", "/webapi/other", ""} {
			elsewhere = pingServer(t, serverConfig(t, ca), "evil")
			location := target
			if target == "http://" {
				location = "http://" + elsewhere.addr + "/webapi/ping"
			}
			var posts atomic.Int32
			p := startWeb(t, serverConfig(t, ca), func(r *request) []byte {
				if strings.Contains(r.body, canary) {
					posts.Add(1)
				}
				return reply(status, "", "Location: "+strings.ReplaceAll(location, "\x1b", "%1b"))
			})
			_, begin := clientFor(t, p.addr, ca.pool()).LoginBegin(testContext(t), BeginRequest{User: "u", Password: canary})
			var refused *Error
			for call, err := range map[string]error{"finish": finishOn(t, p, ca), "begin": begin} {
				if !errors.As(err, &refused) || refused.Status != status || !strings.Contains(err.Error(), "redirects to") ||
					!strings.Contains(err.Error(), strings.TrimSuffix(location, "\x1b[2J")) {
					t.Errorf("%s, %d to %q: %v", call, status, location, err)
				}
			}
			if n := posts.Load(); n != 2 {
				t.Errorf("%d to %q: %d posts of credentials, want one of each", status, location, n)
			}
			var err error
			if _, err = clientFor(t, p.addr, ca.pool()).Ping(testContext(t), ""); !errors.As(err, &refused) {
				t.Errorf("ping, %d to %q: %v", status, location, err)
			}
			if n := elsewhere.conns.Load(); n != 0 {
				t.Errorf("%d to %q: %d connections to it", status, location, n)
			}
		}
	}
}

// case N04, case N20: what counts is the size after decompression.
func TestEndlessAnswers(t *testing.T) {
	ca := newAuthority(t, "web")
	space := bytes.Repeat([]byte(" "), 64<<10)
	endless := func(w io.Writer) {
		for {
			if _, err := fmt.Fprintf(w, "%x\r\n%s\r\n", len(space), space); err != nil {
				return
			}
		}
	}
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	for range 64 << 20 / len(space) {
		_, _ = z.Write(space)
	}
	_ = z.Close()
	var deflated bytes.Buffer
	f, _ := flate.NewWriter(&deflated, flate.BestCompression)
	for range 64 << 20 / len(space) {
		_, _ = f.Write(space)
	}
	_ = f.Close()
	for name, misbehave := range map[string]func(io.Writer){
		"chunked": func(w io.Writer) {
			_, _ = io.WriteString(w, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
			endless(w)
		},
		"error": func(w io.Writer) {
			_, _ = io.WriteString(w, "HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n")
			endless(w)
		},
		"announced": func(w io.Writer) {
			_, _ = io.WriteString(w, "HTTP/1.1 200 OK\r\nContent-Length: 2147483648\r\n\r\n")
			for {
				if _, err := w.Write(space); err != nil {
					return
				}
			}
		},
		// Only gzip was asked for, and once: other packings stay as they are, and small.
		"deflate": func(w io.Writer) {
			_, _ = fmt.Fprintf(w, "HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\nContent-Length: %d\r\n\r\n", deflated.Len())
			_, _ = w.Write(deflated.Bytes())
		},
		"gzip, twice": func(w io.Writer) {
			_, _ = fmt.Fprintf(w, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip, gzip\r\nContent-Length: %d\r\n\r\n", bomb.Len())
			_, _ = w.Write(bomb.Bytes())
		},
		"gzip": func(w io.Writer) {
			_, _ = fmt.Fprintf(w, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n", bomb.Len())
			_, _ = w.Write(bomb.Bytes())
		},
	} {
		var before, after runtime.MemStats
		p := hostile(t, ca, misbehave)
		runtime.ReadMemStats(&before)
		login, ping := "more than 1048576 bytes", "more than 1048576 bytes"
		switch name {
		case "error":
			login, ping = "HTTP status 403", "HTTP status 403"
		case "deflate", "gzip, twice":
			login, ping = "not UTF-8", "not UTF-8"
		}
		if err := finishOn(t, p, ca); err == nil || !strings.Contains(err.Error(), login) {
			t.Errorf("%s: login: %v", name, err)
		}
		if _, err := clientFor(t, p.addr, ca.pool()).Ping(testContext(t), ""); err == nil || !strings.Contains(err.Error(), ping) {
			t.Errorf("%s: ping: %v", name, err)
		}
		runtime.ReadMemStats(&after)
		// Reading 1 MiB into a growing buffer allocates five times that.
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 32<<20 {
			t.Errorf("%s: allocated %d MiB", name, grown>>20)
		}
	}
}

// case N05: a byte a second, in the headers or in the body, or nothing at all.
func TestSlowAnswers(t *testing.T) {
	for name, text := range map[string]string{
		"silence": "",
		"headers": "HTTP/1.1 200 OK\r\nX-A: " + strings.Repeat("a", 1000),
		"body":    "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + strings.Repeat(" ", 1000),
	} {
		synctest.Test(t, func(t *testing.T) {
			ca := newAuthority(t, "web")
			cfg := serverConfig(t, ca)
			c := NewClient(Options{Addr: mustParse(t, "proxy.test:443"), RootCAs: ca.pool(), Dial: func(context.Context, string, string) (net.Conn, error) {
				near, far := net.Pipe()
				go func() {
					conn := tls.Server(far, cfg)
					_, _ = conn.Read(make([]byte, 4096))
					go func() { _, _ = io.Copy(io.Discard, conn) }() // a pipe has no buffer for the client's goodbye
					for i := range text {
						if _, err := io.WriteString(conn, text[i:i+1]); err != nil {
							return
						}
						<-time.After(time.Second)
					}
				}()
				return near, nil
			}})
			start := time.Now()
			_, err := c.Ping(context.Background(), "")
			if took := time.Since(start); took != callTimeout || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: after %v: %v", name, took, err)
			}
			ctx, interrupt := context.WithCancel(context.Background())
			time.AfterFunc(2*time.Second, interrupt)
			start = time.Now()
			_, err = c.Ping(ctx, "")
			if took := time.Since(start); took != 2*time.Second || !errors.Is(err, context.Canceled) {
				t.Errorf("%s, interrupted: after %v: %v", name, took, err)
			}
			c.Close()
			<-time.After(time.Second) // the peers notice with their next byte
			synctest.Wait()
		})
	}
}

// case N16, case N03: something else listens there.
func TestNotAProxy(t *testing.T) {
	ca := newAuthority(t, "web")
	for name, answer := range map[string][]byte{
		"portal":      []byte("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 32\r\n\r\n<!DOCTYPE html><title>Hi</title>"),
		"bare page":   []byte("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n \n<html"),
		"error page":  []byte("HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<h1>no"),
		"other JSON":  reply(200, `{"status":"ok"}`),
		"empty":       reply(200, `{}`),
		"null answer": reply(200, `null`),
	} {
		p := startWeb(t, serverConfig(t, ca), func(*request) []byte { return answer })
		if _, err := clientFor(t, p.addr, ca.pool()).Ping(testContext(t), ""); !errors.Is(err, ErrNotTeleport) || len(err.Error()) > 200 {
			t.Errorf("%s: %v", name, err)
		}
	}
	plain := make(chan []byte, 1)
	p := startPeer(t, func(conn net.Conn) {
		data := make([]byte, 4096)
		n, _ := conn.Read(data)
		plain <- data[:n]
		_, _ = io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
	})
	// Not with --insecure either, and not on loopback: there is no plain HTTP here.
	for i, insecure := range []bool{false, true} {
		c := NewClient(Options{Addr: mustParse(t, p.addr), RootCAs: ca.pool(), Insecure: insecure})
		_, err := c.LoginFinish(testContext(t), FinishRequest{User: "u", Password: canary, TOTPCode: canary})
		if err == nil || !strings.Contains(err.Error(), "does not speak TLS") {
			t.Errorf("plain HTTP, insecure %v: %v", insecure, err)
		}
		if data := <-plain; bytes.Contains(data, []byte(canary)) || bytes.Contains(data, []byte("HTTP")) || int(p.conns.Load()) != i+1 {
			t.Errorf("plain HTTP was tried, insecure %v: %q", insecure, data)
		}
		c.Close()
	}
}

// case N17, case N18: what ping announces sends the password nowhere else and
// starts nothing.
func TestPingMovesNothing(t *testing.T) {
	ca := newAuthority(t, "web")
	evil := pingServer(t, serverConfig(t, ca), "evil")
	var lines []string
	p := startWeb(t, serverConfig(t, ca), func(r *request) []byte {
		lines = append(lines, r.line)
		return reply(200, `{"server_version":"99.0.0","min_client_version":"98.0.0","cluster_name":"c","proxy":{"ssh":{"public_addr":"`+evil.addr+
			`","ssh_public_addr":"`+evil.addr+`"}},"auto_update":{"tools_version":"99.0.0","tools_auto_update":true}}`)
	})
	c := clientFor(t, p.addr, ca.pool())
	ping, err := c.Ping(testContext(t), "")
	if err != nil || ping.Settings(c.WebAddr()).WebAddr != evil.addr {
		t.Fatalf("%+v, %v", ping, err)
	}
	if _, err := c.LoginFinish(testContext(t), FinishRequest{Password: canary}); err != nil {
		t.Error(err)
	}
	if evil.conns.Load() != 0 || len(lines) != 2 || c.WebAddr() != p.addr {
		t.Errorf("%d connections to the announced address; here %q", evil.conns.Load(), lines)
	}
}

// case N22
func TestMalformedHTTP(t *testing.T) {
	ca := newAuthority(t, "web")
	for name, text := range map[string]string{
		"cookies":         "HTTP/1.1 200 OK\r\n" + strings.Repeat("Set-Cookie: a=b\r\n", 100000),
		"long line":       "HTTP/1.1 200 OK\r\nX-A: " + strings.Repeat("a", 10<<20),
		"long status":     "HTTP/1.1 200 " + strings.Repeat("a", 10<<20),
		"folded":          "HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: x\r\n\r\n",
		"two lengths":     "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
		"negative length": "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}",
		"chunk size":      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}",
		"chunk extension": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;" + strings.Repeat("a", 1<<20) + "\r\n{}\r\n0\r\n\r\n",
		"huge chunk":      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n{}",
		"many 1xx":        strings.Repeat("HTTP/1.1 103 Early Hints\r\nX-A: "+strings.Repeat("a", 1000)+"\r\n\r\n", 10000),
		"other protocol":  "SSH-2.0-\x1b[31mevil\r\n\r\n",
		"bad gzip":        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
		"nul in a header": "HTTP/1.1 200 OK\r\nX\x00A: b\r\n\r\n",
	} {
		p := hostile(t, ca, func(w io.Writer) { _, _ = io.WriteString(w, text) })
		err := finishOn(t, p, ca)
		if err == nil || len(err.Error()) > 2<<10 || strings.ContainsAny(err.Error(), "\x1b\x00\n") || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %.300q", name, fmt.Sprint(err))
		}
	}
}

// case N23: the connection ends in the middle. A POST is never sent twice.
func TestConnectionBreaks(t *testing.T) {
	ca := newAuthority(t, "web")
	whole := string(fixture(t, "webapi-18.3/finish-ok.http"))
	for name, end := range map[string]func(*net.TCPConn){
		"FIN": func(c *net.TCPConn) { _ = c.CloseWrite(); _, _ = io.Copy(io.Discard, c) },
		"RST": func(c *net.TCPConn) { _ = c.SetLinger(0); _ = c.Close() },
	} {
		for _, at := range []int{0, 1, 15, 17, 100, strings.Index(whole, "\r\n\r\n") + 2, strings.Index(whole, "\r\n\r\n") + 4, len(whole) - 1} {
			p := startTLS(t, serverConfig(t, ca), func(conn *tls.Conn) {
				_, _ = conn.Read(make([]byte, 64<<10))
				_, _ = io.WriteString(conn, whole[:at])
				end(conn.NetConn().(*net.TCPConn))
			})
			if err := finishOn(t, p, ca); err == nil || p.conns.Load() != 1 {
				t.Errorf("%s after %d bytes: %v, %d connections", name, at, err, p.conns.Load())
			}
		}
	}
	partial := startPeer(t, func(conn net.Conn) {
		_, _ = conn.Read(make([]byte, 4096))
		_, _ = conn.Write([]byte{22, 3, 3, 0x40, 0, 2}) // a TLS record of 16 KiB that stops after one byte
	})
	if err := finishOn(t, partial, ca); !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		t.Errorf("partial record: %v", err)
	}
	alert := startPeer(t, func(conn net.Conn) {
		_, _ = conn.Read(make([]byte, 4096))
		_, _ = conn.Write([]byte{21, 3, 3, 0, 2, 2, 80})
	})
	if err := finishOn(t, alert, ca); err == nil || !strings.Contains(err.Error(), "remote error: tls: internal error") {
		t.Errorf("alert: %v", err)
	}
}

// A kept connection that the server has closed meanwhile is replaced.
func TestServerClosesIdleConnection(t *testing.T) {
	ca := newAuthority(t, "web")
	closed := make(chan struct{}, 2)
	p := startTLS(t, serverConfig(t, ca), func(conn *tls.Conn) {
		_, _ = conn.Read(make([]byte, 4096))
		_, _ = conn.Write(reply(200, `{"cluster_name":"c"}`))
		_ = conn.Close()
		closed <- struct{}{}
	})
	c := clientFor(t, p.addr, ca.pool())
	for range 2 {
		if _, err := c.Ping(testContext(t), ""); err != nil && !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
		<-closed
	}
	if n := p.conns.Load(); n != 2 {
		t.Errorf("%d connections", n)
	}
}
