// Package release knows how programs of this module are built for release, so
// that what is measured, shown and tested is what people get.
package release

import (
	"context"
	"os"
	"os/exec"
)

// Command builds packages, as the go tool names them, into out: a directory if
// it ends in a separator. It runs in the module's directory or below.
func Command(ctx context.Context, out string, packages ...string) *exec.Cmd {
	args := append(append([]string{"build"}, flags()...), "-o", out)
	cmd := exec.CommandContext(ctx, "go", append(args, packages...)...)
	// A command that lives for milliseconds has no use for the collector for large heaps.
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOEXPERIMENT=nogreenteagc")
	cmd.Stderr = os.Stderr
	return cmd
}

// flags are the go tool's. The program is 1.4 MB smaller for them; its start takes as long.
//
// Functions are inlined only where it pays: in what every allocation goes through, in
// cryptography that works on the bytes of a connection, and where what is inlined is
// shorter than a call. Everywhere else calls stay calls, functions follow each other
// without a gap, and so do a function's branches without an order of likelihood. Slices of
// unknown length are made on the heap alone, not on the stack while they are small; and
// loops over functions do without the checks for one that goes on after it was told to stop.
func flags() []string {
	const lean = "-d=variablemakethreshold=0,rangefunccheck=0"
	all := []string{"-trimpath", "-ldflags=-s -w -funcalign=1", "-gcflags=all=-l " + lean + ",ssa/likelyadjust/off"}
	for _, pattern := range []string{
		"internal/runtime/...", "internal/bytealg",
		"crypto/subtle", "crypto/internal/fips140/subtle", "crypto/internal/fips140/alias", "crypto/internal/fips140deps/...",
		"crypto/internal/fips140/aes/...", "crypto/internal/fips140/sha256", "crypto/internal/fips140/sha512",
		"vendor/golang.org/x/crypto/...", "golang.org/x/crypto/chacha20/...", "golang.org/x/crypto/internal/...",
		"crypto/internal/fips140/nistec/fiat", "internal/strconv", "net/textproto", "sort", "unicode/utf8", "unique",
	} {
		all = append(all, "-gcflags="+pattern+"="+lean)
	}
	return all
}
