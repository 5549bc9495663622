package sdktest

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/seed-087d674e/tsh/internal/devcluster"
	"github.com/seed-087d674e/tsh/internal/testenv"
)

// A program whose identity file is renewed under load makes no call that fails, and ends
// up with the last identity.
func TestBot(t *testing.T) {
	rotations := 20
	if testenv.All() {
		rotations = 300
	}
	w := newWorld(t)
	if _, err := w.cluster.AddUser(devcluster.UserSpec{Name: "bob", Password: alicePassword, Roles: []string{"access"}}); err != nil {
		t.Fatal(err)
	}
	w.sign("alice", "file", "bot.id")
	cmd := exec.Command(program(t, "bot"), "--proxy", w.cluster.PublicAddr(), "--identity", "bot.id", "--for", patience.String())
	var problems bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stderr = w.dir, w.env, &problems
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	await := func(want string) {
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), want) {
				return
			}
		}
		t.Fatalf("the bot did not say %q\n%s", want, &problems)
	}
	await("I am alice")
	for range rotations {
		w.sign("alice", "file", "bot.id")
	}
	w.sign("bob", "file", "bot.id")
	await("I am bob")
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() {
		if !strings.HasPrefix(lines.Text(), "I am ") && !strings.HasSuffix(lines.Text(), " calls, 0 failed") {
			t.Error(lines.Text())
		}
		t.Logf("%d rotations: %s", rotations, lines.Text())
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, &problems)
	}
}
