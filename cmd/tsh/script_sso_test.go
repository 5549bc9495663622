package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/seed-087d674e/tsh/internal/devcluster"
)

// setConnectors reads connectors=KIND:NAME[:form],… of a script's cluster.
func setConnectors(config *devcluster.Config, value string) {
	for spec := range strings.SplitSeq(value, ",") {
		kind, name, _ := strings.Cut(spec, ":")
		name, form, _ := strings.Cut(name, ":")
		config.Connectors = append(config.Connectors, devcluster.Connector{Kind: kind, Name: name, PostForm: form == "form"})
	}
}

// inBrowser runs a program that logs in through the browser, without a terminal,
// and goes on with the link that it prints:
//
//	browse STEPS… -- program args…
//
// Steps are person=NAME (follow the link and sign in), forge (try to bring an answer
// that is none), nearly (try links that are nearly it; none uses it up),
// interrupt (end the program with SIGINT) and status=N. What was printed is in
// the files out and err, what the browser saw in the file seen.
func (w *world) inBrowser(ts *testscript.TestScript, neg bool, args []string) {
	end := 0
	for args[end] != "--" {
		end++
	}
	steps, command := args[:end], args[end+1:]
	cmd := exec.Command(lookPath(ts, command[0]), command[1:]...)
	cmd.Dir, cmd.Env = ts.MkAbs("."), scriptEnv(ts)
	withoutTerminal(cmd)
	var out, messages bytes.Buffer
	cmd.Stdout = &out
	pipe, err := cmd.StderrPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	watchdog := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer watchdog.Stop()

	reader := bufio.NewReader(io.TeeReader(pipe, &messages))
	link := awaitLink(reader)
	if link == "" {
		ts.Logf("%s", messages.String())
		_ = cmd.Wait()
		ts.Fatalf("no link was printed")
	}
	status := 0
	for _, step := range steps {
		name, value, _ := strings.Cut(step, "=")
		switch name {
		case "person":
			seen, err := surf(link, value, ts.Getenv("SSL_CERT_FILE"))
			ts.Check(err)
			ts.Check(os.WriteFile(ts.MkAbs("seen"), []byte(strings.Join(seen, "\n")+"\n"), 0o600))
		case "nearly":
			w.nearly(ts, link)
		case "forge":
			w.forge(ts, link)
		case "interrupt":
			ts.Check(cmd.Process.Signal(os.Interrupt))
		case "status":
			_, err := fmt.Sscan(value, &status)
			ts.Check(err)
		default:
			ts.Fatalf("browse: %q", step)
		}
	}
	_, _ = io.Copy(io.Discard, reader)
	got := waitStatus(cmd)
	ts.Logf("%s%s", out.String(), messages.String())
	ts.Check(os.WriteFile(ts.MkAbs("out"), out.Bytes(), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs("err"), messages.Bytes(), 0o600))
	if neg || got != status {
		ts.Fatalf("exit status %d, want %d", got, status)
	}
}

// awaitLink reads until a line is a link.
func awaitLink(r *bufio.Reader) string {
	link := regexp.MustCompile(`^\s*(http://127\.0\.0\.1:\d+/[\w-]+)\s*$`)
	for {
		line, err := r.ReadString('\n')
		if found := link.FindStringSubmatch(line); found != nil {
			return found[1]
		}
		if err != nil {
			return ""
		}
	}
}

// nearly asks for what is nearly the link that was printed: none of it is of any
// use, nor uses the link up.
func (w *world) nearly(ts *testscript.TestScript, link string) {
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for _, tc := range []struct {
		method, url string
		want        int
	}{{"GET", link + "x", 404}, {"HEAD", link, 405}, {"POST", link, 415}} {
		req, err := http.NewRequest(tc.method, tc.url, nil)
		ts.Check(err)
		answer, err := client.Do(req)
		ts.Check(err)
		_ = answer.Body.Close()
		if answer.StatusCode != tc.want {
			ts.Fatalf("%s %s: %s", tc.method, tc.url, answer.Status)
		}
	}
}

// forge brings answers that are none.
func (w *world) forge(ts *testscript.TestScript, link string) {
	u, err := url.Parse(link)
	ts.Check(err)
	zeros := strings.Repeat("0", 64)
	for _, query := range []string{
		"", "err=canary-forged", "err=canary-forged&secret_key=" + zeros, "response=canary-forged", "response={}",
		"secret_key=" + zeros, `response={"ciphertext":"AAAA","nonce":"AAAA"}`, "response=&response=",
	} {
		for _, post := range []bool{false, true} {
			var answer *http.Response
			if post {
				answer, err = http.Post("http://"+u.Host+"/callback", "application/x-www-form-urlencoded", strings.NewReader(query))
			} else {
				answer, err = http.Get("http://" + u.Host + "/callback?" + query)
			}
			ts.Check(err)
			body, err := io.ReadAll(answer.Body)
			ts.Check(err)
			_ = answer.Body.Close()
			if answer.StatusCode != http.StatusForbidden || strings.Contains(string(body), "canary") {
				ts.Fatalf("forged %q: %s %s", query, answer.Status, body)
			}
		}
	}
}
