// Command bench measures tsh against OpenSSH and, where TSH_REFERENCE names its
// binary, against another tsh: all in one run, in turns, so that whatever else the
// machine does hits all alike. It prints medians and ratios. What is not there to
// compare with is left out, visibly. Arguments choose sections.
package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// section is one table.
type section struct {
	name, title string
	run         func(*lab) error
	alone       bool // it needs no cluster
}

func sections() []section {
	return []section{
		{"start", "start-up", startUp, true},
		{"slopes", "round trips, as the slope of time over round-trip time (25 and 125 ms)", slopes, false},
		{"proxy", "proxy ssh", proxySSH, false},
		{"bulk", "bulk data over one session, loopback", bulk, false},
		{"scp", "scp, loopback", copyBig, false},
		{"files", "many small files, 50 ms round trips", copySmall, false},
		{"many", "one command on 200 servers", fanOut, false},
		{"ls", "a list of 10,000 servers", listMany, false},
	}
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(chosen []string) (err error) {
	var names []string
	for _, s := range sections() {
		names = append(names, s.name)
	}
	for _, name := range chosen {
		if !slices.Contains(names, name) {
			return fmt.Errorf("no section is called %s; there are %s", name, strings.Join(names, ", "))
		}
	}
	l, err := newLab()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	for _, s := range sections() {
		if len(chosen) > 0 && !slices.Contains(chosen, s.name) {
			continue
		}
		fmt.Printf("\n%s\n", s.title)
		if !s.alone {
			if err := l.open(); err != nil {
				return err
			}
		}
		begin := time.Now()
		if err := s.run(l); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		fmt.Printf("  (%.0f s)\n", time.Since(begin).Seconds())
	}
	return nil
}
