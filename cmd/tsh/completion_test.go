package main

import (
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/seed-087d674e/tsh/internal/testenv"
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

// scp is offered servers with a colon, and files as well; what is on a server is not known.
func TestCompletedCopies(t *testing.T) {
	home := testenv.CopyHome(t, "18.3")
	t.Setenv("TELEPORT_HOME", home)
	for _, name := range []string{"HOME", "XDG_CACHE_HOME", "LocalAppData"} {
		t.Setenv(name, home)
	}
	a := &app{}
	root, scp := &cobra.Command{Use: "tsh"}, &cobra.Command{Use: "scp"}
	root.AddCommand(scp)
	a.completeNames(root)
	_, p := a.completed()
	if p == nil {
		t.Fatal("no login")
	}
	writeNames(nameFile(p, p.Cluster), []string{"web-1", "db-1", "web 2", "-rf", "$(x)", "", "web-1"})
	for begun, want := range map[string]string{"we": "web-1:", "root@d": "root@db-1:", "web-1:/e": "", "./we": ""} {
		names, directive := scp.ValidArgsFunction(scp, nil, begun)
		if files := directive&cobra.ShellCompDirectiveNoFileComp == 0; strings.Join(names, " ") != want || files == strings.Contains(begun, ":") {
			t.Errorf("%q: %q, %v", begun, names, directive)
		}
	}
	// What others have put there is no more than that.
	long := strings.Repeat(strings.Repeat("x", 50)+"\n", 4000)
	if err := os.WriteFile(nameFile(p, p.Cluster), []byte("web-1\n$(x)\n-o\n"+long), 0o600); err != nil {
		t.Fatal(err)
	}
	if names := cachedNames(nameFile(p, p.Cluster)); len(names) != maxCachedNames || names[0] != "web-1" || names[1] != strings.Repeat("x", 50) {
		t.Errorf("%d names", len(names))
	}
	if err := os.WriteFile(nameFile(p, p.Cluster), []byte(long+long), 0o600); err != nil || cachedNames(nameFile(p, p.Cluster)) != nil {
		t.Errorf("a file without end is read: %v", err)
	}
}
