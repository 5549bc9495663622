// Package sessionwire holds the messages about sessions that take a second factor,
// in the manner of package wire.
package sessionwire

import (
	"github.com/seed-087d674e/tsh/internal/wire"
	"github.com/seed-087d674e/tsh/internal/wire/accesswire"
	"github.com/seed-087d674e/tsh/internal/wire/mfawire"
)

// What a server says of whether a second factor is required.
const (
	RequiredYes = 1
	RequiredNo  = 2
)

// RequiredRequest asks whether a session takes a second factor (IsMFARequired).
type RequiredRequest struct {
	Node *NodeLogin `wire:"3"`
}

// NodeLogin is a session on a node, by the name, address or ID that it is dialled with.
type NodeLogin struct {
	Node  string `wire:"1"`
	Login string `wire:"2"`
}

// RequiredResponse answers RequiredRequest. Servers of 14.x set the first field alone.
type RequiredResponse struct {
	Required bool  `wire:"1"`
	Answer   int32 `wire:"2"` // RequiredYes or RequiredNo
}

// ChallengeRequest asks for a challenge for sessions (CreateAuthenticateChallenge, which
// mfawire has for other things). It is answered with a mfawire.Challenge.
type ChallengeRequest struct {
	ContextUser *wire.Empty          `wire:"3"` // the caller
	Check       *RequiredRequest     `wire:"5"` // is it required at all? Not in 14.x
	Extensions  *ChallengeExtensions `wire:"6"` // not in 14.x
}

// ChallengeExtensions says what the answer is for, and whether once.
type ChallengeExtensions struct {
	Scope      int32 `wire:"1"`
	AllowReuse int32 `wire:"2"` // ReuseYes or ReuseNo
}

// What ChallengeExtensions may say.
const (
	ReuseYes = 1
	ReuseNo  = 2
)

// What an accesswire.UserCertsRequest is for.
const (
	UsageSSH         = 1
	PurposeSingleUse = 2
)

// SingleUseRequest is what the client sends in GenerateUserSingleUseCerts (14.x): what
// it wants first, then the answer to the challenge.
type SingleUseRequest struct {
	Init        *accesswire.UserCertsRequest `wire:"1"`
	MFAResponse *mfawire.Answer              `wire:"2"`
}

// SingleUseResponse is what comes back: the challenge, then the certificate.
type SingleUseResponse struct {
	Challenge *mfawire.Challenge `wire:"1"`
	Cert      *accesswire.Certs  `wire:"2"`
}
