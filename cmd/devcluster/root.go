package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// streams are where a command reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// execute runs one command line and returns the exit status; errors are
// printed here and nowhere else.
func execute(ctx context.Context, args []string, s streams) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	hint := hint(err)
	if f := cmd.Flag("json"); f != nil && f.Value.String() == "true" {
		type problem struct {
			Message string `json:"message"`
			Hint    string `json:"hint,omitempty"`
		}
		_ = printJSON(s.out, map[string]problem{"error": {err.Error(), hint}}) // there is no one else to tell
		return 1
	}
	fmt.Fprintf(s.err, "devcluster: %v\n", err)
	if hint != "" {
		fmt.Fprintf(s.err, "  %s\n", hint)
	}
	return 1
}

// group makes cmd show its help where no command of it is named, and refuse what is none.
func group(cmd *cobra.Command) {
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return fmt.Errorf("unknown command %q for %q", args[0], cmd.CommandPath())
		}
		return pflag.ErrHelp // before --dir is missed
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
}

// hint says what to do next about an error.
func hint(err error) string {
	var missing *missingClusterError
	if errors.As(err, &missing) {
		return fmt.Sprintf("start one there: devcluster start --dir %s", missing.dir)
	}
	if errors.Is(err, syscall.EADDRINUSE) {
		return "another devcluster may have it; --addr 127.0.0.1:0 picks a free port, as do --auth-addr and --tunnel-addr"
	}
	if errors.Is(err, fs.ErrExist) {
		return "replace it with --overwrite, or name another --out"
	}
	return ""
}

// missingClusterError: the directory holds no cluster.
type missingClusterError struct {
	dir string
	err error
}

func (e *missingClusterError) Error() string { return e.err.Error() }
func (e *missingClusterError) Unwrap() error { return e.err }

func withDir(dir string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return &missingClusterError{dir, err}
	}
	return err
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "devcluster",
		Short: "A cluster in one process, for trying out and for tests",
		Long: `devcluster runs an auth server, a web proxy and SSH nodes in one process.

It is for trying tsh out and for tests, never for production: whoever logs in
runs commands as the OS user that started it.`,
		Example: `  devcluster start --dir ./dev
  devcluster users add alice --dir ./dev --roles access --logins root,alice
  devcluster create -f role.yaml --dir ./dev
  devcluster requests ls --dir ./dev
  devcluster nodes ls --dir ./dev
  devcluster auth sign --user robot --out ./robot.identity --dir ./dev`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		Args:              cobra.NoArgs,
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.AddCommand(newStart(), newUsers(), newRequests(), newNodes(), newCreate(), newGet(), newRemove(), newAuth())
	return root
}

// dirFlag adds the flag that every command has.
func dirFlag(cmd *cobra.Command, dir *string) {
	cmd.PersistentFlags().StringVar(dir, "dir", "", "`directory` of the cluster's state")
	if err := cmd.MarkPersistentFlagRequired("dir"); err != nil {
		panic(err) // the flag was defined on the line above
	}
}
