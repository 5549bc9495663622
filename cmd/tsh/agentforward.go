package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/seed-087d674e/tsh/internal/sshagent"
)

// agentPatience is how long a system agent has to accept a connection.
const agentPatience = 2 * time.Second

// forwardedAgent serves the agent that -A or ForwardAgent name to programs on the node;
// nil for none. That a system agent is there is found out before the node is asked.
func (a *app) forwardedAgent(s *session, o sshOptions) (func(context.Context, io.ReadWriteCloser), error) {
	switch o.agent {
	case "", agentNo:
		return nil, nil
	case agentLocal:
		key, err := s.id.SSHSigner()
		if err != nil {
			return nil, err
		}
		comment := fmt.Sprintf("teleport:%s:%s:%s", s.profile.Name, s.cluster, s.profile.User)
		return func(_ context.Context, peer io.ReadWriteCloser) {
			logAgent(sshagent.Serve(peer, key, comment))
		}, nil
	}
	path := agentPath(o.agent)
	first, err := sshagent.Connect(path, agentPatience)
	if err != nil {
		a.ui.warn("no agent is forwarded: %s", err)
		return nil, nil
	}
	_ = first.Close() // nothing was written
	return func(ctx context.Context, peer io.ReadWriteCloser) {
		conn, err := sshagent.Connect(path, agentPatience)
		if err == nil {
			err = conn.Relay(ctx, peer)
		}
		logAgent(err)
	}, nil
}

// agentPath is where the agent of ForwardAgent listens; "" is the usual one.
func agentPath(value string) string {
	if value == agentYes {
		return ""
	}
	if name, ok := strings.CutPrefix(value, "$"); ok {
		return os.Getenv(strings.Trim(name, "{}"))
	}
	return value
}

func logAgent(err error) {
	if err != nil {
		slog.Debug("agent forwarding", "error", err)
	}
}
