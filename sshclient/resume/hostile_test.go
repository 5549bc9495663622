package resume

import (
	"bytes"
	"context"
	"crypto/elliptic"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A node that offers nothing is spoken to as if nobody had asked: it gets the version
// line from its first byte, and what it said is there to be read.
func TestPlainNodes(t *testing.T) {
	for _, line := range []string{
		"SSH-2.0-Teleport\r\n", "SSH-2.0-OpenSSH_9.2p1 Debian\r\n", "SSH-2.0-Teleport resume-v2 x y\r\n", "hello\n", "\n",
		"SSH-2.0-Teleport resume-v1\r\n", strings.Repeat("x", 1000) + "\r\n", "SSH-2.0-cut",
	} {
		synctest.Test(t, func(t *testing.T) {
			client, server := net.Pipe()
			heard := make(chan string, 1)
			go func() {
				go func() {
					_, _ = io.WriteString(server, line+"and more")
					if !strings.HasSuffix(line, "\n") {
						_ = server.Close()
					}
				}()
				got, _ := io.ReadAll(server)
				heard <- string(got)
			}()
			conn, err := Open(t.Context(), client, Config{})
			if err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			go func() {
				for _, part := range []string{"SSH", "-2.0-Go", "\r\nrest"} {
					if n, err := io.WriteString(conn, part); err != nil || n != len(part) {
						return
					}
				}
			}()
			got := make([]byte, len(line)+len("and more"))
			if _, err := io.ReadFull(conn, got); err != nil || string(got) != line+"and more" {
				t.Errorf("%q: read %q, %v", line, got, err)
			}
			synctest.Wait()
			_ = conn.Close()
			if got := <-heard; strings.HasSuffix(line, "\n") && got != "SSH-2.0-Go\r\nrest" {
				t.Errorf("%q: the node heard %q", line, got)
			}
		})
	}
}

// What does not begin as SSH is not sent to a node that has got the beginning already.
func TestPlainWantsSSH(t *testing.T) {
	client, server := net.Pipe()
	defer server.Close()
	go io.Copy(io.Discard, server)
	p := &plain{client, nil, len(prefix)}
	if _, err := p.Write([]byte("SSH-1.99-x")); err == nil {
		t.Error("another version was sent")
	}
}

func nowhere(context.Context, string) (net.Conn, error) { return nil, errors.New("nowhere to go") }

// Who does not want to resume speaks with a node that offers it as with any other.
func TestOfferDeclined(t *testing.T) {
	client, server := net.Pipe()
	line, _ := offerLine()
	go func() {
		go io.Copy(io.Discard, server)
		_, _ = io.WriteString(server, line)
	}()
	conn, err := Open(t.Context(), client, Config{})
	if err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, conn, len(line)); got != line {
		t.Errorf("%q", got)
	}
}

// badPoint is a point that is on no curve, of the right length.
func badPoint() string {
	x, y := elliptic.P256().Params().Gx.Bytes(), make([]byte, 32)
	return base64.RawStdEncoding.EncodeToString(append(append([]byte{4}, x...), y...))
}

// case S21: an offer that is not as it has to be is no reason to speak with the node.
func TestHostileOffers(t *testing.T) {
	good, _ := offerLine()
	key := strings.Fields(good)[2]
	for name, line := range map[string]string{
		"not on the curve":   offer + badPoint() + " " + hostID + "\r\n",
		"point at infinity":  offer + "AA " + hostID + "\r\n",
		"compressed":         offer + "A" + key[1:44] + " " + hostID + "\r\n",
		"padded":             offer + key + "= " + hostID + "\r\n",
		"URL alphabet":       offer + strings.Repeat("-", 87) + " " + hostID + "\r\n",
		"trailing bits":      offer + key[:86] + "9 " + hostID + "\r\n",
		"no host":            offer + key + " \r\n",
		"no host at all":     offer + key + "\r\n",
		"a host like a flag": offer + key + " -oProxyCommand\r\n",
		"upper case":         offer + key + " ABC\r\n",
		"host with a port":   offer + key + " abc:22\r\n",
		"host with a path":   offer + key + " ../abc\r\n",
		"escape":             offer + key + " abc\x1b[2J\r\n",
		"two spaces":         offer + key + "  " + hostID + "\r\n",
		"something follows":  offer + key + " " + hostID + " x\r\n",
		"newline alone":      offer + key + " " + hostID + "\n",
		"carriage return":    offer + key[:40] + "\r" + key[40:] + " " + hostID + "\r\n",
		"too long":           offer + key + " " + strings.Repeat("a", 300) + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			client, server := net.Pipe()
			go func() {
				go io.Copy(io.Discard, server)
				_, _ = io.WriteString(server, line)
			}()
			conn, err := Open(t.Context(), client, Config{Dial: nowhere})
			if err == nil || !isPermanent(err) {
				t.Errorf("%T, %v", conn, err)
			}
			if err != nil && strings.ContainsAny(err.Error(), "\x1b\n") {
				t.Errorf("%q", err)
			}
		})
	}
}

