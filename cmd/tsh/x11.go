package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/seed-087d674e/tsh/sshclient"
)

const (
	x11Protocol = "MIT-MAGIC-COOKIE-1"
	// xauthPatience is how long xauth may take, which asks the display.
	xauthPatience = 10 * time.Second
	// x11Slack is how much longer than we accept connections the display keeps the
	// cookie, as OpenSSH has it.
	x11Slack = time.Minute
	x11Port  = 6000 // of display 0
)

// x11Options say whether and how the display is forwarded.
type x11Options struct {
	_                [0]func() // never compared
	on, trusted, off bool
	trustedOption    bool // -o ForwardX11Trusted, which forwards nothing by itself
	timeout          time.Duration
	xauth            string
}

func (o *x11Options) addFlags(fs *pflag.FlagSet) {
	o.xauth = "xauth"
	fs.BoolVarP(&o.on, "forward-x11", "X", false, "forward the X11 display, with a cookie that limits what programs there may do")
	fs.BoolVarP(&o.trusted, "forward-x11-trusted", "Y", false, "forward the X11 display without limits")
	fs.BoolVarP(&o.off, "no-forward-x11", "x", false, "forward no display")
	fs.DurationVar(&o.timeout, "x11-untrusted-timeout", 10*time.Minute, "how long -X takes connections, as `10m`; 0 for ever")
	fs.Lookup("no-forward-x11").Hidden = true
}

// forwardedDisplay is the display to forward; nil if there is none, which the person is
// told unless nobody has asked for one.
func (a *app) forwardedDisplay(ctx context.Context, o x11Options) *sshclient.X11 {
	if o.off || !o.on && !o.trusted {
		return nil
	}
	x, err := o.open(ctx, os.Getenv("DISPLAY"))
	if err != nil {
		a.ui.warn("no X11 forwarding: %s", err)
		return nil
	}
	if x.Cookie == nil {
		a.ui.warn("xauth knows no cookie for the display; connections reach it without one")
	}
	x.Refused = func(err error) { a.ui.warn("no X11 forwarding: %s", err) }
	return x
}

func (o x11Options) open(ctx context.Context, name string) (*sshclient.X11, error) {
	d, err := parseDisplay(name)
	if err != nil {
		return nil, err
	}
	x := &sshclient.X11{Protocol: x11Protocol, Screen: d.screen, Dial: d.dial}
	if o.trusted || o.trustedOption {
		// The display may want no cookie, whatever is wrong with xauth.
		if x.Cookie, err = o.cookie(ctx, d, ""); err != nil {
			slog.Debug("no cookie for the display", "error", err)
		}
		return x, nil
	}
	dir := filepath.Join(os.TempDir(), "tsh-x11-"+rand.Text())
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "xauthority")
	defer func() {
		_ = os.Remove(file)
		_ = os.Remove(dir)
	}()
	generate := []string{"-f", file, "generate", d.name, x11Protocol, "untrusted"}
	if o.timeout > 0 {
		x.Until = time.Now().Add(o.timeout)
		generate = append(generate, "timeout", strconv.Itoa(int((o.timeout+x11Slack)/time.Second)))
	}
	if _, err := o.run(ctx, generate...); err != nil {
		return nil, fmt.Errorf("no cookie with limits could be made (-Y forwards without): %w", err)
	}
	if x.Cookie, err = o.cookie(ctx, d, file); err == nil && x.Cookie == nil {
		err = errors.New("no cookie with limits could be made (-Y forwards without)")
	}
	return x, err
}

// cookie asks xauth for the display's cookie; nil if there is none.
func (o x11Options) cookie(ctx context.Context, d *display, file string) ([]byte, error) {
	args := []string{"list", d.name}
	if file != "" {
		args = append([]string{"-f", file}, args...)
	}
	out, err := o.run(ctx, args...)
	if err != nil {
		return nil, err
	}
	for _, line := range strings.Split(out, "\n") {
		if words := strings.Fields(line); len(words) == 3 && words[1] == x11Protocol {
			return hex.DecodeString(words[2])
		}
	}
	return nil, nil
}

// run runs xauth. No secret is among its arguments.
func (o x11Options) run(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, xauthPatience)
	defer cancel()
	var out, complaint bytes.Buffer
	cmd := exec.CommandContext(ctx, o.xauth, append([]string{"-q"}, args...)...)
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &complaint, time.Second
	err := cmd.Run()
	if words := strings.TrimSpace(complaint.String()); err != nil && words != "" {
		err = errors.New(words)
	}
	if err != nil {
		return "", fmt.Errorf("xauth: %w", err)
	}
	return out.String(), nil
}

// display is where an X server listens.
type display struct {
	_             [0]func() // never compared
	name          string    // for xauth
	network, addr string
	screen        uint32
}

// parseDisplay reads DISPLAY: [HOST]:NUMBER[.SCREEN]; without a host, or with "unix", the
// socket of that number, or one whose path takes the host's place.
func parseDisplay(name string) (*display, error) {
	if name == "" {
		return nil, errors.New("DISPLAY is not set")
	}
	bad := fmt.Errorf("DISPLAY is %q, which names no display", name)
	i := strings.LastIndexByte(name, ':')
	if i < 0 || strings.HasPrefix(name, "-") || strings.ContainsAny(name, " \t\n\x00") {
		return nil, bad
	}
	host := name[:i]
	digits, screen, _ := strings.Cut(name[i+1:], ".")
	number, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || number > 65535-x11Port {
		return nil, bad
	}
	d := &display{name: name}
	if screen != "" {
		n, err := strconv.ParseUint(screen, 10, 32)
		if err != nil {
			return nil, bad
		}
		d.screen = uint32(n)
	}
	switch {
	case strings.HasPrefix(host, "/"): // launchd's on macOS: the colon is part of the path
		d.network, d.addr = "unix", name
	case host == "" || host == "unix":
		d.network, d.addr = "unix", fmt.Sprintf("/tmp/.X11-unix/X%d", number)
	default:
		d.network, d.addr = "tcp", net.JoinHostPort(strings.Trim(host, "[]"), strconv.Itoa(int(number)+x11Port))
		if host == "localhost" { // xauth knows it by the name of the machine
			d.name = "unix" + name[i:]
		}
	}
	return d, nil
}

func (d *display) dial(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, xauthPatience)
	defer cancel()
	return new(net.Dialer).DialContext(ctx, d.network, d.addr)
}
