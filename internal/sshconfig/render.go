// Package sshconfig writes configuration for OpenSSH, 7.5 and newer: which hosts are
// reached through tsh, and how. What cannot be quoted so that every version reads it
// back as it was is an error, never a guess.
package sshconfig

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/seed-087d674e/tsh/internal/text"
)

// Cluster is a cluster whose hosts are reached, as NAME.SUFFIX.
type Cluster struct {
	Name   string
	Suffix string // the cluster's name if it has no other, which OpenSSH before 8.5 does not know to handle
}

// File is what the configuration for one proxy is made from. Names are host names, or
// made of what these consist of.
type File struct {
	Program   string // path of tsh
	Home      string // profile directory, where tsh has to be told; "" otherwise
	Proxy     string // host, the name of the profile
	ProxyAddr string // host:port of its web server
	Clusters  []Cluster

	KnownHosts, IdentityFile, CertificateFile string

	FromAgent bool // the private key is in the ssh-agent, not in IdentityFile

	Login         string // "" leaves it to ssh
	Port          int    // 0 is whatever port a server has
	ControlMaster bool
	Guarded       bool // nothing applies while Program is not there
	Windows       bool // ssh is that of Windows: no shell runs its commands
}

// Render returns the configuration. The error says what in a path or name OpenSSH cannot
// be told.
func (f *File) Render() (string, error) {
	q := quoter{windows: f.Windows}
	common := []string{"UserKnownHostsFile " + q.file(f.KnownHosts)}
	if f.FromAgent {
		// As the identity the certificate is what the agent has; as a certificate beside
		// it, it would be used with a key from a file.
		common = append(common, "IdentityFile "+q.file(f.CertificateFile))
	} else {
		common = append(common, "IdentityFile "+q.file(f.IdentityFile), "CertificateFile "+q.file(f.CertificateFile))
	}
	common = append(common, "IdentitiesOnly yes")
	if f.FromAgent && !f.Windows {
		common = append(common, "IdentityAgent SSH_AUTH_SOCK") // wherever else other hosts have theirs
	}
	if f.Login != "" {
		common = append(common, "User "+q.word(f.Login))
	}
	if f.ControlMaster {
		common = append(common, "ControlMaster auto", "ControlPath ~/.ssh/tsh-%C", "ControlPersist 10m")
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# Begin generated Teleport configuration for %s by tsh\n", text.Line(f.Proxy))
	f.writeTraps(&b)
	for _, c := range f.Clusters {
		f.writeCluster(&b, &q, c, common)
	}
	b.WriteString("\n# End generated Teleport configuration\n")
	return b.String(), q.err
}

// writeCluster writes two blocks: who we are for a cluster's hosts, and for the proxy,
// which is reached without tsh; and the way to the hosts.
func (f *File) writeCluster(b *strings.Builder, q *quoter, c Cluster, common []string) {
	hosts := []string{"*." + c.Suffix}
	for _, other := range f.Clusters { // those below this one in name alone
		if strings.HasSuffix(other.Suffix, "."+c.Suffix) {
			hosts = append(hosts, "!*."+other.Suffix)
		}
	}
	for _, s := range append([]string{f.Proxy, c.Name, c.Suffix}, hosts...) {
		q.checkName(s)
	}
	who := common
	way := []string{}
	if f.Port != 0 {
		way = append(way, "Port "+strconv.Itoa(f.Port))
	}
	command := []string{q.program(f.Program), "proxy", "ssh", "--cluster=" + c.Name, "--proxy=" + q.checkName(f.ProxyAddr)}
	if f.Home != "" && !f.Windows {
		command = append([]string{"env", "TELEPORT_HOME=" + q.shell(f.Home)}, command...)
	}
	if c.Suffix != c.Name {
		command = append(command, "--host-suffix="+c.Suffix)
		who = append([]string{"KnownHostsCommand " + q.argument(f.Program) +
			" config known-host --cluster=" + c.Name + " --proxy=" + f.ProxyAddr + " --host-suffix=" + c.Suffix + " %H %K"}, who...)
	}
	target := "%r@%h:%p"
	if !f.Windows {
		target = "'" + target + "'"
	}
	way = append(way, "ProxyCommand "+strings.Join(append(command, target), " "))

	fmt.Fprintf(b, "\n# Common flags for all %s hosts\n%s\n", c.Name, f.match(q, append(hosts, f.Proxy)))
	writeLines(b, append(who, "StrictHostKeyChecking yes"))
	fmt.Fprintf(b, "\n# Flags for all %s hosts except the proxy\n%s\n", c.Name, f.match(q, append(hosts, "!"+f.Proxy)))
	writeLines(b, way)
}

func writeLines(b *strings.Builder, lines []string) {
	for _, line := range lines {
		b.WriteString("    " + line + "\n")
	}
}

// match begins a block for hosts.
func (f *File) match(q *quoter, hosts []string) string {
	if !f.Guarded || f.Windows {
		return "Host " + strings.Join(hosts, " ")
	}
	return `Match host "` + strings.Join(hosts, ",") + `" exec "` + q.inMatch("test -x "+q.shell(f.Program)) + `"`
}

// writeTraps has names fail that could end the quotes around them in a command, or pass
// for an option of it: older OpenSSH gives them to the shell as they are.
func (f *File) writeTraps(b *strings.Builder) {
	if f.Windows {
		return
	}
	var hosts []string
	for _, c := range f.Clusters {
		hosts = append(hosts, "*."+c.Suffix)
	}
	all := strings.Join(hosts, ",")
	b.WriteString("\n# No name of a host or an account has a quote, or begins with a dash\n")
	for _, names := range []string{`host "*'*"`, `user "*'*,-*"`} {
		fmt.Fprintf(b, "Match host \"%s\" %s\n    ProxyCommand false\n", all, names)
	}
}
