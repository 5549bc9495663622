package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/seed-087d674e/tsh/internal/doctor"
	"github.com/seed-087d674e/tsh/internal/text"
	"github.com/seed-087d674e/tsh/profile"
)

// doctorOptions are the flags of doctor.
type doctorOptions struct {
	fix    bool
	format formatFlag
}

func (a *app) doctorCommand() *cobra.Command {
	var o doctorOptions
	cmd := &cobra.Command{
		Use:   "doctor [--fix] [--proxy=HOST]",
		Short: "Look for what is wrong with what is stored, and repair it",
		Long: "doctor checks the profile directory, logins, authorities, locks, the keyring, the\n" +
			"ssh-agent, the clock, and whether the proxies answer. With --fix it repairs what can be\n" +
			"repaired without losing a login that is valid. It exits with 1 if there is something left.\n" +
			"With --identity it looks at that file alone, and at whether --proxy is its proxy.",
		Example: "  tsh doctor\n  tsh doctor --fix\n  tsh doctor --proxy=teleport.example.com --json",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.runDoctor(cmd.Context(), o) },
	}
	fs := cmd.Flags()
	fs.BoolVar(&o.fix, "fix", false, "repair what can be repaired without losing a valid login")
	o.format.addFlag(fs, formatText, formatJSON, formatYAML)
	addNegations(fs)
	return cmd
}

// diagnosis is what doctor prints as JSON.
type diagnosis struct {
	OK       bool             `json:"ok"`
	Findings []doctor.Finding `json:"findings"`
}

func (a *app) runDoctor(ctx context.Context, o doctorOptions) error {
	format, err := o.format.pick(&a.globals)
	if err != nil {
		return err
	}
	findings, err := a.diagnose(ctx, o)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	d := diagnosis{OK: true, Findings: findings}
	for i := range findings {
		f := &findings[i]
		if f.Cause != nil {
			if hint := describe(f.Cause).Hint; hint != "" {
				f.Hint = strings.ReplaceAll(hint, "\n", " ")
			}
		}
		d.OK = d.OK && !f.Left()
	}
	if format == formatText {
		a.printDiagnosis(d)
	} else if err := writeData(a.out, format, d); err != nil {
		return err
	}
	if !d.OK {
		return errSilent
	}
	return nil
}

// diagnose looks for what is wrong.
func (a *app) diagnose(ctx context.Context, o doctorOptions) ([]doctor.Finding, error) {
	if a.globals.hasIdentity() {
		return a.diagnoseIdentity(ctx, o.fix)
	}
	options, err := a.doctorOptions(o)
	if isUsage(err) {
		return nil, err
	}
	if err != nil { // a directory that cannot be one is a finding as well
		return []doctor.Finding{{Check: "directory", Status: doctor.Problem, Subject: "TELEPORT_HOME", Message: err.Error()}}, nil
	}
	return doctor.Run(ctx, options), nil
}

func (a *app) doctorOptions(o doctorOptions) (doctor.Options, error) {
	home, err := profile.Home()
	if err != nil {
		return doctor.Options{}, err
	}
	addr, name, err := a.namedProxy(profile.Open(home))
	if err != nil {
		return doctor.Options{}, err
	}
	web, err := a.webOptions()
	return doctor.Options{Home: home, Name: name, Addr: addr, Fix: o.fix, Now: a.now, Proxy: web}, err
}

// printDiagnosis prints a line for each finding that is not in order, and how many are.
func (a *app) printDiagnosis(d diagnosis) {
	checks := map[string]bool{} // by name: whether there was nothing to say
	for i := range d.Findings {
		f := &d.Findings[i]
		fine, seen := checks[f.Check]
		checks[f.Check] = f.Status == doctor.OK && (fine || !seen)
		if f.Status != doctor.OK {
			a.printFinding(f)
		}
	}
	passed, plural := 0, "s"
	for _, fine := range checks {
		if fine {
			passed++
		}
	}
	if passed == 1 {
		plural = ""
	}
	fmt.Fprintf(a.out, "%d check%s passed\n", passed, plural)
}

func (a *app) printFinding(f *doctor.Finding) {
	word, colour := "WARNING", "33"
	switch {
	case f.Fixed:
		word, colour = "FIXED", "32"
	case f.Status == doctor.Problem:
		word, colour = "PROBLEM", "31"
	}
	if term.IsTerminal(int(a.io.out.Fd())) && os.Getenv("NO_COLOR") == "" {
		word = "\x1b[" + colour + "m" + word + "\x1b[0m"
	}
	line := text.Line(f.Subject) + ": " + text.Line(f.Message)
	if f.Hint != "" {
		line += "; " + text.Line(f.Hint)
	}
	fmt.Fprintf(a.out, "%s %s %s\n", word, f.Check, line)
}