// hostileNode greets as it should, and then is script.
func hostileNode(t *testing.T, cfg Config, script func(io.ReadWriter)) *Conn {
	t.Helper()
	client, server := net.Pipe()
	t.Cleanup(func() { _ = server.Close() })
	go func() {
		line, key := offerLine()
		if _, _, err := greet(server, line, key); err != nil {
			t.Error(err)
			return
		}
		script(server)
	}()
	conn, err := Open(t.Context(), client, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn.(*Conn)
}

func uvarints(values ...uint64) []byte {
	var b []byte
	for _, v := range values {
		b = binary.AppendUvarint(b, v)
	}
	return b
}

// case S21: frames that break the protocol end the connection at once, and nothing is
// dialled again.
func TestHostileFrames(t *testing.T) {
	refuse := Config{Dial: func(context.Context, string) (net.Conn, error) {
		t.Error("dialled again")
		return nil, errors.New("no")
	}}
	for name, tc := range map[string]struct {
		frame []byte
		says  string
	}{
		"a byte more than a frame may have": {uvarints(0, maxFrame+1), "longer"},
		"an endless frame":                  {uvarints(0, 1<<63), "longer"},
		"acknowledges what was not sent":    {uvarints(1, 0), "not sent"},
		"the tag of an error":               {uvarints(1<<64-2, 0), "not sent"},
		"acknowledges more than there is":   {uvarints(1<<63, 0), "not sent"},
		"a number that never ends":          {bytes.Repeat([]byte{0xff}, 100), ""},
		"another identification":            {append(uvarints(0, 19), "SSH-2.0-Toleport\r\n "...), "presents itself"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := refuse
				if tc.says == "" { // what cannot be read is as good as a break
					cfg = Config{Dial: func(context.Context, string) (net.Conn, error) { return nil, permanent(errors.New("no")) }}
				}
				c := hostileNode(t, cfg, func(rw io.ReadWriter) {
					go io.Copy(io.Discard, rw)
					_, _ = rw.Write(tc.frame)
				})
				_, err := io.ReadAll(c)
				if err == nil || !strings.Contains(err.Error(), tc.says) {
					t.Error(err)
				}
				if tc.says == "presents itself" != errors.Is(err, ErrIdentification) {
					t.Error(err)
				}
			})
		})
	}
}

// case S21: who comes back as another node, with an old key, at a position that cannot
// be, or with no offer at all, does not get the connection.
func TestHostileResumption(t *testing.T) {
	var oldLine string
	verdict := func(position ...uint64) func(net.Conn) {
		return func(conn net.Conn) {
			line, key := offerLine()
			if _, _, err := greet(conn, line, key); err != nil {
				return
			}
			go conn.Write(append([]byte{accepted}, uvarints(position...)...))
			_, _ = io.Copy(io.Discard, conn)
		}
	}
	for name, tc := range map[string]struct {
		again func(net.Conn)
		says  string
	}{
		"another node": {func(conn net.Conn) {
			line, key := offerLine()
			_, _, _ = greet(conn, strings.Replace(line, hostID, "4"+hostID[1:], 1), key)
		}, "another node"},
		"replay": {func(conn net.Conn) { go io.WriteString(conn, oldLine); _, _ = io.Copy(io.Discard, conn) }, "an old one"},
		"no offer": {func(conn net.Conn) {
			go io.WriteString(conn, "SSH-2.0-Teleport\r\n")
			_, _ = io.Copy(io.Discard, conn)
		}, "no more"},
		"ahead of what was sent":  {verdict(6), "cannot be"},
		"behind what had arrived": {verdict(1), "cannot be"},
		"beyond all numbers":      {verdict(1<<64 - 1), "cannot be"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				broken := make(chan struct{})
				first, server := net.Pipe()
				line, key := offerLine()
				oldLine = line
				go func() {
					defer server.Close()
					if _, _, err := greet(server, line, key); err != nil {
						t.Error(err)
					}
					_, _ = io.ReadFull(server, make([]byte, 2+5)) // a frame of five bytes
					_, _ = server.Write(uvarints(3, 0))           // of which three arrived
					<-broken
				}()
				dials := 0
				conn, err := Open(t.Context(), first, Config{Dial: func(context.Context, string) (net.Conn, error) {
					dials++
					client, server := net.Pipe()
					go func() {
						defer server.Close()
						tc.again(server)
					}()
					return client, nil
				}})
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				_, _ = conn.Write([]byte("hello"))
				synctest.Wait()
				close(broken)
				_, err = io.ReadAll(conn)
				if !errors.Is(err, ErrLost) || !strings.Contains(err.Error(), tc.says) || dials != 1 {
					t.Errorf("%d dials, %v", dials, err)
				}
			})
		})
	}
}

