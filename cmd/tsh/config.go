package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seed-087d674e/tsh/internal/sshagent"
	"github.com/seed-087d674e/tsh/internal/sshconfig"
	"github.com/seed-087d674e/tsh/internal/text"
	"github.com/seed-087d674e/tsh/keystore"
	"github.com/seed-087d674e/tsh/profile"
	"github.com/seed-087d674e/tsh/sshclient"
)

// configOptions are the flags of config. Those with a name in JSON are remembered in a
// file that was installed.
type configOptions struct {
	Login         string   `json:"login,omitempty"`
	Port          int      `json:"port,omitempty"`
	Suffixes      []string `json:"suffixes,omitempty"` // NAME, or CLUSTER=NAME
	ControlMaster bool     `json:"control_master,omitempty"`

	refresh   bool
	install   bool
	uninstall bool
	include   bool
	beside    bool
}

func (a *app) configCommand() *cobra.Command {
	var o configOptions
	cmd := &cobra.Command{
		Use:   "config [flags]",
		Short: "Configure OpenSSH to reach servers through the proxy",
		Long: "config prints a configuration for OpenSSH: NODE.CLUSTER is reached through tsh, for the\n" +
			"cluster of the login and every leaf cluster that is known. It needs no network.\n\n" +
			"With --install it goes into a file under ~/.ssh/config.d, which is kept up to date, and\n" +
			"with --include the one line that has OpenSSH read such files goes into ~/.ssh/config.",
		Example: "  tsh config >> ~/.ssh/config\n  tsh config --install --include\n  tsh config --install --suffix=prod --control-master\n  tsh config --uninstall",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.runConfig(cmd.Context(), o) },
	}
	fs := cmd.Flags()
	fs.IntVarP(&o.Port, "port", "p", 0, "the `PORT` of the servers; any if not given")
	fs.StringArrayVar(&o.Suffixes, "suffix", nil, "servers are NODE.`NAME` instead of NODE.CLUSTER; CLUSTER=NAME for a leaf cluster")
	fs.BoolVar(&o.ControlMaster, "control-master", false, "connections to one server share one, for ten minutes after the last")
	fs.BoolVar(&o.refresh, "refresh", false, "ask the cluster which leaf clusters there are")
	fs.BoolVar(&o.install, "install", false, "write the configuration to a file of its own")
	fs.BoolVar(&o.include, "include", false, "with --install: have ~/.ssh/config include such files")
	fs.BoolVar(&o.beside, "beside", false, "with --install: put the file into the profile directory, not under ~/.ssh")
	fs.BoolVar(&o.uninstall, "uninstall", false, "remove what --install and --include have written")
	addNegations(fs)
	cmd.AddCommand(a.knownHostCommand())
	return cmd
}

func (o *configOptions) check() error {
	switch {
	case o.Port < 0 || o.Port > 65535:
		return usagef("-p %d: a port is a number from 1 to 65535", o.Port)
	case o.install && o.uninstall:
		return usagef("--install and --uninstall exclude each other")
	case (o.include || o.beside) && !o.install:
		return usagef("--include and --beside say how --install installs; there is no --install")
	}
	for _, s := range o.Suffixes {
		cluster, name, two := strings.Cut(s, "=")
		if !two {
			name, cluster = cluster, "x"
		}
		if err := errors.Join(keystore.CheckName("cluster", cluster), keystore.CheckName("cluster", name)); err != nil {
			return usagef("--suffix=%s: %w", text.Line(s), err)
		}
	}
	if o.Login == "" {
		return nil
	}
	if target, err := sshclient.ParseTarget(o.Login + "@host"); err != nil || target.Login != o.Login {
		return usagef("--login=%s cannot be an account", text.Line(o.Login))
	}
	return nil
}

func (a *app) runConfig(ctx context.Context, o configOptions) error {
	if err := a.globals.refuseIdentity("config"); err != nil {
		return err
	}
	o.Login = a.globals.login
	if err := o.check(); err != nil {
		return err
	}
	if len(o.Suffixes) > 0 {
		if err := checkSSHVersion(ctx); err != nil {
			return err
		}
	}
	store, err := a.openStore()
	if err != nil {
		return err
	}
	if o.uninstall {
		return a.uninstallConfig(store)
	}
	if o.refresh {
		if err := a.withSession(ctx, a.fetchLeaves); err != nil {
			return err
		}
	}
	p, err := a.selectProfile(store)
	if err != nil {
		return err
	}
	file, err := a.sshConfig(store, p, o)
	if err != nil {
		return err
	}
	if o.install {
		return a.installConfig(ctx, store, p, file, o)
	}
	rendered, err := file.Render()
	if err != nil {
		return withHint(err, configPathHint)
	}
	fmt.Fprint(a.out, rendered)
	return nil
}

const configPathHint = "TELEPORT_HOME names another profile directory, and tsh can be started from another place"

