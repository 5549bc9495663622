package profile

import (
	"bytes"
	"crypto"
	"fmt"
	"time"

	"github.com/seed-087d674e/tsh/internal/sshagent"
	"github.com/seed-087d674e/tsh/keystore"
	"golang.org/x/crypto/ssh"
)

// AgentPatience is what a login or a logout waits for an ssh-agent in all.
const AgentPatience = 500 * time.Millisecond

// AddToAgent puts the SSH key and certificate of id into the person's ssh-agent, in the
// place of those that an earlier login of the same user at the same proxy put there. The
// agent drops them when the certificate ends. It takes AgentPatience at most.
func AddToAgent(id *keystore.Identity, now time.Time) error {
	agent, entry, err := agentEntry(id, now)
	if err != nil {
		return err
	}
	defer agent.Close()
	return agent.Put(entry)
}

// HandToAgent gives the ssh-agent a key that nobody else will keep, and makes sure that
// it has it. What an earlier login put there stays until the new one is stored: then
// Settle, otherwise TakeBack must follow. It sets id.InAgent.
func HandToAgent(id *keystore.Identity, now time.Time) (*Handed, error) {
	agent, entry, err := agentEntry(id, now)
	if err != nil {
		return nil, err
	}
	defer agent.Close()
	before, err := agent.Add(entry)
	if err != nil {
		return nil, err
	}
	h := &Handed{own: sshagent.Held{Blob: id.SSHCert.Marshal()}, before: before}
	if _, err := sshagent.OpenKey(id.TLSCert.PublicKey); err != nil {
		return nil, err
	}
	id.InAgent = true
	return h, nil
}

// Handed is a key that was given to an ssh-agent.
type Handed struct {
	own    sshagent.Held
	before []sshagent.Held // what the agent had of the same user and proxy
}

// TakeBack removes the key again, and nothing else.
func (h *Handed) TakeBack() error { return dropFromAgent([]sshagent.Held{h.own}) }

// Settle removes what earlier logins put there, except the key of the login that is
// stored now.
func (h *Handed) Settle(stored crypto.PublicKey) error {
	var old []sshagent.Held
	for _, e := range h.before {
		if !heldKeyIs(e.Blob, stored) {
			old = append(old, e)
		}
	}
	return dropFromAgent(old)
}

func heldKeyIs(blob []byte, key crypto.PublicKey) bool {
	held, err := ssh.ParsePublicKey(blob)
	if err != nil {
		return false
	}
	if cert, ok := held.(*ssh.Certificate); ok {
		held = cert.Key
	}
	pub, err := ssh.NewPublicKey(key)
	return err == nil && bytes.Equal(held.Marshal(), pub.Marshal())
}

func dropFromAgent(entries []sshagent.Held) error {
	if len(entries) == 0 {
		return nil
	}
	agent, err := sshagent.Dial(AgentPatience)
	if err != nil {
		return err
	}
	defer agent.Close()
	return agent.Drop(entries)
}

func agentEntry(id *keystore.Identity, now time.Time) (*sshagent.Agent, sshagent.Entry, error) {
	end, ok := id.Expiry()
	if !ok || id.SSHKey == nil {
		return nil, sshagent.Entry{}, fmt.Errorf("identity of %s at %s has no SSH certificate", id.User, id.Proxy)
	}
	agent, err := sshagent.Dial(AgentPatience)
	return agent, sshagent.Entry{
		Proxy: id.Proxy, Cluster: id.Cluster, User: id.User,
		Key: id.SSHKey, Cert: id.SSHCert, Lifetime: end.Sub(now),
	}, err
}
