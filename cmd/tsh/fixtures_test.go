package main

import (
	"bytes"
	"maps"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/seed-087d674e/tsh/internal/testenv"
)

// What other clients have stored is shown as it is, and looking at it changes
// nothing: not a byte, not a time, no new file.
func TestHomesOfOtherClients(t *testing.T) {
	for _, tc := range []struct{ version, user, cluster string }{
		{"18.3", "fixture", "real.example.test"},
		{"14.0", "fixture14", "old.example.test"},
	} {
		t.Run(tc.version, func(t *testing.T) {
			home := testenv.CopyHome(t, tc.version)
			before := testenv.Snapshot(t, home)
			for _, args := range [][]string{{"status"}, {"status", "--format=json"}, {"env"}, {"login"}} {
				cmd := exec.Command(releasedTsh(t), args...)
				cmd.Env = append(os.Environ(), "TELEPORT_HOME="+home, "TELEPORT_PROXY=")
				out, err := cmd.CombinedOutput()
				if err != nil || !bytes.Contains(out, []byte(tc.cluster)) {
					t.Fatalf("tsh %s: %v\n%s", strings.Join(args, " "), err, out)
				}
				if args[0] == "status" && !bytes.Contains(out, []byte(tc.user)) {
					t.Errorf("tsh status does not name %s:\n%s", tc.user, out)
				}
			}
			if !maps.Equal(testenv.Snapshot(t, home), before) {
				t.Error("the files are not as before")
			}
		})
	}
}
