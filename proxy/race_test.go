package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"iter"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// pingServer answers every ping with a cluster of the given name.
func pingServer(t *testing.T, cfg *tls.Config, cluster string) *peer {
	return startWeb(t, cfg, func(*request) []byte {
		return reply(200, `{"server_version":"18.3.0","cluster_name":"`+cluster+`"}`)
	})
}

func raceClient(ca *authority, ports map[string]string) *Client {
	return NewClient(Options{Addr: Addr{Host: "proxy.test", WebPort: 3080, SSHPort: 3023}, RootCAs: ca.pool(), Dial: dialTo(ports)})
}

func TestRace(t *testing.T) {
	ca := newAuthority(t, "web")
	cfg := serverConfig(t, ca)
	good := pingServer(t, cfg, "good")
	captive := startWeb(t, cfg, func(*request) []byte { return []byte("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>") })
	for name, ports := range map[string]map[string]string{
		"443 alone":                  {"443": good.addr},
		"3080 alone":                 {"3080": good.addr},
		"443 is dropped on the way":  {"443": "", "3080": good.addr},
		"3080 is dropped on the way": {"443": good.addr, "3080": ""},
		"443 is something else":      {"443": captive.addr, "3080": good.addr}, // case N16
	} {
		before := good.conns.Load()
		c := raceClient(ca, ports)
		for range 2 {
			ping, err := c.Ping(testContext(t), "")
			if err != nil || ping.ClusterName != "good" {
				t.Errorf("%s: %+v, %v", name, ping, err)
			}
		}
		if _, err := c.MOTD(testContext(t)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if n := good.conns.Load() - before; n != 1 {
			t.Errorf("%s: %d connections to the winner, want one: the race's is kept", name, n)
		}
		_, port, _ := net.SplitHostPort(c.WebAddr())
		if ports[port] != good.addr {
			t.Errorf("%s: settled on port %s", name, port)
		}
		c.Close()
	}
}

// Both ports answer: one of them wins, the other's connection is closed.
func TestRaceClosesTheLoser(t *testing.T) {
	ca := newAuthority(t, "web")
	ended := make(chan string, 2)
	asked := make(chan struct{})
	serve := func(name string) *peer {
		return startTLS(t, serverConfig(t, ca), func(conn *tls.Conn) {
			defer func() { ended <- name }()
			buf := make([]byte, 4096)
			if _, err := conn.Read(buf); err != nil {
				return
			}
			if name == "slow" {
				close(asked)
				_, _ = conn.Read(buf) // until the client gives up
				return
			}
			<-asked
			_, _ = conn.Write(reply(200, `{"cluster_name":"fast"}`))
			_, _ = conn.Read(buf)
		})
	}
	fast, slow := serve("fast"), serve("slow")
	c := raceClient(ca, map[string]string{"443": slow.addr, "3080": fast.addr})
	if ping, err := c.Ping(testContext(t), ""); err != nil || ping.ClusterName != "fast" {
		t.Fatalf("%+v, %v", ping, err)
	}
	if name := <-ended; name != "slow" {
		t.Errorf("the %s connection was closed", name)
	}
	c.Close()
	if name := <-ended; name != "fast" {
		t.Errorf("Close did not close the connection")
	}
}

func TestRaceFailures(t *testing.T) {
	ca, stranger := newAuthority(t, "web"), newAuthority(t, "stranger")
	refusing := startWeb(t, serverConfig(t, ca), func(*request) []byte {
		return reply(400, `{"error":{"message":"no connector named x"}}`)
	})
	untrusted := pingServer(t, serverConfig(t, stranger), "x")

	_, err := raceClient(ca, nil).Ping(testContext(t), "")
	if err == nil || !strings.Contains(err.Error(), "proxy.test:443") || !strings.Contains(err.Error(), "proxy.test:3080") ||
		strings.Count(err.Error(), "connection refused") != 2 {
		t.Errorf("nothing there: %v", err)
	}
	var refused *Error
	c := raceClient(ca, map[string]string{"3080": refusing.addr})
	if _, err = c.Ping(testContext(t), "x"); !errors.As(err, &refused) || refused.Status != 400 || c.WebAddr() != "proxy.test:3080" {
		t.Errorf("a proxy that says no is a proxy: %v", err)
	}
	var trust *TrustError
	if _, err = raceClient(ca, map[string]string{"443": untrusted.addr}).Ping(testContext(t), ""); !errors.As(err, &trust) ||
		trust.Kind != TrustUnknownAuthority || !strings.Contains(err.Error(), "proxy.test:3080") {
		t.Errorf("an untrusted certificate: %v", err)
	}
	ctx, cancel := context.WithCancelCause(testContext(t))
	stop := errors.New("interrupted")
	cancel(stop)
	if _, err = raceClient(ca, map[string]string{"443": "", "3080": ""}).Ping(ctx, ""); !errors.Is(err, stop) {
		t.Errorf("interrupted: %v", err)
	}
}

// case N05: nothing answers at all; the whole race takes five seconds.
func TestRaceDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		c := NewClient(Options{Addr: Addr{Host: "proxy.test"}, Dial: dialTo(map[string]string{"443": "", "3080": ""})})
		defer c.Close()
		_, err := c.Ping(context.Background(), "")
		if took := time.Since(start); took != raceTimeout {
			t.Errorf("took %v", took)
		}
		if !errors.Is(err, context.DeadlineExceeded) || strings.Count(err.Error(), "no answer in time") != 2 {
			t.Errorf("%v", err)
		}
		c.Close()
		synctest.Wait()
	})
}

