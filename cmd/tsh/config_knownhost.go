package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"

	"github.com/seed-087d674e/tsh/keystore"
	"github.com/seed-087d674e/tsh/sshclient"
)

// A host with a suffix of one's own has a certificate for its name in the cluster, which
// OpenSSH does not compare with anything else than the name it was called with. So tsh
// judges the certificate under the name in the cluster and, if it holds, answers that the
// key in it is the one of the host: KnownHostsCommand, from 8.5 on. Older versions
// do not read such a file.

// checkSSHVersion refuses an OpenSSH that would not read a file with such a command at
// all. Where there is none, or it does not say, nothing is refused.
func checkSSHVersion(ctx context.Context) error {
	path, err := exec.LookPath("ssh")
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	out, _ := exec.CommandContext(ctx, path, "-V").CombinedOutput()
	version, ok := strings.CutPrefix(string(out), "OpenSSH_")
	version = version[:len(version)-len(strings.TrimLeft(version, "0123456789."))]
	major, minor, _ := strings.Cut(version, ".")
	if ok && len(major) == 1 && (major < "8" || major == "8" && minor < "5") {
		return fmt.Errorf("%s is OpenSSH %s, and --suffix needs 8.5: older versions compare a host's certificate with the name that was typed", path, version)
	}
	return nil
}

func (a *app) knownHostCommand() *cobra.Command {
	var suffix string
	cmd := &cobra.Command{
		Use:    "known-host [flags] HOST KEY",
		Short:  "Print the line of known_hosts for a host that proves to be of the cluster",
		Hidden: true, // for the file that config makes
		Args:   cobra.ExactArgs(2),
		RunE:   func(_ *cobra.Command, args []string) error { return a.runKnownHost(args[0], args[1], suffix) },
	}
	fs := cmd.Flags()
	fs.StringVar(&a.globals.cluster, "cluster", "", "the `CLUSTER` of the host")
	fs.StringVar(&suffix, "host-suffix", "", "what hosts have in the place of the cluster's name")
	return cmd
}

func (a *app) runKnownHost(host, key, suffix string) error {
	blob, err := base64.StdEncoding.DecodeString(key)
	if key == "NONE" { // OpenSSH asks before it has a key, too
		return nil
	}
	if err != nil {
		return usagef("the key of %q: %w", host, err)
	}
	node, ok := strings.CutSuffix(host, "."+suffix)
	if suffix == "" || !ok {
		return usagef("%s does not end in .%s", host, suffix)
	}
	if target, err := sshclient.ParseTarget(host); err != nil || target.Host != host {
		return usagef("%q is no host", host)
	}
	store, err := a.openStore()
	if err != nil {
		return err
	}
	p, err := a.selectProfile(store)
	if err != nil {
		return err
	}
	pub, err := ssh.ParsePublicKey(blob)
	if err != nil {
		return fmt.Errorf("the key of %s: %w", host, err)
	}
	cluster := a.cluster(p)
	check, err := keystore.Dir{Home: store.Home()}.HostKeys(p.Host(), cluster, a.now())
	if err == nil {
		err = check(node+"."+cluster, nil, pub)
	}
	if err != nil {
		return err
	}
	certified := pub.(*ssh.Certificate).Key // or it would not have passed
	fmt.Fprintf(a.out, "%s %s", host, ssh.MarshalAuthorizedKey(certified))
	return nil
}
