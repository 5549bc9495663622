package devcluster

import (
	"crypto/rand"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/go-webauthn/webauthn/webauthn"
)

// challengeScope says what an answered challenge is good for. The numbers are
// those of the API.
type challengeScope int32

const (
	scopeLogin         challengeScope = 1
	scopePasswordless  challengeScope = 2
	scopeHeadless      challengeScope = 3
	scopeManageDevices challengeScope = 4
	scopeUserSession   challengeScope = 6
)

// Limits of challenges that wait for their answer.
const (
	challengeLife        = 5 * time.Minute
	passwordlessLife     = time.Minute
	maxPasswordlessAsked = 5000
	challengeSize        = 32
)

// errTooManyChallenges: more people are logging in without a name than there is
// memory for.
var errTooManyChallenges = errors.New("too many passwordless challenges are in flight")

// ceremony is a challenge that waits for its answer.
type ceremony struct {
	session webauthn.SessionData
	expires time.Time
	// reusable: the answer serves more than once, until the challenge expires.
	reusable bool
	// resident: a registration is for a key that can say who the user is.
	resident bool
}

// ceremonies are the challenges in flight: one per user and scope, a newer one
// replaces the older; those of nobody known go by their own value.
type ceremonies struct {
	mu      sync.Mutex
	waiting map[string]*ceremony
	nobodys int // of them, passwordless ones
}

// userCeremony is where a user's challenge waits.
func userCeremony(scope challengeScope, user string) string {
	return strconv.Itoa(int(scope)) + "/" + user
}

// registrationOf is where the registration of a user's new key waits.
func registrationOf(user string) string { return "new/" + user }

// nobodysCeremony is where a passwordless challenge waits; challenge is as it is
// in the client's data.
func nobodysCeremony(challenge string) string { return userCeremony(scopePasswordless, challenge) }

// put has a challenge wait. Passwordless ones are bounded, because anybody may
// ask for one.
func (c *ceremonies) put(key string, next *ceremony, now time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting == nil {
		c.waiting = make(map[string]*ceremony)
	}
	if next.session.UserID == nil {
		if c.nobodys >= maxPasswordlessAsked {
			c.sweep(now)
		}
		if c.nobodys >= maxPasswordlessAsked {
			return errTooManyChallenges
		}
		c.nobodys++
	}
	c.waiting[key] = next
	return nil
}

// sweep drops what has expired.
func (c *ceremonies) sweep(now time.Time) {
	for key, old := range c.waiting {
		if !old.expires.After(now) {
			c.drop(key)
		}
	}
}

func (c *ceremonies) drop(key string) {
	if old := c.waiting[key]; old != nil && old.session.UserID == nil {
		c.nobodys--
	}
	delete(c.waiting, key)
}

// take claims a challenge: whoever gets it is the only one who can answer it, unless it
// may be answered more than once.
func (c *ceremonies) take(key string, now time.Time) (*ceremony, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	found := c.waiting[key]
	if found == nil || !found.reusable || !found.expires.After(now) {
		c.drop(key)
	}
	return found, found != nil && found.expires.After(now)
}

// giveBack lets a challenge whose answer was wrong wait on, unless there is a
// newer one.
func (c *ceremonies) giveBack(key string, old *ceremony) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting[key] != nil {
		return
	}
	c.waiting[key] = old
	if old.session.UserID == nil {
		c.nobodys++
	}
}

// newChallenge is a challenge nobody can guess.
func newChallenge() []byte {
	challenge := make([]byte, challengeSize)
	_, _ = rand.Read(challenge) // it never fails
	return challenge
}
