package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/seed-087d674e/tsh/internal/testenv"
)

// A thousand profiles are listed before anybody has to wait.
func TestThousandProfiles(t *testing.T) {
	home := testenv.CopyHome(t, "18.3")
	for i := range 999 {
		name := fmt.Sprintf("gate%d.example.net", i)
		testenv.Write(t, filepath.Join(home, name+".yaml"), "web_proxy_addr: "+name+":443\nuser: fixture\ncluster: real.example.test\n")
	}
	path, err := exec.LookPath("tsh")
	if err != nil {
		t.Fatal(err)
	}
	list := func() ([]profileEntry, time.Duration) {
		cmd := exec.Command(path, "profiles", "--json")
		cmd.Env = append(os.Environ(), "TELEPORT_HOME="+home, "TELEPORT_PROXY=")
		start := time.Now()
		out, err := cmd.Output()
		took := time.Since(start)
		var entries []profileEntry
		if err == nil {
			err = json.Unmarshal(out, &entries)
		}
		if err != nil {
			t.Fatal(err)
		}
		return entries, took
	}
	entries, took := list()
	for range 4 { // the machine may be busy
		_, again := list()
		took = min(took, again)
	}
	states := map[string]int{}
	for _, e := range entries {
		states[e.State]++
	}
	if len(entries) != 1000 || states[stateLoggedOut] != 999 || states[stateValid]+states[stateExpired] != 1 {
		t.Errorf("%d profiles: %v", len(entries), states)
	}
	const limit = 500 * time.Millisecond // some 60 ms on a quiet machine
	if t.Logf("%v", took); took > limit {
		t.Errorf("it took %v", took)
	}
}