// fetchLeaves stores the authorities of the leaf clusters that there are for this person.
func (a *app) fetchLeaves(ctx context.Context, s *session) error {
	client, err := a.connectAPI(ctx, s)
	if err != nil {
		return err
	}
	defer client.Close()
	clusters, err := client.Clusters(ctx)
	if err != nil {
		return err
	}
	s.cluster = s.id.RootCluster()
	wanted := make(map[string]bool)
	for _, c := range clusters {
		wanted[c.Name] = true
	}
	trusting, err := a.authoritiesOf(ctx, client, s, func(cluster string) bool { return wanted[cluster] })
	if err != nil {
		return err
	}
	store, err := a.openStore()
	if err != nil {
		return err
	}
	if err := store.AddAuthorities(ctx, s.profile, trusting); err != nil {
		return err
	}
	a.renewConfig(ctx, store, s.profile)
	return nil
}

// sshConfig is the configuration for a profile, from what is stored alone.
func (a *app) sshConfig(store *profile.Store, p *profile.Profile, o configOptions) (*sshconfig.File, error) {
	id, err := store.IdentityPublic(p)
	if err != nil {
		return nil, err
	}
	if err := id.CheckTime(a.now()); err != nil {
		a.ui.warn("%v; the configuration is good for the next login, too", err)
	}
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	f := &sshconfig.File{
		Program: program, Proxy: p.Host(), ProxyAddr: p.WebProxyAddr, Login: o.Login, Port: o.Port, ControlMaster: o.ControlMaster,
		Windows: runtime.GOOS == "windows", KnownHosts: filepath.Join(store.Home(), "known_hosts"),
	}
	if f.Clusters, err = clustersFor(store, p, id.RootCluster(), o.Suffixes); err != nil {
		return nil, err
	}
	return f, a.placeIdentity(store, p, id, f)
}

// clustersFor are the clusters whose authorities are known, the root first, with their
// suffixes.
func clustersFor(store *profile.Store, p *profile.Profile, root string, suffixes []string) ([]sshconfig.Cluster, error) {
	known, err := keystore.Dir{Home: store.Home(), AllAuthorities: true}.Authorities(p.Host(), root)
	if err != nil {
		return nil, err
	}
	var clusters []sshconfig.Cluster
	for _, k := range known {
		if len(k.SSHKeys) > 0 {
			clusters = append(clusters, sshconfig.Cluster{Name: k.Cluster, Suffix: k.Cluster})
		}
	}
	if len(clusters) == 0 || clusters[0].Name != root {
		return nil, fmt.Errorf("%w: no host authority of cluster %s is stored", keystore.ErrDamaged, text.Line(root))
	}
	for _, s := range suffixes {
		cluster, name, two := strings.Cut(s, "=")
		if !two {
			name, cluster = cluster, root
		}
		i := 0
		for i < len(clusters) && clusters[i].Name != cluster {
			i++
		}
		if i == len(clusters) {
			return nil, withHint(fmt.Errorf("--suffix=%s: cluster %s is not known here", text.Line(s), text.Line(cluster)), "tsh config --refresh asks which leaf clusters there are")
		}
		clusters[i].Suffix = name
	}
	taken := map[string]bool{}
	for _, c := range clusters {
		if taken[c.Suffix] {
			return nil, usagef("two clusters would have the suffix %s", c.Suffix)
		}
		taken[c.Suffix] = true
	}
	return clusters, nil
}

// placeIdentity says where OpenSSH finds the certificate, which is one file for all
// clusters, and the key. A key that is in no file that OpenSSH can read is taken from
// the ssh-agent; where that does not have it the person is told what to do.
func (a *app) placeIdentity(store *profile.Store, p *profile.Profile, id *keystore.Identity, f *sshconfig.File) error {
	dir := filepath.Join(store.Home(), "keys", p.Host())
	f.IdentityFile = filepath.Join(dir, p.User)
	f.CertificateFile = filepath.Join(dir, p.User+"-ssh", id.Cluster+"-cert.pub")
	if root := filepath.Join(dir, p.User+"-ssh", id.RootCluster()+"-cert.pub"); root != f.CertificateFile {
		if _, err := os.Stat(root); err == nil {
			f.CertificateFile = root
		}
	}
	sealed, err := keystore.Dir{Home: store.Home()}.SealedSlots(p.Host(), p.User)
	if err != nil {
		return err
	}
	if !id.InAgent && len(sealed) == 0 {
		return nil
	}
	f.FromAgent = true
	if err := agentHas(id); err != nil {
		a.ui.warn("OpenSSH can take the private key from the ssh-agent alone, and now it cannot: %v\n"+
			"log in again where an ssh-agent runs: tsh login --force --add-keys-to-agent=yes\n"+
			"or keep the key in a file, for OpenSSH: tsh login --keystore=file --force; tsh ssh works as it is", err)
	}
	return nil
}

// agentHas makes sure that the ssh-agent has the key of id.
func agentHas(id *keystore.Identity) error {
	agent, err := sshagent.Dial(profile.AgentPatience)
	if err != nil {
		return err
	}
	defer agent.Close()
	held, err := agent.List()
	if err != nil {
		return err
	}
	blob := string(id.SSHCert.Marshal())
	for _, h := range held {
		if string(h.Blob) == blob {
			return nil
		}
	}
	return errors.New("it does not have the key of this login")
}
