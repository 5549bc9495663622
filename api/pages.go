package api

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/seed-087d674e/tsh/internal/rpc"
	"github.com/seed-087d674e/tsh/internal/wire"
)

// Limits of lists other than that of the nodes.
const (
	listPage = 200
	maxItems = 20000
)

// pages is a list under way that comes page by page.
type pages struct {
	client *Client
	what   string // is listed
	most   int    // how many there may be
	memory int    // what is left for all pages unpacked
	// fetch gets the page that begins at key, and says how many there are on it and where
	// the next one begins; "" is the end.
	fetch func(ctx context.Context, limit int32, key string) (n int, next string, err error)
}

// each fetches page after page, up to so many things, and 64 MiB; each page has the deadline of
// a call. Pages that would be too large are asked for again, half as long.
func (p *pages) each(ctx context.Context) error {
	p.memory = maxBytes
	limit, key, total := int32(listPage), "", 0
	for n := 0; ; n++ {
		items, next, err := p.fetch(ctx, limit, key)
		if codeOf(err) == rpc.ResourceExhausted && limit > 1 {
			limit /= 2
			continue
		}
		total += items
		switch {
		case err != nil:
			return err
		case total > p.most || n > maxPages || next != "" && next == key:
			return fmt.Errorf("%s lists %s without end", p.client.addr, p.what)
		case next == "":
			return nil
		}
		key = next
	}
}

// page makes the call for a page.
func (p *pages) page(ctx context.Context, method string, request, reply any) error {
	data, err := p.client.exchange(ctx, method, request)
	if err != nil {
		return err
	}
	if err := wire.UnmarshalWithin(data, reply, &p.memory); err != nil {
		return &Error{Method: method, Addr: p.client.addr, err: err}
	}
	return nil
}

// serverStream starts a call with one request and many answers.
func (c *Client) serverStream(ctx context.Context, method string, request any) (*rpc.Stream, error) {
	stream, err := c.conn.Stream(ctx, method)
	if err != nil {
		return nil, err
	}
	// A server that ends the call at once, because it does not know it, says how in Recv.
	if err := stream.Send(wire.Marshal(request)); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	_ = stream.CloseSend()
	return stream, nil
}

// streamed makes a call with many answers, as many as a list may have, and hands each to
// take, which decodes it.
func (c *Client) streamed(ctx context.Context, method string, request any, take func(data []byte, memory *int) error) error {
	ctx, cancel := limited(ctx)
	defer cancel()
	failed := func(err error) error { return &Error{Method: method, Addr: c.addr, err: err} }
	stream, err := c.serverStream(ctx, method, request)
	if err != nil {
		return failed(err)
	}
	memory := maxBytes
	for n := 0; ; n++ {
		data, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil && n == maxItems {
			err = fmt.Errorf("it lists more than %d things", maxItems)
		}
		if err == nil {
			err = take(data, &memory)
		}
		if err != nil {
			return failed(err)
		}
	}
}

func isUnimplemented(err error) bool { return codeOf(err) == rpc.Unimplemented }
