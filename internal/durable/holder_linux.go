package durable

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// holderOf says which process holds a lock on the file path, as the kernel's list
// of locks (proc(5)) has it; "" when that does not tell.
func holderOf(path string) string {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return ""
	}
	f, err := os.Open("/proc/locks")
	if err != nil {
		return ""
	}
	defer f.Close()
	locks, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err != nil {
		return ""
	}
	inode := fmt.Sprintf("%02x:%02x:%d", unix.Major(uint64(st.Dev)), unix.Minor(uint64(st.Dev)), st.Ino)
	for _, line := range bytes.Split(locks, []byte("\n")) {
		// 1: FLOCK ADVISORY WRITE 123 08:01:456 0 EOF; one that waits has "->" in front.
		f := strings.Fields(string(line))
		if len(f) < 8 || f[1] != "FLOCK" || f[5] != inode {
			continue
		}
		program, err := os.ReadFile("/proc/" + f[4] + "/comm")
		if err != nil {
			program = nil
		}
		return holderName(f[4], strings.TrimSpace(string(program)))
	}
	return ""
}
