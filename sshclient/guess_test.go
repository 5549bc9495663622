package sshclient_test

import (
	"testing"

	"github.com/seed-087d674e/tsh/sshclient"
)

// case S14: a node may send the first message of the key exchange that it expects (RFC
// 4253 section 7). What it guessed wrong is ignored, if it has announced it; a node that
// does one without the other is no node, and is not waited for.
func TestWrongGuess(t *testing.T) {
	c := newCluster(t)
	guessed := message(31, "no key", "no point", "no signature")
	session := func(p *peer) {
		p.session()
		p.data("fine")
		p.exitStatus(0)
		p.closeChannel()
		p.linger()
	}
	client := connectTo(t, newDialer(t, play(c, func(p *peer) {
		p.announced, p.guess = true, guessed
		session(p)
	})), c.client())
	if out, err := run(t, client, sshclient.Command{Args: "x"}); out != "fine" || err != nil {
		t.Errorf("announced and sent: %q, %v", out, err)
	}
	for name, script := range map[string]func(p *peer){
		"announced alone": func(p *peer) { p.announced = true; session(p) },
		"sent alone":      func(p *peer) { p.guess = guessed; session(p) },
		"sent twice": func(p *peer) {
			p.announced, p.guess = true, guessed
			p.exchangeVersions()
			p.raw(p.pack(p.kexInit()))
			p.raw(p.pack(p.guess))
			p.raw(p.pack(p.guess))
			p.linger()
		},
	} {
		t.Run(name, func(t *testing.T) {
			wantOp(t, refusedDial(t, c.client(), play(c, script)), sshclient.OpHandshake)
		})
	}
}
