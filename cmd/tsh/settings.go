package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/seed-087d674e/tsh/internal/text"
	"github.com/seed-087d674e/tsh/internal/tshconfig"
	"github.com/seed-087d674e/tsh/profile"
)

// envUnalias lists aliases that are not to be expanded: those that have been, and what
// the person says.
const envUnalias = "TSH_UNALIAS"

// useSettings reads the files with settings and returns the arguments without aliases.
// Where an alias stands for another program, that is run here: it returns only with an
// error then, whatever the program's status was.
func (a *app) useSettings(ctx context.Context, root *cobra.Command, args []string) ([]string, error) {
	root.InitDefaultHelpFlag()
	var user string
	if home, err := profile.Home(); err == nil { // or else a command says so that needs it
		user = tshconfig.UserFile(home)
	}
	a.settings, a.settingsErr = tshconfig.Load(user, tshconfig.GlobalFile())
	for _, alias := range a.settings.Aliases {
		root.ValidArgs = append(root.ValidArgs, alias.Name+"\t"+text.Line(alias.Command))
	}
	a.helpAboutAliases(root)
	if len(args) > 0 && strings.HasPrefix(args[0], cobra.ShellCompRequestCmd) {
		return args, nil
	}
	if at := commandWord(root, args); a.settingsErr != nil && at >= 0 && !isCommand(root, args[at]) {
		return args, a.settingsErr // the word may be an alias
	}
	if len(a.settings.Aliases) == 0 {
		return args, nil
	}
	args, err := a.withoutAliases(ctx, root, args)
	a.globals.json = err != nil && wantsJSON(args)
	return args, err
}

// checkSettings stops commands where a file with settings cannot be used: what they do
// may depend on it. Those that help to get out of trouble go on.
func (a *app) checkSettings(cmd *cobra.Command) error {
	if a.settingsErr == nil {
		return nil
	}
	top := cmd
	for top.HasParent() && top.Parent().HasParent() {
		top = top.Parent()
	}
	switch top.Name() {
	case "completion", cobra.ShellCompRequestCmd, cobra.ShellCompNoDescRequestCmd:
		return nil // its output is read by a shell
	case cmd.Root().Name(), "version", "help", "status", "logout", "doctor":
		a.ui.warn("%v; this file counts for nothing", a.settingsErr)
		a.settingsErr = nil // it is said once
		return nil
	case "ssh", "scp":
		return asTransport(a.settingsErr)
	}
	return a.settingsErr
}

// helpAboutAliases has the help of the program list the aliases.
func (a *app) helpAboutAliases(root *cobra.Command) {
	help := root.HelpFunc()
	root.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		_ = a.checkSettings(root)
		help(cmd, args)
		if cmd != root || len(a.settings.Aliases) == 0 {
			return
		}
		cmd.Println("\nAliases:")
		seen := map[string]bool{}
		for _, alias := range a.settings.Aliases {
			if !seen[alias.Name] {
				seen[alias.Name] = true
				cmd.Printf("  %-11s %s\n", text.Line(alias.Name), text.Line(alias.Command))
			}
		}
	})
}

// withoutAliases replaces the command's word, as long as it is an alias, by what that
// stands for. Every alias counts once.
func (a *app) withoutAliases(ctx context.Context, root *cobra.Command, args []string) ([]string, error) {
	spent := strings.FieldsFunc(os.Getenv(envUnalias), func(r rune) bool { return r == ',' || r == ' ' })
	foreign := len(spent) // these are what the person or another tsh has spent
	for {
		at := commandWord(root, args)
		if at < 0 {
			return args, nil
		}
		alias, ok := a.settings.Alias(args[at])
		if !ok {
			return args, nil
		}
		if i := slices.Index(spent, alias.Name); i >= 0 {
			if isCommand(root, alias.Name) {
				return args, nil // the command that the alias hides
			}
			if i < foreign {
				return nil, usagef("alias %s is not expanded, since TSH_UNALIAS names it, and there is no such command", text.Line(alias.Name))
			}
			return nil, usagef("alias %s leads back to itself (%s)", text.Line(alias.Name), alias.Where)
		}
		spent = append(spent, alias.Name)
		words, err := a.expandAlias(alias, args[at+1:])
		if err != nil {
			return args, err
		}
		if !isThisProgram(words[0]) {
			return args, runInstead(ctx, words, strings.Join(spent, ","))
		}
		args = slices.Concat(args[:at], words[1:])
	}
}

func isCommand(root *cobra.Command, word string) bool {
	found, _, _ := root.Find([]string{word})
	return found != root
}

func (a *app) expandAlias(alias tshconfig.Alias, args []string) ([]string, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	words, err := alias.Expand(program, args)
	if err != nil {
		return nil, &usageError{err}
	}
	return words, nil
}

// commandWord is the index of the first argument that is neither a flag nor a flag's
// value, -1 if there is none. As the parser does, it takes a flag that it does not know
// for one with a value.
func commandWord(root *cobra.Command, args []string) int {
	for i := 0; i < len(args); i++ {
		arg := args[i]
		switch {
		case arg == "--":
			return -1
		case !strings.HasPrefix(arg, "-") || arg == "-":
			return i
		case strings.Contains(arg, "="):
		case strings.HasPrefix(arg, "--"):
			if takesValue(lookupFlag(root, arg[2:])) {
				i++
			}
		default: // of several letters the first with a value takes the rest
			for j := 1; j < len(arg); j++ {
				if takesValue(shortFlag(root, arg[j:j+1])) {
					if j == len(arg)-1 {
						i++
					}
					break
				}
			}
		}
	}
	return -1
}

func takesValue(f *pflag.Flag) bool { return f == nil || f.NoOptDefVal == "" }

func lookupFlag(root *cobra.Command, name string) *pflag.Flag {
	if f := root.PersistentFlags().Lookup(name); f != nil {
		return f
	}
	return root.Flags().Lookup(name)
}

func shortFlag(root *cobra.Command, letter string) *pflag.Flag {
	if f := root.PersistentFlags().ShorthandLookup(letter); f != nil {
		return f
	}
	return root.Flags().ShorthandLookup(letter)
}

// isThisProgram reports whether a word that is to be run is this program: by its name,
// wherever PATH would lead, or by its path.
func isThisProgram(word string) bool {
	if word == "tsh" || word == "tsh.exe" {
		return true
	}
	self, err := os.Executable()
	if err != nil || !strings.ContainsRune(word, filepath.Separator) {
		return false
	}
	one, err1 := os.Stat(self)
	other, err2 := os.Stat(word)
	return err1 == nil && err2 == nil && os.SameFile(one, other)
}

// runInstead runs a program in the place of this one; spent are the aliases on the way to
// it.
func runInstead(ctx context.Context, words []string, spent string) error {
	path, err := exec.LookPath(words[0])
	if errors.Is(err, exec.ErrDot) {
		return withHint(err, "an alias runs no program of the directory it is called in by its name alone")
	}
	if err != nil {
		return err
	}
	// Of a variable that is there twice the first one counts.
	others := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, envUnalias+"=") })
	return replaceProcess(ctx, path, words, append(others, envUnalias+"="+spent))
}
