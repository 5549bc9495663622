package main

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// flagValues has a line for each flag that takes one of a few values, with its command
// before it where that matters; the first that fits counts. A flag without values takes
// whatever it does, and no file.
const flagValues = `--add-keys-to-agent auto no yes only
--auth local passwordless headless
tsh ls --format text json yaml names
tsh login --format file openssh tls kubernetes
--format text json yaml
--keystore file keyring keyring,file memory
--mfa-mode auto otp cross-platform platform
--migrate-keys file keyring
--mlock off auto best_effort strict
--type TOTP WEBAUTHN
--cluster
--login
--ttl
--user`

// completeValues has the shell complete what flags take, in cmd and all below it.
func completeValues(cmd *cobra.Command) {
	register := func(f *pflag.Flag) {
		for line := range strings.SplitSeq(flagValues, "\n") {
			command, rest, _ := strings.Cut(line, "--")
			name, values, _ := strings.Cut(rest, " ")
			if name == f.Name && (command == "" || command == cmd.CommandPath()+" ") {
				// It fails for a flag that is not there.
				_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(strings.Fields(values), cobra.ShellCompDirectiveNoFileComp))
				return
			}
		}
	}
	cmd.Flags().VisitAll(register)
	cmd.PersistentFlags().VisitAll(register)
	for _, c := range cmd.Commands() {
		completeValues(c)
	}
}

// checkHelp has the commands of cobra's own refuse names that mean nothing.
func checkHelp(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd("completion")
	for _, c := range root.Commands() {
		switch c.Name() {
		case "help":
			c.Args = func(_ *cobra.Command, args []string) error {
				if found, _, _ := root.Find(args); found == root && len(args) > 0 {
					return usagef("unknown command %q", args[0])
				}
				return nil
			}
		case "completion":
			c.Args = noArgs
			c.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		}
	}
}
