package main

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/seed-087d674e/tsh/internal/testenv"
)

// xserver starts a real X server that wants a cookie, and makes it the display. It does
// not forget everything when its last client is gone, as a desktop never would.
func (w *world) xserver(ts *testscript.TestScript, _ bool, _ []string) {
	t := w.services.t
	server, xauth := testenv.Program(t, "Xvfb"), testenv.Program(t, "xauth")
	testenv.Program(t, "xdpyinfo")
	authority := filepath.Join(ts.MkAbs("."), "xauthority")
	addCookie := func(display string) {
		cmd := exec.Command(xauth, "-q", "-f", authority, "add", display, ".", strings.Repeat("c0", 16))
		out, err := cmd.CombinedOutput()
		if err != nil {
			ts.Fatalf("xauth: %v: %s", err, out)
		}
	}
	addCookie(":0") // the server does not care which
	r, number, err := os.Pipe()
	ts.Check(err)
	defer r.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, server, "-displayfd", "3", "-noreset", "-nolisten", "tcp", "-auth", authority)
	cmd.ExtraFiles = []*os.File{number}
	ts.Check(cmd.Start())
	w.env.Defer(func() {
		cancel()
		_ = cmd.Wait()
	})
	_ = number.Close()
	ts.Check(r.SetReadDeadline(time.Now().Add(30 * time.Second)))
	line, err := bufio.NewReader(r).ReadString('\n')
	ts.Check(err)
	display := ":" + strings.TrimSpace(line)
	addCookie(display)
	ts.Setenv("DISPLAY", display)
	ts.Setenv("XAUTHORITY", authority)
}
