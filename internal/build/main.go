// Command build makes tsh and the dev cluster in bin/, as they are released; or
// the packages that are named, in the directory that -o names.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/seed-087d674e/tsh/internal/release"
)

func main() {
	out := flag.String("o", "bin", "the `DIRECTORY` to build into")
	flag.Parse()
	packages := flag.Args()
	if len(packages) == 0 {
		packages = []string{"./cmd/tsh", "./cmd/devcluster"}
	}
	if err := release.Command(context.Background(), *out+string(filepath.Separator), packages...).Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build:", err)
		os.Exit(1)
	}
}