// case S21: whatever the node does, what is kept has a bound in both directions.
func TestBuffersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sent := 0
		c := hostileNode(t, Config{Dial: nowhere}, func(rw io.ReadWriter) {
			go io.Copy(io.Discard, rw) // and acknowledges nothing
			frame := append(uvarints(0, 1000), make([]byte, 1000)...)
			for _, err := rw.Write(append(uvarints(0, uint64(len(identification))), identification...)); err == nil; sent++ {
				_, err = rw.Write(frame)
			}
		})
		wrote := 0
		go func() {
			for {
				n, err := c.Write(make([]byte, 1000))
				wrote += n
				if err != nil {
					return
				}
			}
		}()
		time.Sleep(time.Second)
		synctest.Wait()
		c.mu.Lock()
		in, out, ring, under := c.in.size, c.out.size, len(c.in.ring)+len(c.out.ring), c.link.next
		c.mu.Unlock()
		if in > window || out > maxKept || under > window || ring > 2*(window+maxKept) {
			t.Errorf("%d bytes unread, %d unsent, %d under way, %d of memory", in, out, under, ring)
		}
		if sent < 100 || wrote > maxKept {
			t.Errorf("%d frames were taken, %d bytes written", sent, wrote)
		}
	})
}

// FuzzHello reads anything as a node's first line.
func FuzzHello(f *testing.F) {
	line, _ := offerLine()
	f.Add([]byte(line))
	f.Add([]byte("SSH-2.0-OpenSSH_9.2\r\n"))
	f.Add([]byte(offer + "AA x\r\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		line, err := readLine(bytes.NewReader(raw))
		if len(line) > maxLine || !bytes.HasPrefix(raw, line) {
			t.Fatalf("%q of %q", line, raw)
		}
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatal(err)
		}
		h, err := parseHello(line)
		if err != nil || h == nil {
			return
		}
		if again := offer + base64.RawStdEncoding.EncodeToString(h.key.Bytes()) + " " + h.hostID + "\r\n"; again != string(line) {
			t.Fatalf("%q was taken for %q", line, again)
		}
		if _, _, err := h.agree(newConnection); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzFrames has a node send anything after its hello.
func FuzzFrames(f *testing.F) {
	f.Add(append(uvarints(0, uint64(len(identification))), identification...))
	f.Add(append(uvarints(5, 3), "abc"...))
	f.Add(uvarints(closeTag))
	f.Fuzz(func(t *testing.T, raw []byte) {
		client, server := net.Pipe()
		c := bareConn(client, [16]byte{})
		c.out.push([]byte("hello"))
		l := newLink(client, 5)
		c.link, c.sent = l, 5
		go func() {
			_, _ = server.Write(raw)
			_ = server.Close()
		}()
		if err := c.receive(l); err == nil {
			t.Fatal("it ended without a reason")
		}
		if c.acked > 5 || c.out.size != int(5-c.acked) || int(c.received) > len(raw) || c.in.size > window {
			t.Fatalf("acknowledged %d of 5, received %d of %d", c.acked, c.received, len(raw))
		}
	})
}
