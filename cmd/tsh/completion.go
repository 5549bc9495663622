package main

import (
	"io"
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
--kind ssh kube db app desktop
--keystore file keyring keyring,file memory
--mfa-mode auto otp cross-platform platform
--migrate-keys file keyring
--mlock off auto best_effort strict
--sort name address id label:
--type TOTP WEBAUTHN
--ttl
--user`

// completeValues has the shell complete what flags take, in cmd and all below it.
func completeValues(cmd *cobra.Command) {
	register := func(f *pflag.Flag) {
		for _, line := range strings.Split(flagValues, "\n") {
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

// checkHelp has the help command refuse names that mean nothing.
func checkHelp(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	for _, c := range root.Commands() {
		switch c.Name() {
		case "help":
			c.Args = func(_ *cobra.Command, args []string) error {
				if found, _, _ := root.Find(args); found == root && len(args) > 0 {
					return usagef("unknown command %q", args[0])
				}
				return nil
			}
		}
	}
}

// completionCommand takes the place of the library's, whose scripts evaluate what is typed,
// and do not know that @ begins a word in bash.
func (a *app) completionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|zsh|fish|powershell",
		Short: "Print a script that has a shell complete commands, servers and accounts",
		Long: "completion prints what a shell needs to complete commands, flags, servers, accounts, clusters\n" +
			"and logins. Servers and clusters are those that tsh ls, ssh and clusters have seen; no\n" +
			"network is used.",
		Example: "  eval \"$(tsh completion bash)\"                    # in ~/.bashrc\n" +
			"  eval \"$(tsh completion zsh)\"                     # in ~/.zshrc, after compinit\n" +
			"  tsh completion fish > ~/.config/fish/completions/tsh.fish\n" +
			"  tsh completion powershell | Out-String | Invoke-Expression",
		ValidArgs: []string{"bash", "zsh", "fish", "powershell"},
		Args:      oneArg("the name of a shell: bash, zsh, fish or powershell"),
		RunE:      func(_ *cobra.Command, args []string) error { return a.printCompletion(args[0]) },
	}
}

func (a *app) printCompletion(shell string) error {
	script, ok := map[string]string{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion, "powershell": powershellCompletion}[shell]
	if !ok {
		return usagef("%q: there is completion for bash, zsh, fish and powershell", shell)
	}
	_, err := io.WriteString(a.out, script)
	return err
}
