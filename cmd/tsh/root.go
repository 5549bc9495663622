package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-087d674e/tsh/internal/tshconfig"
	"github.com/seed-087d674e/tsh/profile"
)

// app is one run of the program: what every command works with.
type app struct {
	io      streams
	out     *dataWriter // stdout for data
	ui      *tui
	now     func() time.Time
	globals globals
	guard   *guard
	store   *profile.Store // see openStore
	link    linkOptions

	settings    *tshconfig.Config // what the files say; see useSettings
	settingsErr error             // ... or why they say nothing

	batch           bool  // nobody is to be asked anything
	piped           bool  // stdout belongs to another program, which ends this one with a signal
	storeless       bool  // nothing is to be stored, whatever happens
	headlessRefused error // why this command cannot log in headless

	banner       func(string) // shows what servers say before the login; nil shows each of them
	streamBuffer int          // what may come from a server before it is read; 0 is the default
}

// testOnlyNow replaces the clock that certificates are judged by.
var testOnlyNow func() time.Time

// run carries out one command line and returns the exit code.
func run(args []string, s streams) int {
	a := &app{io: s, out: &dataWriter{w: s.out}, ui: newTUI(s), now: time.Now, guard: new(guard), settings: new(tshconfig.Config)}
	if testOnlyNow != nil {
		a.now = testOnlyNow
	}
	ctx, stop := untilSignal(context.Background(), a.guard)
	defer stop()

	root := a.rootCommand()
	args, err := a.useSettings(ctx, root, args)
	if err != nil {
		return a.report(err)
	}
	root.SetArgs(args)
	if len(args) > 0 && strings.HasPrefix(args[0], cobra.ShellCompRequestCmd) {
		completeValues(root)
		a.completeNames(root)
	}
	cmd, err := root.ExecuteContextC(ctx)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause // the signal is why, whatever broke first
	}
	if isUsage(err) && wantsJSON(args) {
		a.globals.json = true // it may not have been parsed
	}
	if err == nil {
		err = a.out.err // whatever was not printed was not done
	}
	if isUsage(err) {
		err = withHint(err, "see: %s --help", cmd.CommandPath())
	}
	return a.report(err)
}

// untilSignal ends the context when the person or the system asks the program
// to stop. A second signal ends the program at once, with the terminal as it
// was.
func untilSignal(parent context.Context, g *guard) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, endSignals()...)
	over := make(chan struct{})
	go func() {
		for again := false; ; again = true {
			select {
			case s := <-signals:
				number, _ := s.(syscall.Signal)
				if again {
					g.fire()
					os.Exit(exitSignal + int(number))
				}
				cancel(&interrupted{number})
			case <-over:
				return
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(over)
		cancel(nil)
	}
}

func (a *app) rootCommand() *cobra.Command {
	var version bool
	root := &cobra.Command{
		Use:   "tsh",
		Short: "Log in to a Teleport cluster and connect to its servers",
		Long: "tsh logs in to a Teleport cluster through its web proxy, keeps short-lived\n" +
			"certificates under ~/.tsh, and connects to servers through the proxy. Kubernetes (kube),\n" +
			"databases (db) and applications (apps) are for the official client, on the same login.",
		Example: "  tsh login --proxy=teleport.example.com --user=alice\n" +
			"  tsh ls env=prod\n" +
			"  tsh ssh root@web-1 uptime",
		SilenceErrors:     true,
		SilenceUsage:      true,
		PersistentPreRunE: a.prepare,
		// Without a command there is nothing to do but say what there is.
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, shell := range []string{"bash", "zsh"} { // as other clients have it
				if cmd.Flags().Changed("completion-script-" + shell) {
					return a.printCompletion(shell)
				}
			}
			if version {
				return a.runVersion(cmd.Context(), clientVersion())
			}
			return cmd.Help()
		},
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command %q", args[0])
			}
			return nil
		},
	}
	root.SetIn(a.io.in)
	root.SetOut(a.io.out)
	root.SetErr(a.io.err)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return flagError(err) })
	a.globals.addFlags(root.PersistentFlags())
	root.Flags().BoolVar(&version, "version", false, "print the version of tsh")
	for _, shell := range []string{"bash", "zsh"} {
		root.Flags().Bool("completion-script-"+shell, false, "")
		root.Flags().Lookup("completion-script-" + shell).Hidden = true
	}
	root.AddCommand(
		a.loginCommand(), a.logoutCommand(), a.statusCommand(), a.lsCommand(),
		a.sshCommand(), a.scpCommand(), a.proxyCommand(), a.mfaCommand(), a.envCommand(), a.doctorCommand(), a.versionCommand(),
		a.profilesCommand(), a.useCommand(), a.headlessCommand(), a.clustersCommand(), a.completionCommand(),
		a.resolveCommand(), a.sessionsCommand(), a.configCommand(), a.requestCommand(),
	)
	root.AddCommand(elsewhereCommands()...)
	_ = root.RegisterFlagCompletionFunc("proxy", completeProxy) // fails for an unknown flag only
	checkHelp(root)
	return root
}

// prepare fills flags from the environment and sets up logging, before any
// command runs.
func (a *app) prepare(cmd *cobra.Command, _ []string) error {
	if err := a.globals.complete(cmd.Flags()); err != nil {
		return flagError(err)
	}
	var logs io.Writer = io.Discard
	level := slog.LevelError
	if a.globals.debug {
		logs, level = a.ui.err, slog.LevelDebug
	}
	// The standard logger, which net/http complains to, writes there as well.
	slog.SetDefault(slog.New(slog.NewTextHandler(logs, &slog.HandlerOptions{Level: level})))
	if err := a.checkSettings(cmd); err != nil {
		return err
	}
	if err := a.admitHeadless(cmd); err != nil {
		return err
	}
	if err := a.admitJump(cmd); err != nil {
		return err
	}
	if err := a.keepOutOfSwap(); err != nil {
		return err
	}
	if a.globals.insecure {
		a.ui.warn("--insecure: the proxy's certificate is not checked; anyone on the way can read what is typed here")
	}
	return nil
}

// flagError words a mistake in a flag without what Go's parsers say of
// themselves.
func flagError(err error) error {
	message := err.Error()
	if _, named, ok := strings.Cut(message, "\" flag: -"); ok { // a value that names its flag itself
		message = "-" + named
	}
	if i := strings.Index(message, "strconv."); i >= 0 {
		reason := message[strings.LastIndex(message, ": ")+2:]
		if reason == strconv.ErrSyntax.Error() {
			reason = "a number is needed"
			if strings.HasPrefix(message[i:], "strconv.ParseBool") {
				reason = "true or false is needed"
			}
		}
		message = message[:i] + reason
	}
	return usagef("%s", message)
}

// noArgs turns an argument where none is meant into a usage error.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("%s takes no argument %q", cmd.CommandPath(), args[0])
	}
	return nil
}

// oneArg makes of anything but one argument a usage error, which says what it is.
func oneArg(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 || args[0] == "" {
			return usagef("%s needs %s", cmd.CommandPath(), what)
		}
		return nil
	}
}

// onlyCommands turns an argument of a group of commands that is none of them into a
// usage error.
func onlyCommands(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("unknown command %q of %s", args[0], cmd.CommandPath())
	}
	return nil
}
