//go:build unix

package friendstest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/seed-087d674e/tsh/internal/devcluster"
	"github.com/seed-087d674e/tsh/internal/testenv"
)

// Ansible over 50 servers at once: OpenSSH with tsh proxy ssh, 50 times at a time
// and without a connection that is shared.
func TestAnsible(t *testing.T) {
	testenv.SecondRing(t)
	playbook := testenv.Program(t, "ansible-playbook")
	const hosts = 50
	w := newWorld(t, func(c *devcluster.Config) { c.Nodes = hosts })
	var inventory strings.Builder
	for i := range hosts {
		fmt.Fprintf(&inventory, "node-%d.dev.example\n", i+1)
	}
	list := w.file("hosts", inventory.String())
	w.file("ansible.cfg", "[defaults]\nhost_key_checking = true\nretry_files_enabled = false\nnocows = true\ntimeout = 30\n"+
		"[ssh_connection]\nssh_args = -F "+w.config+" -o ControlMaster=no\n")
	w.env = append(w.env, "ANSIBLE_CONFIG="+w.home+"/ansible.cfg", "ANSIBLE_LOCAL_TEMP="+w.home+"/ansible")

	play := w.file("play.yaml", `
- hosts: all
  gather_facts: false
  tasks:
    - name: ask
      raw: "echo $SSH_TELEPORT_HOST_UUID"
      register: id
    - name: it is a server of the cluster
      assert:
        that: id.stdout | trim | length == 36 # a UUID
`)
	out := w.must("", playbook, "-i", list, "-f", fmt.Sprint(hosts), play)
	if n := strings.Count(out, "ok=2 "); n != hosts {
		t.Errorf("%d of %d servers played:\n%s", n, hosts, out)
	}
}