func TestRaceRememberedPort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		dialled := make(chan string, 3)
		c := NewClient(Options{Addr: Addr{Host: "proxy.test"}, RememberedPort: 4080, Dial: func(ctx context.Context, _, addr string) (net.Conn, error) {
			dialled <- fmt.Sprint(addr, " after ", time.Since(start))
			if addr == "proxy.test:4080" {
				<-ctx.Done()
			}
			return nil, errors.New("refused")
		}})
		_, err := c.Ping(context.Background(), "")
		close(dialled)
		got := slices.Sorted(chanValues(dialled))
		want := []string{"proxy.test:3080 after 1s", "proxy.test:4080 after 0s", "proxy.test:443 after 1s"}
		if err == nil || !slices.Equal(got, want) {
			t.Errorf("dialled %q: %v", got, err)
		}
		c.Close()
		synctest.Wait()
	})

	ca := newAuthority(t, "web")
	good, other := pingServer(t, serverConfig(t, ca), "good"), pingServer(t, serverConfig(t, ca), "other")
	c := NewClient(Options{Addr: Addr{Host: "proxy.test"}, RememberedPort: 3080, RootCAs: ca.pool(),
		Dial: dialTo(map[string]string{"443": other.addr, "3080": good.addr})})
	defer c.Close()
	if ping, err := c.Ping(testContext(t), ""); err != nil || ping.ClusterName != "good" || other.conns.Load() != 0 {
		t.Errorf("%+v, %v; %d connections to the other port", ping, err, other.conns.Load())
	}
	// It does not answer any more: the others take over at once.
	c = NewClient(Options{Addr: Addr{Host: "proxy.test"}, RememberedPort: 4080, RootCAs: ca.pool(), Dial: dialTo(map[string]string{"443": good.addr})})
	defer c.Close()
	if ping, err := c.Ping(testContext(t), ""); err != nil || ping.ClusterName != "good" {
		t.Errorf("%+v, %v", ping, err)
	}
}

func chanValues[T any](c <-chan T) iter.Seq[T] {
	return func(yield func(T) bool) {
		for v := range c {
			if !yield(v) {
				return
			}
		}
	}
}
