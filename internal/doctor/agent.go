package doctor

import (
	"errors"
	"fmt"

	"github.com/seed-087d674e/tsh/internal/sshagent"
	"github.com/seed-087d674e/tsh/profile"
)

// agent looks at the person's ssh-agent, if there is one. That it fails is never more
// than a warning: what needs it says so itself.
func (e *exam) agent() {
	f := Finding{Check: checkAgent, Status: Warning, Subject: "ssh-agent"}
	expired, err := e.askAgent()
	e.agentErr = err
	switch {
	case errors.Is(err, sshagent.ErrNone):
		return
	case err != nil:
		f.Message, f.Hint = err.Error(), "start it again, or unset SSH_AUTH_SOCK"
		e.add(f)
	case expired > 0:
		f.Message = fmt.Sprintf("holds entries of logins that have expired: %d", expired)
		e.repair(f, e.cleanAgent)
	default:
		e.ok(checkAgent, f.Subject, "answers")
	}
}

func (e *exam) askAgent() (expired int, err error) {
	a, err := sshagent.Dial(profile.AgentPatience)
	if err != nil {
		return 0, err
	}
	defer a.Close()
	held, over, err := e.heldBy(a)
	e.held = held
	return len(over), err
}

// heldBy is what the agent has: what is of use, and what is over.
func (e *exam) heldBy(a *sshagent.Agent) (held, over []sshagent.Held, err error) {
	all, err := a.List()
	for _, h := range all {
		if h.Expired(e.now) {
			over = append(over, h)
		} else {
			held = append(held, h)
		}
	}
	return held, over, err
}

func (e *exam) cleanAgent() error {
	a, err := sshagent.Dial(profile.AgentPatience)
	if err != nil {
		return err
	}
	defer a.Close()
	_, over, err := e.heldBy(a)
	if err != nil {
		return err
	}
	return a.Drop(over)
}
