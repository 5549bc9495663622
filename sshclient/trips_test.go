package sshclient_test

import (
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/seed-087d674e/tsh/internal/netsim"
	"github.com/seed-087d674e/tsh/sshclient"
)

// From the first byte to the exit status of a command: eight round trips on the
// stream, counted by what could have caused what and, to the same result, by
// the clock of a simulated network on which nothing else takes time. Each
// addition to a command says what it may cost.
func TestRoundTrips(t *testing.T) {
	const toLogIn, toRun = 6, 2
	for _, tc := range []struct {
		name string
		cmd  sshclient.Command
		want int
	}{
		{"command", sshclient.Command{Args: "true"}, toLogIn + toRun},
		{"environment is free", sshclient.Command{Args: "true", Env: map[string]string{"LANG": "C", "LANGUAGE": "en"}}, toLogIn + toRun},
		{"a terminal costs one", sshclient.Command{PTY: &sshclient.PTY{}}, toLogIn + toRun + 1},
	} {
		for _, version := range []string{"SSH-2.0-Teleport", "SSH-2.0-OpenSSH_9.2"} {
			t.Run(tc.name+" "+version, func(t *testing.T) {
				c := newCluster(t)
				synctest.Test(t, func(t *testing.T) {
					const rtt = 100 * time.Millisecond
					config := c.server()
					config.ServerVersion = version
					d := newDialer(t, (&node{config: config, session: command(func(ssh.Channel, string) uint32 { return 0 })}).serve)
					d.net.SetDelay(rtt / 2)
					begin := time.Now()
					client := connectTo(t, d, c.client())
					wantTrips(t, d.net, netsim.Mark{}, "login", toLogIn, begin, rtt)
					mark := d.net.Mark()
					begin = time.Now()
					if err := client.Run(t.Context(), tc.cmd); err != nil {
						t.Fatal(err)
					}
					wantTrips(t, d.net, mark, "command", tc.want-toLogIn, begin, rtt)
				})
			})
		}
	}
}

func wantTrips(t *testing.T, n *netsim.Network, mark netsim.Mark, what string, want int, begin time.Time, rtt time.Duration) {
	t.Helper()
	if got := n.Since(mark).Trips; got != want {
		t.Errorf("%s: %d round trips counted, want %d", what, got, want)
	}
	if took := time.Since(begin); took != time.Duration(want)*rtt {
		t.Errorf("%s: took %v, want %d round trips of %v", what, took, want, rtt)
	}
}
