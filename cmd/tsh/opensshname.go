package main

import (
	"strings"

	"github.com/spf13/pflag"

	"github.com/seed-087d674e/tsh/sshclient"
)

// sshPort is what OpenSSH says where nobody has named a port.
const sshPort = 22

// hostSuffix is what tsh config --suffix gives hosts in the place of their cluster.
type hostSuffix struct{ suffix string }

func (h *hostSuffix) addFlags(fs *pflag.FlagSet) {
	fs.StringVar(&h.suffix, "host-suffix", "", "take `NAME` off the end of HOST")
	fs.Lookup("host-suffix").Hidden = true // for the file that config makes
}

// node is the node that OpenSSH means by a host and a port: NODE, NODE.CLUSTER or with a
// suffix of one's own, on whatever port it listens where no other one than OpenSSH's was
// named.
func (h *hostSuffix) node(target sshclient.Target, s *session) sshclient.Target {
	suffixes := []string{s.profile.Host(), s.cluster}
	if h.suffix != "" {
		suffixes = []string{h.suffix}
	}
	for _, suffix := range suffixes {
		if host, ok := strings.CutSuffix(target.Host, "."+suffix); ok && host != "" {
			target.Host = host
		}
	}
	if target.Port == sshPort {
		target.Port = 0
	}
	return target
}
