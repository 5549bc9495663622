package login

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Limits of what a browser, or whoever else finds the listener, may send.
const (
	maxBrowserConns = 16
	maxBrowserHead  = 1 << 20 // an answer may come in the request line
	maxHeadLines    = 200     // each may cost a hundred bytes for every one that is sent
	maxBrowserForm  = 1 << 20
	browserTime     = 10 * time.Second // for a request and its answer
)

// reply is the answer to one request of a browser.
type reply struct {
	status   int
	location string // of a redirect
	allow    string // methods, with 405 and for OPTIONS
	policy   string // Content-Security-Policy, if it is not the usual
	body     string // HTML
	last     func() // set on the answer that ends the listener; called once it is written
}

// answerer answers HTTP requests on a listener, one for each connection. It is
// the little of a web server that a browser's redirect takes; net/http's would
// be a tenth of the program.
type answerer struct {
	listener net.Listener
	handle   func(r *http.Request, form url.Values) reply

	mu    sync.Mutex
	conns []net.Conn // oldest first
	over  bool
	work  sync.WaitGroup
}

// serve accepts connections until close, or until an answer was the last.
func (a *answerer) serve() {
	const breath = 50 * time.Millisecond // when there are no descriptors, say
	for {
		conn, err := a.listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			if a.ended() {
				return
			}
			<-time.After(breath)
			continue
		}
		if !a.admit(conn) {
			_ = conn.Close()
			return
		}
		go func() {
			defer a.leave(conn)
			a.answer(conn)
		}()
	}
}

func (a *answerer) ended() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.over
}

// admit takes a connection up. Where there are too many the oldest ends: a
// browser asks at once, who holds connections open does not.
func (a *answerer) admit(conn net.Conn) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.over {
		return false
	}
	if len(a.conns) == maxBrowserConns {
		_ = a.conns[0].Close()
		a.conns = a.conns[1:]
	}
	a.conns = append(a.conns, conn)
	a.work.Add(1)
	return true
}

func (a *answerer) leave(conn net.Conn) {
	_ = conn.Close()
	a.mu.Lock()
	for i, c := range a.conns {
		if c == conn {
			a.conns = append(a.conns[:i:i], a.conns[i+1:]...)
			break
		}
	}
	a.mu.Unlock()
	a.work.Done()
}

// stop ends the listener and every connection but one.
func (a *answerer) stop(but net.Conn) {
	a.mu.Lock()
	a.over = true
	for _, c := range a.conns {
		if c != but {
			_ = c.Close()
		}
	}
	a.mu.Unlock()
	_ = a.listener.Close()
}

// close ends everything and waits for it.
func (a *answerer) close() {
	a.stop(nil)
	a.work.Wait()
}

func (a *answerer) answer(conn net.Conn) {
	_ = conn.SetDeadline(time.Now().Add(browserTime))
	limit := &io.LimitedReader{R: conn, N: maxBrowserHead}
	head := &lineReader{limit, maxHeadLines}
	r, err := http.ReadRequest(bufio.NewReader(head))
	var answer reply
	var form url.Values
	switch {
	case err != nil && (limit.N <= 0 || head.left < 0):
		answer = plain(http.StatusRequestHeaderFieldsTooLarge)
	case err != nil && limit.N == maxBrowserHead:
		return // a browser's connection in reserve
	case err != nil:
		answer = plain(http.StatusBadRequest)
	default:
		limit.N, head.left = maxBrowserForm, maxBrowserForm
		var status int
		if form, status = readForm(r); status != 0 {
			answer = plain(status)
		} else {
			answer = a.handle(r, form)
		}
	}
	if answer.last != nil {
		a.stop(conn)
		defer answer.last()
	}
	_, _ = io.WriteString(conn, answer.text())
}

// lineReader ends where there are more lines than are left.
type lineReader struct {
	r    io.Reader
	left int
}

// Read implements io.Reader.
func (l *lineReader) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	if l.left -= bytes.Count(p[:n], []byte("\n")); l.left < 0 {
		return 0, io.ErrUnexpectedEOF
	}
	return n, err
}

// readForm reads the form that a POST brings. Its status is 0 if that went well.
func readForm(r *http.Request) (form url.Values, status int) {
	if r.Method != http.MethodPost {
		return nil, 0
	}
	media, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	switch {
	case r.ContentLength > maxBrowserForm:
		return nil, http.StatusRequestEntityTooLarge
	case !strings.EqualFold(strings.TrimSpace(media), "application/x-www-form-urlencoded"):
		return nil, http.StatusUnsupportedMediaType
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBrowserForm+1))
	if len(body) > maxBrowserForm || r.ContentLength < 0 && errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, http.StatusRequestEntityTooLarge
	}
	if err != nil {
		return nil, http.StatusBadRequest
	}
	if form, err = url.ParseQuery(string(body)); err != nil {
		return nil, http.StatusBadRequest
	}
	return form, 0
}

// plain is an answer of a status and a sentence. Nothing that was sent is part
// of any answer.
func plain(status int) reply { return say(status, http.StatusText(status)+".") }

// say is an answer of one sentence.
func say(status int, sentence string) reply {
	return reply{status: status, body: "<!doctype html><meta charset=utf-8><title>tsh</title><p>" + sentence + "</p>\n"}
}

// text is the answer as it is sent. There is no header for other origins: no
// page of theirs has any business here.
func (p reply) text() string {
	if p.policy == "" {
		p.policy = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	}
	lines := []string{
		"HTTP/1.1 " + strconv.Itoa(p.status), http.StatusText(p.status),
		"Location", p.location,
		"Allow", p.allow,
		"Content-Type", "text/html; charset=utf-8",
		"Content-Length", strconv.Itoa(len(p.body)),
		"Connection", "close",
		"Cache-Control", "no-store",
		"X-Content-Type-Options", "nosniff",
		"X-Frame-Options", "DENY",
		"Referrer-Policy", "strict-origin",
		"Content-Security-Policy", p.policy,
	}
	var b strings.Builder
	separator := " "
	for ; len(lines) > 0; lines = lines[2:] {
		if lines[1] != "" {
			b.WriteString(lines[0] + separator + lines[1] + "\r\n")
		}
		separator = ": "
	}
	return b.String() + "\r\n" + p.body
}
