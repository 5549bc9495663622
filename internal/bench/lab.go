package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"time"

	"github.com/seed-087d674e/tsh/internal/devcluster"
	"github.com/seed-087d674e/tsh/internal/netsim"
	"github.com/seed-087d674e/tsh/internal/release"
)

const (
	password = "canary-bench"
	// patience limits every program.
	patience = 5 * time.Minute
	// sshdNode is the node that is an OpenSSH server: what all clients go to.
	sshdNode  = "bench"
	manyNodes = 200
)

// lab is the place where programs are measured: a cluster and an OpenSSH server
// behind a network that delays, and somebody who has logged in.
type lab struct {
	dir                 string
	tsh, ssh, reference string // the last two are empty where they are not there
	net                 *netsim.Network
	cluster             *devcluster.Cluster
	me                  string
	home                string // of tsh, and a copy for the reference
	env                 []string
	sshdAddr            string // through the network
	sshConfig           string
	peak                int64 // memory of what run ran last
	closers             []func() error
}

func newLab() (l *lab, err error) {
	l = &lab{net: netsim.New(), reference: os.Getenv("TSH_REFERENCE")}
	if l.dir, err = os.MkdirTemp("", "tsh-bench-"); err != nil {
		return nil, err
	}
	l.closers = append(l.closers, func() error { return os.RemoveAll(l.dir) }, l.net.Close)
	defer func() {
		if err != nil {
			err = errors.Join(err, l.close())
		}
	}()
	l.tsh, l.home = filepath.Join(l.dir, "tsh"), filepath.Join(l.dir, "state")
	if err := release.Command(context.Background(), l.dir+string(filepath.Separator), "./cmd/tsh", "./internal/bench/hello", "./internal/bench/peak").Run(); err != nil {
		return nil, err
	}
	if l.ssh, err = exec.LookPath("ssh"); err != nil {
		fmt.Println("left out: OpenSSH (ssh is not installed)")
	}
	if l.reference == "" {
		fmt.Println("left out: another tsh (TSH_REFERENCE does not name its binary)")
	}
	return l, nil
}

// open starts the cluster, once.
func (l *lab) open() error {
	if l.cluster != nil {
		return nil
	}
	if err := l.startCluster(); err != nil {
		return err
	}
	if err := l.startSSHD(); err != nil {
		return err
	}
	return l.login()
}

func (l *lab) close() error {
	var errs []error
	for i := len(l.closers) - 1; i >= 0; i-- {
		errs = append(errs, l.closers[i]())
	}
	return errors.Join(errs...)
}

func (l *lab) startCluster() error {
	me, err := user.Current()
	if err != nil {
		return err
	}
	l.me = me.Username
	front, err := l.net.Listen("")
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(front.Addr())
	if err != nil {
		return err
	}
	l.cluster, err = devcluster.Start(context.Background(), devcluster.Config{
		Dir: filepath.Join(l.dir, "cluster"), Addr: "127.0.0.1:0", PublicAddr: "localhost:" + port,
		SecondFactor: "off", PasswordCost: 4, NoRateLimit: true, Home: l.dir, Nodes: manyNodes, NodeLabels: map[string]string{"cluster": "bench"},
	})
	if err != nil {
		return err
	}
	l.closers = append(l.closers, l.cluster.Close)
	front.SetTarget(l.cluster.Addr())
	_, err = l.cluster.AddUser(devcluster.UserSpec{Name: "alice", Password: password, Roles: []string{"access"}, Logins: []string{l.me}})
	l.env = append(os.Environ(), "TELEPORT_HOME="+l.home, "SSL_CERT_FILE="+l.cluster.CAFile(), "TELEPORT_PROXY=", "TERM=dumb")
	return err
}

