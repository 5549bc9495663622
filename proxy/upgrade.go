package proxy

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
)

// upgradeProtocol is the WebSocket subprotocol whose server keeps the
// connection alive with pings.
const upgradeProtocol = "alpn-ping"

// upgrade turns conn, a TLS connection to the web listener, into one that
// carries bytes to where the proxy would route them by ALPN: a WebSocket
// (RFC 6455) whose messages are the bytes.
func upgrade(ctx context.Context, conn net.Conn, host string, more headerFunc) (net.Conn, error) {
	var nonce [16]byte
	_, _ = rand.Read(nonce[:])
	key := base64.StdEncoding.EncodeToString(nonce[:])
	answer, r, err := askUpgrade(ctx, conn, host, more, map[string]string{
		"Upgrade":                "websocket",
		"Sec-Websocket-Key":      key,
		"Sec-Websocket-Version":  "13",
		"Sec-Websocket-Protocol": upgradeProtocol,
	})
	if err != nil {
		return nil, err
	}
	if err := checkUpgrade(answer, key); err != nil {
		return nil, fmt.Errorf("connection upgrade: %w", err)
	}
	return &webSocket{Conn: conn, r: r}, nil
}

// askUpgrade asks for an upgrade with these headers and returns the answer, and what
// follows it: that belongs to the tunnel, and nothing limits it.
func askUpgrade(ctx context.Context, conn net.Conn, host string, more headerFunc, headers map[string]string) (*http.Response, *bufio.Reader, error) {
	stop := closeOnDone(ctx, conn)
	defer stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+host+"/webapi/connectionupgrade", nil)
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Connection", "Upgrade")
	for name, value := range headers {
		req.Header.Set(name, value)
	}
	more.add(req.Header, host)
	if err := req.Write(conn); err != nil {
		return nil, nil, causeOr(ctx, err)
	}
	limited := &io.LimitedReader{R: conn, N: maxHeader}
	r := bufio.NewReaderSize(limited, 16<<10)
	answer, err := http.ReadResponse(r, req)
	if err != nil {
		return nil, nil, causeOr(ctx, err)
	}
	limited.N = 1<<63 - 1
	return answer, r, nil
}

// refusesWebSocket reports whether an answer is a server's that does not know
// the WebSocket form, rather than that of something in between.
func refusesWebSocket(r *http.Response) bool {
	switch r.StatusCode {
	case http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusUpgradeRequired, http.StatusNotImplemented:
		return !isHTML(r, nil)
	}
	return false
}

// errOldServer: the server may know the form of 14.x.
var errOldServer = errors.New("the server does not know WebSockets")

// checkUpgrade says why an answer is not the proxy's consent to the upgrade.
func checkUpgrade(r *http.Response, key string) error {
	if refusesWebSocket(r) {
		return fmt.Errorf("the proxy does not have it (%s, %w)", shortQuote(r.Status), errOldServer)
	}
	if r.StatusCode != http.StatusSwitchingProtocols {
		return fmt.Errorf("the answer is %s; %w or something in between does not let it through", shortQuote(r.Status), ErrNotTeleport)
	}
	const magic = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" // RFC 6455, section 1.3
	sum := sha1.Sum([]byte(key + magic))
	switch {
	case !strings.EqualFold(r.Header.Get("Upgrade"), "websocket"):
		return fmt.Errorf("the answer changes to %s instead of a WebSocket", shortQuote(r.Header.Get("Upgrade")))
	case r.Header.Get("Sec-Websocket-Accept") != base64.StdEncoding.EncodeToString(sum[:]):
		return fmt.Errorf("the answer is not to our request (Sec-WebSocket-Accept is wrong)")
	case len(r.Header.Values("Sec-Websocket-Protocol")) != 1 || r.Header.Get("Sec-Websocket-Protocol") != upgradeProtocol:
		return fmt.Errorf("the answer's subprotocol is %s, not %s", shortQuote(r.Header.Get("Sec-Websocket-Protocol")), upgradeProtocol)
	}
	return nil
}
