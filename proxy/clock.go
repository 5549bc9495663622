package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// maxClockAnswer is what is read of an answer of which only the date counts.
const maxClockAnswer = maxSmallAnswer

// Time returns what the clock of the proxy's web server says, cut to whole seconds
// (the Date of an answer, RFC 9110, 6.6.1). Errors are those of Ping; an answer
// without a date is one, too.
func (c *Client) Time(ctx context.Context) (time.Time, error) {
	const path = "/webapi/ping"
	l, _, err := c.reach(ctx, path)
	if err != nil {
		return time.Time{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+l.addr+path, nil)
	if err != nil {
		return time.Time{}, err
	}
	answer, err := l.http.RoundTrip(req)
	if err != nil {
		return time.Time{}, l.failed(ctx, err)
	}
	// Read to its end, so that the connection can be used again.
	_, readErr := io.Copy(io.Discard, io.LimitReader(answer.Body, maxClockAnswer))
	if err := errors.Join(readErr, answer.Body.Close()); err != nil {
		return time.Time{}, l.failed(ctx, err)
	}
	date, err := http.ParseTime(answer.Header.Get("Date"))
	if err != nil {
		return time.Time{}, fmt.Errorf("%s: its answer has no date", l.addr)
	}
	return date, nil
}

// Date is what the proxy's clock said when it last answered a call, cut to whole
// seconds; zero where it did not say (RFC 9110, 6.6.1).
func (c *Client) Date() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link == nil || c.link.date.Load() == 0 {
		return time.Time{}
	}
	return time.Unix(c.link.date.Load(), 0)
}

func (l *link) noteDate(header http.Header) {
	if date, err := http.ParseTime(header.Get("Date")); err == nil {
		l.date.Store(date.Unix())
	}
}
