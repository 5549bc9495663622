package sshclient

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net"
	"time"

	"golang.org/x/crypto/ssh"
)

const (
	// cookieSize is that of MIT-MAGIC-COOKIE-1, the only protocol in use.
	cookieSize = 16
	// maxCookie bounds either part of what an X client shows.
	maxCookie = 256
	// greetingWait is how long an X client has for its first message.
	greetingWait = 30 * time.Second
)

// X11 forwards a display: programs on the node show their windows here. The node gets a
// cookie made for the session; only connections that show it reach the display, and
// with the display's own cookie in its place.
type X11 struct {
	Dial     func(context.Context) (net.Conn, error) // connects to the display
	Protocol string                                  // of the cookie, "MIT-MAGIC-COOKIE-1"
	Cookie   []byte                                  // the display's; nil if it wants none
	Screen   uint32
	Until    time.Time // no connection is accepted after it; zero for no end
	// Refused is told when the node does not forward displays. The session goes on.
	Refused func(error)
}

var errCookie = errors.New("an X client showed the wrong cookie")

// forwardX11 asks the node for a display.
func (s *session) forwardX11() error {
	const channel, request = "x11", "x11-req"
	x := s.cmd.X11
	if x == nil {
		return nil
	}
	cookie := make([]byte, cookieSize)
	_, _ = rand.Read(cookie) // never fails
	g := &guests{s: s, kind: "X11", admit: x.admit, serve: func(ctx context.Context, ch ssh.Channel) {
		if err := x.serve(ctx, ch, cookie); err != nil {
			slog.Debug("X11 connection refused", "reason", err)
		}
	}}
	s.client.channels.allow(channel, g.come)
	payload := ssh.Marshal(struct {
		Single           bool
		Protocol, Cookie string
		Screen           uint32
	}{false, x.Protocol, hex.EncodeToString(cookie), x.Screen})
	ok, err := s.ch.SendRequest(request, true, payload)
	if err != nil {
		return s.notStarted(request, err)
	}
	if !ok {
		s.client.channels.allow(channel, nil)
		x.Refused(&RefusedError{Host: s.client.host, Request: request})
	}
	return nil
}

func (x *X11) admit() error {
	if !x.Until.IsZero() && time.Now().After(x.Until) {
		return errors.New("the time for X11 connections is over")
	}
	return nil
}

// serve connects one X client with the display.
func (x *X11) serve(ctx context.Context, ch ssh.Channel, cookie []byte) error {
	late := time.AfterFunc(greetingWait, func() { ch.Close() })
	greeting, err := x.greeting(ch, cookie)
	if !late.Stop() || err != nil {
		return err
	}
	conn, err := x.Dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if _, err := conn.Write(greeting); err != nil {
		return err
	}
	splice(ch, conn)
	return nil
}

// greeting reads the first message of an X client, which has to show the cookie, and
// returns it with the display's own. Its numbers are in the client's byte order.
func (x *X11) greeting(r io.Reader, cookie []byte) ([]byte, error) {
	const size, nameAt, dataAt = 12, 6, 8
	head := make([]byte, size)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	number, put := binary.BigEndian.Uint16, binary.BigEndian.PutUint16
	switch head[0] {
	case 'B':
	case 'l':
		number, put = binary.LittleEndian.Uint16, binary.LittleEndian.PutUint16
	default:
		return nil, errors.New("an X client began with something else than a byte order")
	}
	name, data := int(number(head[nameAt:])), int(number(head[dataAt:]))
	if name > maxCookie || data > maxCookie {
		return nil, errCookie
	}
	body := make([]byte, padded(name)+padded(data))
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, err
	}
	shown := body[padded(name):][:data]
	if string(body[:name]) != x.Protocol || subtle.ConstantTimeCompare(shown, cookie) != 1 {
		return nil, errCookie
	}
	protocol := x.Protocol
	if x.Cookie == nil {
		protocol = ""
	}
	put(head[nameAt:], uint16(len(protocol)))
	put(head[dataAt:], uint16(len(x.Cookie)))
	out := append(head, make([]byte, padded(len(protocol))+padded(len(x.Cookie)))...)
	copy(out[size:], protocol)
	copy(out[size+padded(len(protocol)):], x.Cookie)
	return out, nil
}

// padded is n up to the next multiple of four.
func padded(n int) int { return (n + 3) &^ 3 }
