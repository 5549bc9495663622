package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/user"
	"strings"

	"github.com/seed-087d674e/tsh/internal/devcluster"
)

const (
	// noAddr is the address of what does not listen.
	noAddr = "none"
	// authPort is where auth servers listen.
	authPort = "3025"
)

// authAddress is where the auth server listens: where it is told to or, if nothing was said,
// at its usual port next to the proxy's, or at a free one if that is taken or the proxy
// took a free one.
func (o *startOptions) authAddress() string {
	switch o.authAddr {
	case "":
	case noAddr:
		return ""
	default:
		return o.authAddr
	}
	host, port, err := net.SplitHostPort(o.addr)
	if err != nil {
		return "" // Start says what is wrong with the proxy's
	}
	free := net.JoinHostPort(host, "0")
	if port == "0" {
		return free
	}
	usual, err := net.Listen("tcp", net.JoinHostPort(host, authPort))
	if err != nil {
		return free
	}
	_ = usual.Close()
	return usual.Addr().String()
}

// place is where a running cluster is, as start --json prints it.
type place struct {
	Name       string `json:"name"`
	Dir        string `json:"dir"`
	Addr       string `json:"addr"`
	PublicAddr string `json:"public_addr"`
	AuthAddr   string `json:"auth_addr,omitempty"`
	SSHAddr    string `json:"ssh_addr"`
	TunnelAddr string `json:"tunnel_addr"`
	CAFile     string `json:"ca_file"`
	AuditLog   string `json:"audit_log"`
}

// welcome says where the cluster is and, to people, what to type next.
func welcome(w io.Writer, c *devcluster.Cluster, dir string, asJSON bool) error {
	p := place{c.Name(), dir, c.Addr(), c.PublicAddr(), c.AuthAddr(), c.SSHAddr(), c.TunnelAddr(), c.CAFile(), c.AuditLog()}
	if asJSON {
		return printJSON(w, p)
	}
	login := "root"
	if u, err := user.Current(); err == nil {
		login = u.Username[strings.LastIndexByte(u.Username, '\\')+1:]
	}
	auth := ""
	if p.AuthAddr != "" {
		auth = "auth    " + p.AuthAddr + ", without the proxy\n"
	}
	program := os.Args[0]
	_, err := fmt.Fprintf(w, `cluster %s listens on %s, announced as %s
%sweb CA  %s
audit   %s

in another terminal:
  %s users add %s --dir %s --roles access --logins %s
  export SSL_CERT_FILE=%s
  tsh login --proxy=%s --user=%s
  tsh ls
`, p.Name, p.Addr, p.PublicAddr, auth, p.CAFile, p.AuditLog, program, login, dir, login, p.CAFile, p.PublicAddr, login)
	return err
}
