package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/pkg/browser"
	"github.com/spf13/pflag"

	"github.com/seed-087d674e/tsh/internal/text"
	"github.com/seed-087d674e/tsh/login"
)

// browserOptions are the flags of a login in the browser.
type browserOptions struct {
	_        [0]func() // never compared
	browser  string    // none, or a command; "" is for the environment or the system to say
	bindAddr string
	callback string
}

func (o *browserOptions) addFlags(fs *pflag.FlagSet) {
	fs.StringVar(&o.browser, "browser", "", "the `COMMAND` that opens the browser for a login, or none to open no browser [TELEPORT_LOGIN_BROWSER, BROWSER]")
	fs.StringVar(&o.browser, "browser-login", "", "of old; as --browser")
	fs.Lookup("browser-login").Hidden = true
	fs.StringVar(&o.bindAddr, "bind-addr", "", "wait for the browser's answer at `HOST:PORT` [TELEPORT_LOGIN_BIND_ADDR]")
	fs.StringVar(&o.callback, "callback", "", "the `URL` at which a browser on another machine reaches --bind-addr")
}

// check refuses what makes no sense together.
func (o *browserOptions) check() error {
	if o.callback != "" && o.bindAddr == "" {
		return errors.New("--callback says how others reach an address, so --bind-addr=HOST:PORT has to say which")
	}
	return nil
}

// opener is how a browser is opened.
type opener struct {
	none    bool     // not at all
	command []string // a program and its arguments; nil for what the system has
	err     error    // why that will not do
}

// opener finds out how to open a browser: --browser, else the environment, else
// what the system has for it.
func (a *app) opener() opener {
	for _, choice := range []string{a.globals.browser.browser, os.Getenv("TELEPORT_LOGIN_BROWSER")} {
		if choice != "" {
			return openerFor(choice)
		}
	}
	if list := os.Getenv("BROWSER"); list != "" {
		var o opener
		for _, choice := range filepath.SplitList(list) { // the first there is
			if o = openerFor(choice); o.err == nil {
				break
			}
		}
		return o
	}
	if onWSL() {
		if o := openerFor("wslview"); o.err == nil {
			return o
		}
	}
	return opener{err: systemBrowser()}
}

// openerFor reads a command: a program, which may have blanks in its path, or a
// program with arguments. No shell has a part in it.
func openerFor(choice string) opener {
	if strings.EqualFold(choice, "none") {
		return opener{none: true}
	}
	command := []string{choice}
	path, err := exec.LookPath(choice)
	if err != nil {
		if command = strings.Fields(choice); len(command) == 0 {
			return opener{err: errors.New("the command for the browser is empty")}
		}
		path, err = exec.LookPath(command[0])
	}
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return opener{err: err}
	}
	return opener{command: append([]string{path}, command[1:]...)}
}

// systemBrowser says why the system has no way to open a browser, nil if it has.
func systemBrowser() error {
	switch runtime.GOOS {
	case "windows", "darwin":
		return nil
	}
	if os.Getenv("DISPLAY") == "" && os.Getenv("WAYLAND_DISPLAY") == "" {
		return errors.New("there is no display (neither DISPLAY nor WAYLAND_DISPLAY is set)")
	}
	for _, name := range []string{"xdg-open", "x-www-browser", "www-browser"} {
		if _, err := exec.LookPath(name); err == nil {
			return nil
		}
	}
	return errors.New("xdg-open is not installed")
}

// onWSL reports whether this is Linux inside Windows, where the browser is not.
func onWSL() bool {
	if runtime.GOOS != "linux" {
		return false
	}
	if os.Getenv("WSL_DISTRO_NAME") != "" {
		return true
	}
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	return err == nil && strings.Contains(strings.ToLower(string(release)), "microsoft")
}

// canBrowse reports whether a browser can be opened.
func (a *app) canBrowse() bool {
	o := a.opener()
	return !o.none && o.err == nil
}

// mayBrowse says why a login in the browser is out of the question here: there is
// neither a browser, nor a terminal at which somebody sees the link, nor anybody who
// has asked for the link alone.
func (a *app) mayBrowse() error {
	o := a.opener()
	if o.none || o.err == nil || haveTTY() {
		return nil
	}
	return withHint(fmt.Errorf("no browser can be opened (%w), and %w", o.err, login.ErrCannotAsk),
		"--browser=none prints a link and waits for somebody to open it; --browser=COMMAND names a browser")
}

// browse shows the link that begins a login, and opens it. A browser that fails,
// hangs or is not there takes nothing from that.
func (a *app) browse(ctx context.Context, link string) error {
	if err := a.mayBrowse(); err != nil {
		return err
	}
	o := a.opener()
	where := " on this machine"
	if a.globals.browser.callback != "" {
		where = ""
	}
	switch {
	case o.err != nil:
		a.ui.say("No browser can be opened: %v.", o.err)
		a.ui.say("To log in, open this link in a browser%s:\n\n %s\n\nWaiting for it, 3 minutes at most (^C gives up)", where, link)
	case o.none:
		a.ui.say("To log in, open this link in a browser%s:\n\n %s\n\nWaiting for it, 3 minutes at most (^C gives up)", where, link)
	default:
		a.ui.say("The login goes on in the browser. If none opens, follow this link%s:\n\n %s\n\nWaiting for it, 3 minutes at most (^C gives up)", where, link)
		go func() {
			if err := o.open(link, a.io.err); err != nil && ctx.Err() == nil {
				a.ui.say("The browser could not be opened (%v); the link above works all the same.", err)
			}
		}()
	}
	return nil
}

// open runs the program that opens link and waits for it; what it prints goes to
// stderr.
func (o opener) open(link string, stderr *os.File) error {
	if o.command == nil {
		browser.Stdout, browser.Stderr = stderr, stderr
		return browser.OpenURL(link)
	}
	args, placed := []string{}, false
	for _, arg := range o.command[1:] {
		placed = placed || strings.Contains(arg, "%s")
		args = append(args, strings.ReplaceAll(arg, "%s", link))
	}
	if !placed {
		args = append(args, link)
	}
	cmd := exec.Command(o.command[0], args...)
	cmd.Stdout, cmd.Stderr = stderr, stderr
	return cmd.Run()
}

// expose warns that certificates will go to another machine, and asks.
func (a *app) expose(ctx context.Context, url string) error {
	a.ui.warn("--callback: the browser brings the login's certificates to %s; whoever runs what answers there decides who gets them", text.Line(url))
	if skip, err := strconv.ParseBool(os.Getenv("TELEPORT_LOGIN_SKIP_REMOTE_HOST_WARNING")); err == nil && skip {
		return nil
	}
	yes, err := a.confirm(ctx, "Go on?")
	if err != nil {
		return err
	}
	if !yes {
		return errors.New("the login was called off; nothing was sent")
	}
	return nil
}
