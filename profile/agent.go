package profile

import (
	"fmt"
	"time"

	"github.com/seed-087d674e/tsh/internal/sshagent"
	"github.com/seed-087d674e/tsh/keystore"
)

// AgentPatience is what a login or a logout waits for an ssh-agent in all.
const AgentPatience = 500 * time.Millisecond

// AddToAgent puts the SSH key and certificate of id into the person's ssh-agent, in the
// place of those that an earlier login of the same user at the same proxy put there. The
// agent drops them when the certificate ends. It takes AgentPatience at most.
func AddToAgent(id *keystore.Identity, now time.Time) error {
	end, ok := id.Expiry()
	if !ok || id.SSHKey == nil {
		return fmt.Errorf("identity of %s at %s has no SSH certificate", id.User, id.Proxy)
	}
	agent, err := sshagent.Dial(AgentPatience)
	if err != nil {
		return err
	}
	defer agent.Close()
	return agent.Put(sshagent.Entry{
		Proxy: id.Proxy, Cluster: id.Cluster, User: id.User,
		Key: id.SSHKey, Cert: id.SSHCert, Lifetime: end.Sub(now),
	})
}

// RemoveFromAgent takes what AddToAgent has put there out again.
func RemoveFromAgent(proxy, user string) error {
	agent, err := sshagent.Dial(AgentPatience)
	if err != nil {
		return err
	}
	defer agent.Close()
	_, err = agent.Remove(proxy, user)
	return err
}
