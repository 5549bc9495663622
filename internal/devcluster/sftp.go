package devcluster

import (
	"cmp"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// noCopying is what a node says on stderr to who may not copy files.
const noCopying = "file copying via SCP or SFTP is not permitted"

// nodeHome is where sessions begin.
func (c *Cluster) nodeHome() string { return cmp.Or(c.home, homeDir()) }

// startSubsystem starts the one subsystem that there is, once the answer is out.
func (s *session) startSubsystem(name string) bool {
	switch {
	case s.child != nil || s.pty != nil || s.sftp:
		return false
	case name != "sftp":
		return s.fail("no such subsystem: " + name)
	case s.nc.noCopying:
		s.nc.noteDenied(noCopying)
		return s.fail(noCopying)
	}
	s.sftp = true
	return true
}

// serveSFTP serves the files of this machine, from the home directory on, until the
// client leaves.
func (s *session) serveSFTP() {
	defer s.noteEnd()
	defer s.channel.Close()
	server, err := sftp.NewServer(s.channel, sftp.WithServerWorkingDirectory(s.nc.cluster.nodeHome()))
	if err != nil {
		s.nc.cluster.log.Error("sftp not started", "node", s.nc.node.hostname, "reason", err)
		return
	}
	status := uint32(0)
	defer func() { s.record.ends(int(status)) }()
	if err := server.Serve(); err != nil {
		s.nc.cluster.log.Info("sftp ended", "node", s.nc.node.hostname, "reason", err)
		status = 1
	}
	// Closing the server would close the channel before the status is out.
	_, _ = s.channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{status}))
}
