package main

import (
	"fmt"
	"log/slog"
	"slices"

	"github.com/seed-087d674e/tsh/internal/text"
)

// Values of --mlock.
const (
	mlockOff    = "off"
	mlockAuto   = "auto" // as best_effort, without a word, for headless logins; off otherwise
	mlockBest   = "best_effort"
	mlockStrict = "strict"
)

func checkMlock(mode string) error {
	if !slices.Contains([]string{mlockOff, mlockAuto, mlockBest, mlockStrict}, mode) {
		return fmt.Errorf("--mlock=%s (or TELEPORT_MLOCK_MODE): one of off, auto, best_effort, strict is needed", text.Line(mode))
	}
	return nil
}

// keepOutOfSwap locks the program's memory as --mlock says, so that keys do not end up
// on a disk with what the system swaps out.
func (a *app) keepOutOfSwap() error {
	mode := a.globals.mlock
	if mode == mlockOff || mode == mlockAuto && !a.globals.headless.on {
		return nil
	}
	err := lockMemory()
	switch {
	case err == nil:
		slog.Debug("memory is locked")
	case mode == mlockStrict:
		return withHint(fmt.Errorf("--mlock=strict: memory cannot be locked: %w", err),
			"raise the limit for locked memory (ulimit -l unlimited), or use --mlock=best_effort")
	case mode == mlockBest:
		a.ui.warn("memory is not locked, keys may end up in swap space: %v", err)
	default:
		slog.Debug("memory is not locked", "error", err)
	}
	return nil
}
