package mfawire

import "github.com/seed-087d674e/tsh/internal/wire"

// HeadlessLogin is a headless login that waits, or waited, for a decision.
type HeadlessLogin struct {
	Header struct {
		Metadata wire.Metadata `wire:"4"`
	} `wire:"1"`
	User     string `wire:"2"`
	State    int32  `wire:"4"` // 1 pending, 2 denied, 3 approved
	ClientIP string `wire:"6"` // ip:port
}

// HeadlessDecision decides on a headless login (UpdateHeadlessAuthenticationState,
// which is answered with Empty). Answer is nil in a denial. The ID alone asks for the
// login (GetHeadlessAuthentication).
type HeadlessDecision struct {
	ID     string  `wire:"1"`
	State  int32   `wire:"2"`
	Answer *Answer `wire:"3"`
}
