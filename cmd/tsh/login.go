package main

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/seed-087d674e/tsh/keystore"
)

// loginOptions are the flags of login.
type loginOptions struct {
	force         bool
	ifExpires     span // with --if-expires-within
	passwordStdin bool
	verbose       bool
	migrateKeys   string
	out           outOptions
	request       requestOptions
}

func (a *app) loginCommand() *cobra.Command {
	var o loginOptions
	cmd := &cobra.Command{
		Use:   "login [flags] [CLUSTER]",
		Short: "Log in to a cluster, or select a login that is still valid",
		Long: "login authenticates with the cluster's web proxy and stores short-lived certificates,\n" +
			"with a password or, where the cluster has a connector for it, through the browser.\n" +
			"Where a valid login for the same proxy and user is there already, it is selected, and a\n" +
			"line says so; --force logs in again, --if-expires-within if it does not last long enough.\n" +
			"Without --proxy the proxy of the last login is taken. Where another process is logging in\n" +
			"to the same proxy, it is waited for.\n" +
			"With --out the login goes into a file for a program, and nothing is stored; with\n" +
			"--identity such a file becomes a stored login.\n" +
			"CLUSTER selects the proxy's own cluster or a leaf of it, without a new login if one is valid.",
		Example: "  tsh login --proxy=teleport.example.com --user=alice\n" +
			"  tsh login --proxy=teleport.example.com --auth=corp-sso\n" +
			"  tsh login --proxy=teleport.example.com --browser=none\n" +
			"  tsh login --force\n" +
			"  tsh login --if-expires-within=30m && ansible-playbook site.yml\n" +
			"  tsh login leaf.example.com\n" +
			"  tsh login --request-roles=dba --request-reason='ticket 12'\n" +
			"  tsh login --proxy=teleport.example.com --auth=passwordless\n" +
			"  tsh login --proxy=localhost:3080 --ca-file=ca.pem\n" +
			"  tsh login --proxy=teleport.example.com --keystore=keyring\n" +
			"  tsh login --proxy=teleport.example.com --add-keys-to-agent=only\n" +
			"  tsh login --migrate-keys=keyring\n" +
			"  tsh login --proxy=teleport.example.com --ttl=60 --out=robot.identity\n" +
			"  tsh login --proxy=teleport.example.com --out=id --format=openssh --overwrite\n" +
			"  tsh login --proxy=teleport.example.com --identity=robot.identity\n" +
			"  printf '%s\\n%s\\n' \"$PASSWORD\" \"$CODE\" | tsh login --proxy=localhost:3080 --password-stdin",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("%s takes one cluster, not %q as well", cmd.CommandPath(), args[1])
			}
			return o.request.check()
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				a.globals.cluster = args[0]
			}
			if err := o.checkIfExpires(&a.globals); err != nil {
				return err
			}
			if done, err := a.loginWithFile(cmd.Context(), &o); done || err != nil {
				return err
			}
			return a.runLogin(cmd.Context(), o)
		},
	}
	o.addFlags(cmd.Flags(), &a.globals)
	return cmd
}

func (o *loginOptions) addFlags(fs *pflag.FlagSet, g *globals) {
	fs.BoolVar(&o.force, "force", false, "authenticate even if there is a valid login")
	fs.Var(&o.ifExpires, "if-expires-within", "authenticate only if the login ends within this `TIME`, 30m or 1h30m")
	fs.BoolVar(&o.passwordStdin, "password-stdin", false, "read the password from line 1 of stdin, and the one-time code, if one is needed, from line 2")
	fs.StringVar(&o.migrateKeys, "migrate-keys", "", "move the private keys of a login that is there to `PLACE`, file or keyring, and do nothing else")
	fs.StringVarP(&g.cluster, "cluster", "c", "", "the `CLUSTER` to select, as the argument [TELEPORT_CLUSTER]")
	o.request.addFlags(fs)
	g.addKeystore(fs)
	o.out.addFlags(fs)
	fs.BoolVarP(&o.verbose, "verbose", "v", false, "also list the variables that replace what is stored")
	addNegations(fs)
}

func (a *app) runLogin(ctx context.Context, o loginOptions) error {
	if a.globals.keystore == string(keysInMemory) && a.globals.addKeysToAgent != agentOnly && o.migrateKeys == "" {
		return usagef("login with --keystore=memory (or TSH_KEYSTORE) would leave nothing to log in with; --add-keys-to-agent=only keeps the key in the ssh-agent, and ssh and ls log in for themselves with --keystore=memory")
	}
	if err := a.checkCluster(); err != nil {
		return err
	}
	store, err := a.openStore()
	if err != nil {
		return err
	}
	if o.migrateKeys != "" {
		return a.runMigrateKeys(ctx, store, o)
	}
	target, err := a.wantedTarget(store, &o)
	if err != nil {
		return err
	}
	var judged *keystore.Identity
	if target.known != nil && !o.force {
		var done bool
		if done, judged, err = a.reuse(ctx, store, target, o); done || err != nil {
			return err
		}
	}
	return a.loginOnce(ctx, store, target, judged, o)
}

// loginFormat is how login prints what it leaves: it has --json and no --format,
// which elsewhere names the format of an identity file.
func (a *app) loginFormat() string {
	if a.globals.json {
		return formatJSON
	}
	return formatText
}
