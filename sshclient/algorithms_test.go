package sshclient_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/seed-087d674e/tsh/sshclient"
)

// case S25: old algorithms are refused, and the error says what the node has.
func TestOldAlgorithms(t *testing.T) {
	c := newCluster(t)
	for name, tc := range map[string]struct {
		change func(*lists)
		want   string
	}{
		"key exchange": {func(l *lists) { l.kex = []string{"diffie-hellman-group1-sha1", "\x1b[2Jsha1"} }, `diffie-hellman-group1-sha1, \x1b[2Jsha1`},
		"cipher":       {func(l *lists) { l.ciphers = []string{"aes128-cbc", "3des-cbc"} }, "aes128-cbc, 3des-cbc"},
		"MAC":          {func(l *lists) { l.ciphers, l.macs = []string{"aes128-ctr"}, []string{"hmac-sha1", "hmac-md5"} }, "hmac-sha1, hmac-md5"},
		"endless list": {func(l *lists) { l.kex = slices.Repeat([]string{"nonsense"}, 5000) }, "nonsense, nonsense"},
	} {
		t.Run(name, func(t *testing.T) {
			err := refusedDial(t, c.client(), play(c, func(p *peer) {
				tc.change(&p.lists)
				p.exchangeKeys()
			}))
			wantOp(t, err, sshclient.OpHandshake)
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v; want it to list %s", err, tc.want)
			}
		})
	}
	err := refusedDial(t, c.client(), play(c, func(p *peer) {
		p.lists.hostKeys = []string{"ssh-rsa", "ssh-ed25519", ssh.CertAlgoRSAv01}
		p.exchangeKeys()
	}))
	as[*sshclient.HostKeyError](t, err)
	if !strings.Contains(err.Error(), "ssh-rsa, ssh-ed25519") {
		t.Error(err)
	}
	wantOp(t, refusedDial(t, c.client(), play(c, func(p *peer) {
		p.exchangeVersions()
		p.raw([]byte{0x10, 0, 0, 0, 0}) // a first packet of 256 MiB
		p.linger()
	})), sshclient.OpHandshake)
}

// case S07: floods are bounded by the deadline, texts are cleaned, and what is
// allowed is ignored.
func TestFloodsDuringLogin(t *testing.T) {
	c := newCluster(t)
	flood := func(p *peer, times int) {
		for range times {
			p.send(2, strings.Repeat("ignore me", 100))
			p.send(4, true, "\x1b[2Jdebug", "")
		}
	}
	client := connectTo(t, newDialer(t, play(c, func(p *peer) {
		p.exchangeKeys()
		flood(p, 1000)
		p.acceptService()
		flood(p, 1000)
		p.authenticate()
		flood(p, 1000)
		p.openChannel(100, 100)
		p.startCommand()
		flood(p, 1000)
		p.data("fine")
		p.exitStatus(0)
		p.closeChannel()
		p.linger()
	})), c.client())
	if out, err := run(t, client, sshclient.Command{Args: "x"}); out != "fine" || err != nil {
		t.Errorf("%q, %v", out, err)
	}
	// Without an end it is the caller's patience that counts.
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := sshclient.Dial(ctx, newDialer(t, play(c, func(p *peer) {
		p.exchangeKeys()
		for {
			flood(p, 1)
		}
	})), target(), c.client())
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

// case S14: a node that has guessed the key exchange wrong, and sent its first packet, is
// understood; one that says so and sends none is an error at once.
func TestWrongGuess(t *testing.T) {
	c := newCluster(t)
	guessing := func(packets ...[]byte) func(net.Conn) {
		return play(c, func(p *peer) {
			p.lists.guess = []byte{}
			for _, packet := range packets {
				p.lists.guess = append(p.lists.guess, p.pack(packet)...)
			}
			p.session()
			p.exitStatus(0)
			p.closeChannel()
			p.linger()
		})
	}
	client := connectTo(t, newDialer(t, guessing(message(31, "of another", "key exchange"))), c.client())
	if _, err := run(t, client, sshclient.Command{Args: "x"}); err != nil {
		t.Error(err)
	}
	wantOp(t, refusedDial(t, c.client(), guessing()), sshclient.OpHandshake)
	wantOp(t, refusedDial(t, c.client(), guessing(message(31, "one"), message(31, "too many"))), sshclient.OpHandshake)
}
