package sshagent

import (
	"math"
	"time"

	"golang.org/x/crypto/ssh/agent"
)

// RemoveExpired removes the entries of logins, whichever client put them there, whose
// certificate has ended: an agent that offers them only uses up the tries that a
// server allows. Keys that are no login's, and bare keys, stay. Removed is as in Remove.
func (a *Agent) RemoveExpired(now time.Time) (removed int, err error) {
	keys, err := a.list()
	if err != nil {
		return 0, err
	}
	return a.remove(keys, func(k *agent.Key) bool {
		if _, ok := whose(k); !ok {
			return false
		}
		cert := certificate(k)
		return cert != nil && cert.ValidBefore <= math.MaxInt64 && !now.Before(time.Unix(int64(cert.ValidBefore), 0))
	})
}
