package mfawire

import "github.com/seed-087d674e/tsh/internal/wire"

// ResourceHeader says what a resource is.
type ResourceHeader struct {
	Kind     string        `wire:"1"`
	SubKind  string        `wire:"2"`
	Version  string        `wire:"3"`
	Metadata wire.Metadata `wire:"4"`
}

// HeadlessRequest names a headless login (GetHeadlessAuthentication).
type HeadlessRequest struct {
	ID string `wire:"1"`
}

// HeadlessLogin is a headless login that waits, or waited, for a decision.
type HeadlessLogin struct {
	Header   ResourceHeader `wire:"1"`
	User     string         `wire:"2"`
	State    int32          `wire:"4"` // 1 pending, 2 denied, 3 approved
	ClientIP string         `wire:"6"` // ip:port
}

// HeadlessDecision decides on a headless login (UpdateHeadlessAuthenticationState,
// which is answered with Empty). Answer is nil in a denial.
type HeadlessDecision struct {
	ID     string  `wire:"1"`
	State  int32   `wire:"2"`
	Answer *Answer `wire:"3"`
}
