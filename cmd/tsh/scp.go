package main

import (
	"context"
	"errors"
	"runtime"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/seed-087d674e/tsh/internal/text"
	"github.com/seed-087d674e/tsh/sshclient"
	"github.com/seed-087d674e/tsh/sshclient/sftp"
	"github.com/seed-087d674e/tsh/sshclient/transfer"
)

// scpOptions are the flags of scp.
type scpOptions struct {
	copy   transfer.Options
	quiet  bool
	port   int
	limit  int // kbit/s
	resume bool
	all    []location // the last one is the target
	ways   []way      // as it was typed, then to each of the servers
}

// way is the cluster of a server and the proxy in between; "" is the usual one.
type way struct{ cluster, jump string }

func (a *app) scpCommand() *cobra.Command {
	var o scpOptions
	cmd := &cobra.Command{
		Annotations: map[string]string{takesHeadless: "", takesJump: ""},
		Use:         "scp [flags] FROM… TO",
		Short:       "Copy files to, from or between servers",
		Long: "scp copies files over SFTP. A file on a server is [ACCOUNT@]HOST:PATH, where a PATH that does\n" +
			"not begin with / starts at the home directory; without a colon before its first slash it is here.\n" +
			"A file gets its name when all of it has arrived; what had the name before stays until then.",
		Example: "  tsh scp notes.txt root@web-1:\n" +
			"  tsh scp -r root@web-1:/var/log/nginx 'db-1:/var/log/*.log' logs\n" +
			"  tsh scp web-1:/etc/hosts web-2:/tmp/hosts\n" +
			"  tsh scp --continue web-1:disk.img .",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.parseArgs(cmd.Flags(), args, a); err != nil {
				return err
			}
			return a.runSCP(cmd.Context(), o)
		},
	}
	cmd.SetFlagErrorFunc(opensshFlagError)
	fs := cmd.Flags()
	fs.BoolVarP(&o.copy.Recursive, "recursive", "r", false, "copy directories, too")
	fs.BoolVarP(&o.copy.Times, "preserve", "p", false, "copy the times of files as well as their modes")
	fs.BoolVarP(&o.quiet, "quiet", "q", false, "show no progress and no messages of the server")
	fs.IntVarP(&o.port, "port", "P", 0, "the servers' `PORT`; any if not given")
	fs.IntVar(&o.limit, "limit", 0, "copy no faster than `KBIT/S`")
	fs.BoolVar(&o.copy.Continue, "continue", false, "keep what has arrived of a file after a failure, and go on there the next time;\ncopies times, and leaves out files of equal size and time")
	fs.StringVarP(&a.globals.cluster, "cluster", "c", "", "the `CLUSTER` of the servers [TELEPORT_CLUSTER]")
	a.globals.addRelogin(fs)
	fs.BoolVar(&o.resume, "resume", false, "go on by itself when the network breaks, which is slow over long distances; see --continue")
	a.globals.addKeystore(fs)
	addNegations(fs)
	return cmd
}

func (o *scpOptions) parseArgs(fs *pflag.FlagSet, args []string, a *app) error {
	switch {
	case len(args) < 2:
		return usagef("tsh scp needs what to copy and where to")
	case o.port < 0 || o.port > 65535:
		return usagef("-P %d: a port is a number from 1 to 65535", o.port)
	case o.limit < 0:
		return usagef("--limit=%d: a rate in kbit/s is needed", o.limit)
	}
	o.copy.Limit = int64(o.limit) * 1024 / 8
	o.ways = []way{{a.globals.cluster, a.globals.jump}}
	for _, arg := range args {
		l, err := parseLocation(arg, runtime.GOOS == "windows")
		if err != nil {
			return &usageError{err}
		}
		if l.remote {
			if err := o.settle(&l, fs, a); err != nil {
				return err
			}
		}
		o.all = append(o.all, l)
	}
	if len(o.ways) == 1 {
		return usagef("none of these is on a server; a file there is written [ACCOUNT@]HOST:PATH")
	}
	return nil
}

// settle adds to a file on a server what is not typed there.
func (o *scpOptions) settle(l *location, fs *pflag.FlagSet, a *app) (err error) {
	if o.port != 0 {
		l.target.Port = o.port
	}
	if l.target.Login == "" {
		if l.target.Login, err = a.defaultLogin(); err != nil {
			return err
		}
	}
	// What a template says of one server does not count for the next.
	jump := fs.Lookup("jumphost")
	a.globals.cluster, a.globals.jump, jump.Changed = o.ways[0].cluster, o.ways[0].jump, o.ways[0].jump != ""
	if l.labels == nil {
		if l.find, err = a.template(fs, &l.target); err != nil {
			return err
		}
	}
	// All servers are reached over one connection, and are in one cluster.
	o.ways = append(o.ways, way{a.globals.cluster, a.globals.jump})
	if o.ways[1] != o.ways[len(o.ways)-1] {
		return usagef("%s: a proxy template leads to another cluster or proxy than that of the servers before; copy them one after the other", text.Line(l.name))
	}
	return nil
}

func (a *app) runSCP(ctx context.Context, o scpOptions) error {
	a.globals.noResume = !o.resume
	return a.withSession(ctx, func(ctx context.Context, s *session) error {
		nodes, err := a.dialSFTP(ctx, s, o)
		defer nodes.close()
		if err != nil {
			return asTransport(err)
		}
		// What is under way may still be cleared away after ^C, but not for long.
		defer context.AfterFunc(ctx, nodes.closeSoon)()
		summary, err := a.copyFiles(ctx, nodes, o)
		if a.globals.json && (err == nil || errors.Is(err, errSilent)) {
			if failed := writeJSON(a.out, summary); failed != nil {
				return failed
			}
		}
		if err != nil {
			return &begunError{err}
		}
		return nil
	})
}

// copyFiles expands the patterns and copies, with the meter running.
func (a *app) copyFiles(ctx context.Context, nodes *sftpNodes, o scpOptions) (transfer.Summary, error) {
	var sources []transfer.Source
	from, target := o.all[:len(o.all)-1], o.all[len(o.all)-1]
	for _, l := range from {
		place := nodes.place(l)
		paths, err := transfer.Expand(ctx, place, l.path)
		if err != nil {
			return transfer.Summary{}, err
		}
		for _, path := range paths {
			sources = append(sources, transfer.Source{Place: place, Path: path})
		}
	}
	meter := a.newMeter(!o.quiet)
	defer meter.close()
	o.copy.Started, o.copy.Finished = meter.started, meter.finished
	o.copy.Failed = func(path string, err error) {
		meter.aside(func() { a.ui.say("scp: %s: %s", text.Line(path), err) })
	}
	o.copy.Note = func(path, message string) {
		if !o.quiet {
			meter.aside(func() { a.ui.say("scp: %s: %s", text.Line(path), message) })
		}
	}
	to := transfer.Source{Place: nodes.place(target), Path: target.path}
	summary, err := transfer.Copy(ctx, sources, to, o.copy)
	if err == nil && summary.Failed > 0 {
		err = errSilent
	}
	var protocol *sftp.ProtocolError
	if errors.As(err, &protocol) {
		err = withHint(err, "the connection was ended; tell the administrator of the server")
	}
	return summary, err
}

// location is an argument of scp.
type location struct {
	remote bool
	target sshclient.Target
	labels map[string]string // in place of the target's host
	find   *nodeQuery        // what finds the server, from a proxy template
	name   string            // of the server, for people
	path   string
}