// startSSHD starts OpenSSH's server as a node of the cluster, if it is installed.
func (l *lab) startSSHD() error {
	sshd, err := exec.LookPath("sshd")
	if err != nil {
		if sshd, err = exec.LookPath("/usr/sbin/sshd"); err != nil {
			return errors.New("sshd is not installed: it is what all clients are measured with")
		}
	}
	if os.Getuid() == 0 {
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			return err
		}
	}
	key := filepath.Join(l.dir, "host")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key).CombinedOutput(); err != nil {
		return fmt.Errorf("ssh-keygen: %w: %s", err, out)
	}
	public, err := os.ReadFile(key + ".pub")
	if err != nil {
		return err
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	addr := free.Addr().String()
	_ = free.Close()
	files, err := l.cluster.AddSSHD(devcluster.SSHDSpec{Hostname: sshdNode, Addr: addr, HostKey: string(public), Labels: map[string]string{"env": "bench"}})
	if err != nil {
		return err
	}
	_, port, _ := net.SplitHostPort(addr)
	config := fmt.Sprintf("ListenAddress 127.0.0.1\nPort %s\nHostKey %s\nHostCertificate %s\nTrustedUserCAKeys %s\n"+
		"AuthorizedKeysFile none\nPidFile none\nUsePAM no\nStrictModes no\nPermitRootLogin yes\nPrintMotd no\nPrintLastLog no\n"+
		"Subsystem sftp internal-sftp\nMaxStartups 500\nMaxSessions 500\n", port, key, key+"-cert.pub", key+"-ca.pub")
	for name, content := range map[string]string{key + "-cert.pub": files.HostCertificate, key + "-ca.pub": files.UserAuthority, key + ".conf": config} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			return err
		}
	}
	cmd := exec.Command(sshd, "-D", "-e", "-f", key+".conf")
	if err := cmd.Start(); err != nil {
		return err
	}
	l.closers = append(l.closers, func() error {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return nil
	})
	front, err := l.net.Listen(addr)
	if err != nil {
		return err
	}
	l.sshdAddr = front.Addr()
	return waitFor(addr)
}

// waitFor waits until somebody listens.
func waitFor(addr string) error {
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			return conn.Close()
		}
		if time.Now().After(end) {
			return err
		}
	}
}

// login logs in and configures OpenSSH: directly to the server, and through tsh.
func (l *lab) login() error {
	if _, err := l.run(l.loginCommand()); err != nil {
		return err
	}
	if l.ssh == "" {
		return nil
	}
	through, err := l.run(l.command(l.tsh, "config", "-l", l.me))
	if err != nil {
		return err
	}
	host, port, _ := net.SplitHostPort(l.sshdAddr)
	direct := fmt.Sprintf("Host direct\nHostName %s\nPort %s\nHostKeyAlias %s.dev.example\n", host, port, sshdNode)
	const common = "Host *\nBatchMode yes\nGlobalKnownHostsFile none\nIdentityAgent none\nStrictHostKeyChecking yes\n"
	l.sshConfig = filepath.Join(l.dir, "ssh_config")
	keys := strings.ReplaceAll(through, "Host *.dev.example", "Host direct *.dev.example")
	keys = strings.ReplaceAll(keys, "Host direct *.dev.example !", "Host *.dev.example !")
	return os.WriteFile(l.sshConfig, []byte(direct+keys+common), 0o600)
}

func (l *lab) loginCommand() *exec.Cmd {
	cmd := l.command(l.tsh, "login", "--proxy="+l.cluster.PublicAddr(), "--user=alice", "--password-stdin", "--force")
	cmd.Stdin = strings.NewReader(password + "\n")
	return cmd
}

// command is a program with the login in its environment.
func (l *lab) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.Env, cmd.Dir = l.env, l.dir
	return cmd
}

// run returns the output of a command that has to work, in time.
func (l *lab) run(cmd *exec.Cmd) (string, error) {
	var out, problems bytes.Buffer
	if cmd.Stdout == nil {
		cmd.Stdout = &out
	}
	cmd.Stderr = &problems
	if err := cmd.Start(); err != nil {
		return "", err
	}
	late := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	stop := watchMemory(cmd.Process.Pid)
	err := cmd.Wait()
	l.peak = stop()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, problems.String())
	}
	return out.String(), nil
}

// client is one of the programs that are compared, with what runs a command on the server.
type client struct {
	name    string
	command func(command string) *exec.Cmd
}

// clients are those that run commands on the OpenSSH server.
func (l *lab) clients() []client {
	list := []client{{"tsh ssh", func(command string) *exec.Cmd { return l.command(l.tsh, "ssh", l.me+"@"+sshdNode, command) }}}
	if l.ssh != "" {
		list = append(list,
			client{"ssh direct", func(command string) *exec.Cmd { return l.command(l.ssh, "-F", l.sshConfig, "direct", command) }},
			client{"ssh + proxy ssh", func(command string) *exec.Cmd {
				return l.command(l.ssh, "-F", l.sshConfig, sshdNode+".dev.example", command)
			}})
	}
	if l.reference != "" {
		list = append(list, client{"reference ssh", func(command string) *exec.Cmd { return l.command(l.reference, "ssh", l.me+"@"+sshdNode, command) }})
	}
	return list
}
