// Command tsh logs in to a Teleport cluster and connects to its servers.
package main

import "os"

func main() {
	keepOutOfCoreDumps()
	os.Exit(run(os.Args[1:], standardStreams()))
}
