package credentials

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/seed-087d674e/tsh/internal/testenv"
)

// What a program opens that loads a profile, for both protocols: the current profile and its
// file, and for each protocol the two keys, two certificates, authorities and known_hosts.
const maxProfileFiles = 2 + 2*6

// envLoad has this test's program load a profile instead of testing.
const envLoad = "TSH_TEST_LOAD_PROFILE"

// Loading a profile opens few files, no socket, and none for writing.
func TestProfileBudget(t *testing.T) {
	if home := os.Getenv(envLoad); home != "" {
		creds := at(testenv.FixtureTime(), home, "")
		if _, err := creds.TLSConfig(); err != nil {
			t.Error(err)
		}
		if _, err := creds.SSHClientConfig(); err != nil {
			t.Error(err)
		}
		return
	}
	strace := testenv.Program(t, "strace")
	home := testenv.CopyHome(t, "18.3")
	log := filepath.Join(t.TempDir(), "calls")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), strace, "-f", "-qq", "-y", "-o", log, "-e", "trace=openat,open,socket,connect", self, "-test.run=^TestProfileBudget$")
	cmd.Env = append(os.Environ(), envLoad+"="+home)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	calls := testenv.Read(t, log)
	opened := regexp.MustCompile(`(?m)^.*open(?:at)?\(.*\) = \d+<`+regexp.QuoteMeta(home)+`/.*$`).FindAllString(calls, -1)
	t.Logf("loading a profile opens %d files:\n%s", len(opened), strings.Join(opened, "\n"))
	if len(opened) == 0 || len(opened) > maxProfileFiles {
		t.Errorf("loading a profile opens %d files, the limit is %d", len(opened), maxProfileFiles)
	}
	for _, call := range []string{"socket(", "connect(", "O_WRONLY|O_CREAT|O_TRUNC", "O_RDWR"} {
		if strings.Contains(strings.Join(opened, "\n"), call) || strings.HasSuffix(call, "(") && strings.Contains(calls, call) {
			t.Errorf("loading a profile does %s:\n%s", call, calls)
		}
	}
}
