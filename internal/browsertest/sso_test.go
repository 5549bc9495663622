package browsertest

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/seed-087d674e/tsh/internal/devcluster"
)

// loginRun is a tsh login that waits for its browser.
type loginRun struct {
	cmd         *exec.Cmd
	link        string
	out, errors bytes.Buffer
	messages    *bufio.Reader
}

func startLogin(t *testing.T, tsh string, c *devcluster.Cluster, connector string) *loginRun {
	t.Helper()
	r := &loginRun{cmd: exec.Command(tsh, "login", "--proxy="+c.PublicAddr(), "--auth="+connector, "--force", "--browser=none", "--debug")}
	r.cmd.Env = append(os.Environ(), "TELEPORT_HOME="+t.TempDir(), "SSL_CERT_FILE="+c.CAFile(), "TELEPORT_PROXY=", "SSH_AUTH_SOCK=")
	r.cmd.Stdout = &r.out
	pipe, err := r.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	watchdog := time.AfterFunc(3*time.Minute, func() { _ = r.cmd.Process.Kill() })
	t.Cleanup(func() { watchdog.Stop(); _ = r.cmd.Process.Kill() })
	r.messages = bufio.NewReader(io.TeeReader(pipe, &r.errors))
	link := regexp.MustCompile(`^ (http://127\.0\.0\.1:\d+/[\w-]+)\n$`)
	for r.link == "" {
		line, err := r.messages.ReadString('\n')
		if err != nil {
			t.Fatalf("no link: %s", r.errors.String())
		}
		if found := link.FindStringSubmatch(line); found != nil {
			r.link = found[1]
		}
	}
	return r
}

// wait returns the exit status.
func (r *loginRun) wait(t *testing.T) int {
	t.Helper()
	_, _ = io.Copy(io.Discard, r.messages)
	_ = r.cmd.Wait()
	noSecretIn(t, r.out.String()+r.errors.String())
	return r.cmd.ProcessState.ExitCode()
}

// A person logs in with a real browser: through a redirect, and through a form that
// a script sends; and is told there, too, when it does not work.
func TestSSO(t *testing.T) {
	c := startCluster(t, devcluster.Config{
		Connectors: []devcluster.Connector{
			{Kind: "github", Name: "gh", Display: "GitHub"}, {Kind: "oidc", Name: "corp", Display: "Corporate login"},
			{Kind: "saml", Name: "adfs", Display: "ADFS"}, {Kind: "saml", Name: "post", Display: "ADFS by form", PostForm: true},
		},
		People: []devcluster.Person{
			{Name: "gina", Groups: []string{"admins", "developers"}}, {Name: "olga", Groups: []string{"developers"}},
			{Name: "sam", Groups: []string{"auditors"}}, {Name: "pia", Groups: []string{"developers"}}, {Name: "carol"},
		},
	})
	tsh, browser := buildTSH(t), chromium(t, c)
	for _, tc := range []struct {
		connector, person, button string
		page                      string // where the browser ends
		want                      string // on stdout, or on stderr
		status                    int
	}{
		{"gh", "gina", "sign-in", "info/login_success", "Logged in as:       gina", 0},
		{"corp", "olga", "sign-in", "info/login_success", "Logged in as:       olga", 0},
		{"adfs", "sam", "sign-in", "info/login_success", "Logged in as:       sam", 0},
		{"post", "pia", "sign-in", "info/login_success", "Logged in as:       pia", 0},
		{"gh", "gina", "cancel", "error/login", "the person has said no", 1},
		{"post", "carol", "sign-in", "error/login", "carol has no role in this cluster", 1},
	} {
		name := "sso-" + tc.connector + "-" + tc.person + "-" + tc.button
		t.Run(name, func(t *testing.T) {
			login := startLogin(t, tsh, c, tc.connector)
			do(t, browser,
				chromedp.Navigate(login.link),
				chromedp.WaitVisible(chromedp.CSS("#sign-in")),
				chromedp.Click(chromedp.CSS("#person-"+tc.person)))
			keepScreen(t, browser, name+"-1-provider")
			do(t, browser,
				chromedp.Click(chromedp.CSS("#"+tc.button)),
				chromedp.WaitVisible(chromedp.CSS("main.good, main.bad")))
			where := see(t, browser, chromedp.Location())
			keepScreen(t, browser, name+"-2-end")
			if want := "https://" + c.PublicAddr() + "/web/msg/" + tc.page; where != want {
				t.Errorf("the browser ends on %s, want %s", where, want)
			}
			status := login.wait(t)
			said := login.out.String()
			if tc.status != 0 {
				said = login.errors.String()
			}
			if status != tc.status || !strings.Contains(said, tc.want) {
				t.Errorf("exit status %d, want %d and %q:\n%s%s", status, tc.status, tc.want, login.out.String(), login.errors.String())
			}
		})
	}
}

// case L02, case L03: a page of somebody else's can neither read what the listener
// says nor end the login, whatever it sends.
func TestOtherPagesGetNowhere(t *testing.T) {
	c := startCluster(t, devcluster.Config{Connectors: []devcluster.Connector{{Kind: "github", Name: "gh"}}})
	tsh, browser := buildTSH(t), chromium(t, c)
	login := startLogin(t, tsh, c, "gh")
	callback := login.link[:strings.LastIndexByte(login.link, '/')] + "/callback"
	// The cluster's pages allow no script; a page without a policy stands for the web.
	do(t, browser, chromedp.Navigate("data:text/html,<title>evil</title>"))
	try := func(options string) string {
		return see(t, browser, chromedp.Evaluate[string](`(async () => {
			try { return "read " + (await fetch("`+callback+`?err=canary", `+options+`)).status } catch (e) { return "blocked" }
		})()`, chromedp.EvalAwaitPromise))
	}
	read, form := try("{}"), try(`{method: "POST", headers: {"X-Canary": "1"}, body: "err=canary"}`)
	if read != "blocked" || form != "blocked" {
		t.Errorf("a page of another origin got %q and %q", read, form)
	}
	do(t, browser, chromedp.Navigate(login.link), chromedp.WaitVisible(chromedp.CSS("#sign-in")),
		chromedp.Click(chromedp.CSS("#person-alice")), chromedp.Click(chromedp.CSS("#sign-in")), chromedp.WaitVisible(chromedp.CSS("main.good")))
	if status := login.wait(t); status != 0 || strings.Contains(login.errors.String(), "canary") {
		t.Errorf("exit status %d:\n%s", status, login.errors.String())
	}
}
