// Package friendstest holds the tests that run other programs over tsh: OpenSSH's
// ssh, scp, sftp and sshd, rsync, git, Ansible, and what VS Code starts. It has no
// code but tests.
package friendstest
