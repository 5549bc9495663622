package main

import (
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// What the shell offers for a flag is what its help says that it takes.
func TestCompletedValues(t *testing.T) {
	a := &app{io: streams{in: os.Stdin, out: os.Stdout, err: os.Stderr}}
	root := a.rootCommand()
	completeValues(root)
	seen := map[string]bool{}
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		check := func(f *pflag.Flag) {
			complete, ok := cmd.GetFlagCompletionFunc(f.Name)
			if !ok || f.Name == "proxy" {
				return
			}
			seen[f.Name] = true
			values, directive := complete(cmd, nil, "")
			if directive != cobra.ShellCompDirectiveNoFileComp {
				t.Errorf("%s --%s completes file names", cmd.CommandPath(), f.Name)
			}
			for _, value := range values {
				if !strings.Contains(f.Usage, string(value)) {
					t.Errorf("%s --%s completes %q, which its help does not have: %s", cmd.CommandPath(), f.Name, value, f.Usage)
				}
			}
		}
		cmd.Flags().VisitAll(check)
		cmd.PersistentFlags().VisitAll(check)
		for _, c := range cmd.Commands() {
			walk(c)
		}
	}
	walk(root)
	for line := range strings.SplitSeq(flagValues, "\n") {
		_, rest, _ := strings.Cut(line, "--")
		if name, _, _ := strings.Cut(rest, " "); !seen[name] {
			t.Errorf("no command has --%s", name)
		}
	}
}
