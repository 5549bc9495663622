package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// awaitChild waits until the process has a child that runs another program.
func awaitChild(t *testing.T, pid int) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(10 * time.Second)
	for {
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
		if err != nil {
			t.Fatal(err)
		}
		for _, task := range tasks {
			children, _ := os.ReadFile(task)
			for child := range strings.FieldsSeq(string(children)) {
				line, _ := os.ReadFile("/proc/" + child + "/cmdline")
				if strings.Contains(string(line), watchWord) {
					return
				}
			}
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("nobody watches the terminal")
		}
	}
}
