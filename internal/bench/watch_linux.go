package main

import (
	"bytes"
	"fmt"
	"os"
	"time"
)

// watchMemory looks at a process until stop is called, which tells its largest resident
// set, in bytes. What the kernel tells of a dead process begins with the size of its
// parent, which runs a cluster here.
func watchMemory(pid int) (stop func() int64) {
	const pause = 5 * time.Millisecond
	ended, peak := make(chan struct{}), make(chan int64)
	go func() {
		var most int64
		for ticker := time.NewTicker(pause); ; {
			if status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)); err == nil {
				if _, rest, found := bytes.Cut(status, []byte("VmHWM:")); found {
					var kb int64
					if _, err := fmt.Sscan(string(rest), &kb); err == nil {
						most = max(most, kb*1024)
					}
				}
			}
			select {
			case <-ticker.C:
			case <-ended:
				ticker.Stop()
				peak <- most
				return
			}
		}
	}()
	return func() int64 {
		close(ended)
		return <-peak
	}
}
