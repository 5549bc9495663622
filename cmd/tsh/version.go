package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-087d674e/tsh/internal/text"
	"github.com/seed-087d674e/tsh/proxy"
)

// versionOptions are the flags of version.
type versionOptions struct {
	client bool
	format formatFlag
}

func (a *app) versionCommand() *cobra.Command {
	var o versionOptions
	cmd := &cobra.Command{
		Use:     "version [flags]",
		Short:   "Print the version of tsh and of the current proxy",
		Example: "  tsh version --client",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.runVersion(cmd.Context(), o) },
	}
	fs := cmd.Flags()
	fs.BoolVar(&o.client, "client", false, "do not ask the proxy")
	o.format.addFlag(fs, formatText, formatJSON, formatYAML)
	addNegations(fs)
	return cmd
}

// versionInfo is what version prints.
type versionInfo struct {
	_            [0]func() // never compared
	Version      string    `json:"version"`
	GitRef       string    `json:"gitref"`
	Runtime      string    `json:"runtime"`
	ProxyVersion string    `json:"proxyVersion,omitempty"`
	ProxyAddr    string    `json:"proxyPublicAddress,omitempty"`
}

// clientVersion asks for the version of this program alone.
func clientVersion() versionOptions {
	return versionOptions{client: true, format: formatFlag{value: formatText, allowed: []string{formatText}}}
}

func (a *app) runVersion(ctx context.Context, o versionOptions) error {
	format, err := o.format.pick(&a.globals)
	if err != nil {
		return err
	}
	v := buildVersion()
	if !o.client {
		a.addProxyVersion(ctx, &v)
	}
	if format != formatText {
		return writeData(a.out, format, v)
	}
	fmt.Fprintf(a.out, "tsh v%s git:%s %s\n", v.Version, v.GitRef, v.Runtime)
	if v.ProxyVersion != "" {
		fmt.Fprintf(a.out, "Proxy version: %s\nProxy: %s\n", text.Line(v.ProxyVersion), text.Line(v.ProxyAddr))
	}
	return nil
}

// buildVersion is what the build recorded of itself.
func buildVersion() versionInfo {
	v := versionInfo{Version: "0.0.0-dev", Runtime: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if recorded := strings.TrimPrefix(info.Main.Version, "v"); recorded != "" && recorded != "(devel)" {
		v.Version = recorded
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			v.GitRef = s.Value
		}
	}
	return v
}

// addProxyVersion asks the current proxy, if there is one, for a short while.
// That it cannot be asked is no failure of the command.
func (a *app) addProxyVersion(ctx context.Context, v *versionInfo) {
	addr, name, ok := a.versionProxy()
	if !ok {
		return
	}
	const patience = 5 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	client, err := a.webClient(addr, 0)
	if err != nil {
		a.ui.say("The proxy %s could not be asked for its version: %v", addr.Web(), err)
		return
	}
	defer client.Close()
	ping, err := client.Ping(ctx, "")
	if err != nil {
		a.ui.say("The proxy %s could not be asked for its version: %v", name, err)
		return
	}
	v.ProxyVersion, v.ProxyAddr = ping.ServerVersion, ping.Settings(client.WebAddr()).WebAddr
}

// versionProxy is the proxy to ask, if there is one. An identity file says nothing of it.
func (a *app) versionProxy() (addr proxy.Addr, name string, ok bool) {
	if a.globals.hasIdentity() {
		addr, err := proxy.ParseAddr(a.globals.proxy)
		return addr, a.globals.proxy, err == nil
	}
	store, err := a.openStore()
	if err != nil {
		return addr, "", false
	}
	target, err := a.loginTarget(store)
	if err != nil {
		return addr, "", false
	}
	return target.addr, target.proxy, true
}
