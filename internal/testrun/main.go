// Command testrun runs "go test" with its arguments and ends with what go test
// keeps to itself: which tests were skipped, and why.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// event is one line of go test -json (go doc test2json).
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
}

func main() {
	cmd := exec.Command("go", append([]string{"test", "-json"}, os.Args[1:]...)...)
	cmd.Stderr = os.Stderr
	events, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var s summary
	s.read(events)
	err = cmd.Wait()
	s.print(os.Stdout)
	var failed *exec.ExitError
	switch {
	case errors.As(err, &failed):
		os.Exit(failed.ExitCode())
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// summary is what is told of a run.
type summary struct {
	passed, failed int
	skipped        []string
	output         map[string][]string // of tests that are not over
}

func (s *summary) read(r io.Reader) {
	s.output = make(map[string][]string)
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			fmt.Println(lines.Text()) // a build failure
			continue
		}
		s.take(e)
	}
}

func (s *summary) take(e event) {
	if e.Test == "" {
		if e.Action == "fail" {
			s.unfinished(e.Package)
		}
		if e.Output != "" && e.Output != "PASS\n" {
			fmt.Print(e.Output)
		}
		return
	}
	id := e.Package + " " + e.Test
	switch e.Action {
	case "output":
		s.output[id] = append(s.output[id], e.Output)
		return
	case "pass":
		s.passed++
	case "skip":
		s.skipped = append(s.skipped, id+": "+reason(s.output[id]))
	case "fail":
		s.failed++
		fmt.Print(strings.Join(s.output[id], ""))
	default:
		return
	}
	delete(s.output, id)
}

// unfinished prints what tests said that were not over when their package
// failed: a panic, or the stacks of a timeout.
func (s *summary) unfinished(pkg string) {
	for id, output := range s.output {
		if strings.HasPrefix(id, pkg+" ") {
			fmt.Print(strings.Join(output, ""))
			delete(s.output, id)
			s.failed++
		}
	}
}

// reason is what a skipped test said, without the frame around it.
func reason(output []string) string {
	var said []string
	for _, line := range output {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "===") || strings.HasPrefix(line, "---") {
			continue
		}
		if _, after, ok := strings.Cut(line, ".go:"); ok {
			_, line, _ = strings.Cut(after, ": ")
		}
		said = append(said, line)
	}
	return strings.Join(said, " ")
}

func (s *summary) print(w io.Writer) {
	for _, line := range s.skipped {
		fmt.Fprintln(w, "skipped:", line)
	}
	fmt.Fprintf(w, "%d passed, %d failed, %d skipped\n", s.passed, s.failed, len(s.skipped))
}
