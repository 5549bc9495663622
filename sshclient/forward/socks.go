package forward

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/seed-087d674e/tsh/sshclient"
)

const (
	// socksWait is how long a client has to say what it wants.
	socksWait = 10 * time.Second
	// maxSocksText bounds the texts of SOCKS 4, which end in a zero.
	maxSocksText = 255
)

// Bytes of SOCKS 5 (RFC 1928) and 4.
const (
	socks5, socks4 = 5, 4

	socksConnect = 1

	socksIPv4, socksName, socksIPv6 = 1, 3, 4

	socksOK, socksFailed, socksRefused, socksNoCommand, socksNoAddress = 0, 1, 5, 7, 8

	socks4Granted, socks4Rejected = 90, 91

	socksNoAuth, socksNoMethod = 0, 255
)

// negotiate hears what a SOCKS client wants to connect to: version 5, 4 or 4a, only
// to connect, without authentication, within socksWait. The client is answered
// with answer, nil for a connection that is there. What the client sends beyond its
// request stays in conn.
func negotiate(conn io.ReadWriteCloser) (address string, answer func(error) error, err error) {
	timer := time.AfterFunc(socksWait, func() { conn.Close() })
	defer func() {
		if !timer.Stop() {
			err = fmt.Errorf("a SOCKS client that says nothing for %v", socksWait)
		} else if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = errors.New("a SOCKS client that leaves before it has said what it wants")
		}
	}()
	version, err := readN(conn, 1)
	if err != nil {
		return "", nil, err
	}
	switch version[0] {
	case socks5:
		return negotiate5(conn)
	case socks4:
		return negotiate4(conn)
	}
	return "", nil, errors.New("a client that does not speak SOCKS")
}

func negotiate5(conn io.ReadWriter) (address string, answer func(error) error, err error) {
	count, err := readN(conn, 1)
	if err != nil {
		return "", nil, err
	}
	methods, err := readN(conn, int(count[0]))
	if err != nil {
		return "", nil, err
	}
	if !slices.Contains(methods, socksNoAuth) {
		_, _ = conn.Write([]byte{socks5, socksNoMethod})
		return "", nil, errors.New("a SOCKS client that wants to authenticate, which is not needed")
	}
	if _, err = conn.Write([]byte{socks5, socksNoAuth}); err != nil {
		return "", nil, err
	}
	request, err := readN(conn, 4) // version, command, reserved, kind of address
	if err != nil {
		return "", nil, err
	}
	reply := func(code byte) error {
		_, err := conn.Write([]byte{socks5, code, 0, socksIPv4, 0, 0, 0, 0, 0, 0})
		return err
	}
	if request[0] != socks5 || request[1] != socksConnect {
		_ = reply(socksNoCommand)
		return "", nil, fmt.Errorf("SOCKS command %d is not supported, only to connect", request[1])
	}
	host, err := readHost(conn, request[3])
	if err != nil {
		_ = reply(socksNoAddress)
		return "", nil, err
	}
	port, err := readN(conn, 2)
	if err != nil {
		return "", nil, err
	}
	return join(host, port), func(err error) error {
		var refused *sshclient.RefusedError
		var network *net.OpError
		switch {
		case err == nil:
			return reply(socksOK)
		case errors.As(err, &refused) || errors.As(err, &network):
			return reply(socksRefused)
		}
		return reply(socksFailed)
	}, nil
}

// readHost reads an address of SOCKS 5.
func readHost(r io.Reader, kind byte) (string, error) {
	size := 0
	switch kind {
	case socksIPv4:
		size = net.IPv4len
	case socksIPv6:
		size = net.IPv6len
	case socksName:
		length, err := readN(r, 1)
		if err != nil {
			return "", err
		}
		name, err := readN(r, int(length[0]))
		if err != nil {
			return "", err
		}
		return checkName(name)
	default:
		return "", fmt.Errorf("SOCKS address type %d is not known", kind)
	}
	raw, err := readN(r, size)
	addr, _ := netip.AddrFromSlice(raw)
	return addr.String(), err
}

// checkName takes what a name or an address may consist of. The node has to
// resolve it.
func checkName(name []byte) (string, error) {
	bad := bytes.IndexFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '[' || r == ']' || r == '/' })
	if len(name) == 0 || bad >= 0 {
		return "", fmt.Errorf("%q, for which a SOCKS client asks, is no host", name)
	}
	return string(name), nil
}

func negotiate4(conn io.ReadWriter) (address string, answer func(error) error, err error) {
	request, err := readN(conn, 7) // command, port, address
	if err != nil {
		return "", nil, err
	}
	reply := func(code byte) error {
		_, err := conn.Write([]byte{0, code, 0, 0, 0, 0, 0, 0})
		return err
	}
	if _, err = readText(conn); err != nil { // the name of a user
		return "", nil, err
	}
	host := netip.AddrFrom4([4]byte(request[3:])).String()
	if raw := binary.BigEndian.Uint32(request[3:]); raw > 0 && raw <= 0xff { // 4a: a name follows
		name, err := readText(conn)
		if err == nil {
			host, err = checkName(name)
		}
		if err != nil {
			_ = reply(socks4Rejected)
			return "", nil, err
		}
	}
	if request[0] != socksConnect {
		_ = reply(socks4Rejected)
		return "", nil, fmt.Errorf("SOCKS command %d is not supported, only to connect", request[0])
	}
	return join(host, request[1:3]), func(err error) error {
		if err != nil {
			return reply(socks4Rejected)
		}
		return reply(socks4Granted)
	}, nil
}

// readText reads a text that ends in a zero.
func readText(r io.Reader) ([]byte, error) {
	var text []byte
	for len(text) <= maxSocksText {
		b, err := readN(r, 1) // no more than there is of it
		if err != nil || b[0] == 0 {
			return text, err
		}
		text = append(text, b[0])
	}
	return nil, errors.New("a SOCKS client with a name that does not end")
}

func readN(r io.Reader, n int) ([]byte, error) {
	b := make([]byte, n)
	_, err := io.ReadFull(r, b)
	return b, err
}

func join(host string, port []byte) string {
	return net.JoinHostPort(host, strconv.Itoa(int(binary.BigEndian.Uint16(port))))
}
