package main

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"testing"
)

// peakMemory is the most memory, in kB, that a process has had. Its parent learns that
// from the end of the process, too, but there its own memory is in the way.
func peakMemory(t *testing.T, pid int) int {
	t.Helper()
	peak, err := peakMemoryNow(pid)
	if err != nil {
		t.Fatal(err)
	}
	return peak
}

// peakMemoryNow is peakMemory of a process that may have ended.
func peakMemoryNow(pid int) (int, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	peak := regexp.MustCompile(`(?m)^VmHWM:\s+(\d+) kB$`).FindSubmatch(status)
	if peak == nil {
		return 0, fmt.Errorf("no VmHWM: %s", status)
	}
	return strconv.Atoi(string(peak[1]))
}
