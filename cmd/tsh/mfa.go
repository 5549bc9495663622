package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-087d674e/tsh/api"
	"github.com/seed-087d674e/tsh/api/mfa"
	"github.com/seed-087d674e/tsh/internal/text"
)

// errNoDevice: the person has no second factor of that name or ID.
var errNoDevice = errors.New("you have no device of that name or ID")

func (a *app) mfaCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "mfa",
		Short: "List, add and remove your second factors",
		Long: "mfa manages the devices that you prove your presence with beside the password, or instead of\n" +
			"it: apps for one-time codes, and security keys. A change is confirmed with a device you have.",
		Example: "  tsh mfa ls\n  tsh mfa add\n  tsh mfa rm old-phone",
		Args:    onlyCommands,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.mfaLsCommand(), a.mfaAddCommand(), a.mfaRmCommand())
	return cmd
}

// mfaLsOptions are the flags of mfa ls.
type mfaLsOptions struct {
	verbose bool
	format  formatFlag
}

func (a *app) mfaLsCommand() *cobra.Command {
	var o mfaLsOptions
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List your second factors",
		Long:    "ls lists the devices that the cluster knows of you, by name. Times are UTC.",
		Example: "  tsh mfa ls\n  tsh mfa ls -v\n  tsh mfa ls --format=json",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.runMFALs(cmd.Context(), o) },
	}
	fs := cmd.Flags()
	fs.BoolVarP(&o.verbose, "verbose", "v", false, "show IDs")
	o.format.addFlag(fs, formatText, formatJSON, formatYAML)
	a.globals.addKeystore(fs)
	addNegations(fs)
	return cmd
}

func (a *app) runMFALs(ctx context.Context, o mfaLsOptions) error {
	format, err := o.format.pick(&a.globals)
	if err != nil {
		return err
	}
	var devices []*mfa.Device
	err = a.withAPI(ctx, func(ctx context.Context, _ *session, client *api.Client) error {
		devices, err = client.MFADevices(ctx)
		return err
	})
	if err != nil {
		return err
	}
	slices.SortFunc(devices, func(x, y *mfa.Device) int {
		return cmp.Or(strings.Compare(x.Name(), y.Name()), strings.Compare(x.ID, y.ID))
	})
	if format != formatText {
		return writeData(a.out, format, devices)
	}
	if len(devices) == 0 {
		a.ui.say("You have no second factor yet; tsh mfa add adds one.")
	}
	return a.printDevices(devices, o.verbose)
}

func (a *app) printDevices(devices []*mfa.Device, verbose bool) error {
	row := func(name, id string, more ...string) []string {
		if verbose {
			more = append([]string{id}, more...)
		}
		return append([]string{name}, more...)
	}
	t := table{titles: row("Name", "ID", "Type", "Added at", "Last used")}
	for _, d := range devices {
		t.add(row(d.Name(), d.ID, d.Type(), deviceTime(d.AddedAt), deviceTime(d.LastUsed))...)
	}
	return t.write(a.out)
}

// deviceTime is a time as the list shows it, "-" for one that is not known.
func deviceTime(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC1123)
}

func (a *app) mfaRmCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "rm NAME|ID",
		Aliases: []string{"remove"},
		Short:   "Remove a second factor",
		Long: "rm removes a device, by the name or the ID that tsh mfa ls -v shows. Any device of yours may\n" +
			"confirm it, the one that is removed as well.",
		Example: "  tsh mfa rm old-phone\n  tsh mfa rm f07ee8eb-5366-41d4-b294-d829dfb13732",
		Args:    oneArg("the name or ID of one device"),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.runMFARm(cmd.Context(), args[0]) },
	}
	a.globals.addKeystore(cmd.Flags())
	addNegations(cmd.Flags())
	return cmd
}

func (a *app) runMFARm(ctx context.Context, nameOrID string) error {
	var device *mfa.Device
	err := a.withAPI(ctx, func(ctx context.Context, s *session, client *api.Client) error {
		devices, err := client.MFADevices(ctx)
		if err != nil {
			return err
		}
		if device = findDevice(devices, nameOrID); device == nil {
			return fmt.Errorf("%w: %s", errNoDevice, text.Line(nameOrID))
		}
		answer, err := a.confirmDevices(ctx, s, client)
		if err != nil {
			return err
		}
		return explainAnswer(answer, client.DeleteMFADevice(ctx, nameOrID, answer))
	})
	if err != nil {
		return err
	}
	if a.globals.json {
		return writeJSON(a.out, device)
	}
	a.ui.say("Removed %s (%s).", text.Line(device.Name()), device.Type())
	return nil
}

// findDevice is the device of that name, else the one of that ID, or nil.
func findDevice(devices []*mfa.Device, nameOrID string) *mfa.Device {
	var found *mfa.Device
	for _, d := range devices {
		if d.Name() == nameOrID {
			return d
		}
		if found == nil && d.ID == nameOrID {
			found = d
		}
	}
	return found
}

// withAPI is withSession with a connection to the auth server.
func (a *app) withAPI(ctx context.Context, use func(context.Context, *session, *api.Client) error) error {
	return a.withSession(ctx, func(ctx context.Context, s *session) error {
		done := a.ui.waiting("cluster " + s.profile.Cluster)
		client, err := a.connectAPI(ctx, s)
		done()
		if err != nil {
			return err
		}
		defer client.Close()
		return use(ctx, s, client)
	})
}
