// Package rolewire holds the messages about users and roles, in the manner of package wire.
package rolewire

import "github.com/seed-087d674e/tsh/internal/wire"

// LabelValues are traits, labels and annotations.
type LabelValues struct {
	Values map[string]*StringValues `wire:"1"`
}

// StringValues is a list in a map.
type StringValues struct {
	Values []string `wire:"1"`
}

// GetUserRequest asks for a user.
type GetUserRequest struct {
	Name        string `wire:"1"`
	CurrentUser bool   `wire:"2"` // the caller, whatever Name is
}

// GetUserResponse has the user.
type GetUserResponse struct {
	User *User `wire:"1"`
}

// User is a user.
type User struct {
	Kind     string        `wire:"1"` // "user"
	Version  string        `wire:"3"`
	Metadata wire.Metadata `wire:"4"`
	Spec     UserSpec      `wire:"5"`
}

// UserSpec is what a user has.
type UserSpec struct {
	Roles     []string        `wire:"4"`
	Traits    LabelValues     `wire:"5"`
	Status    LoginStatus     `wire:"6"`
	Expires   *wire.Timestamp `wire:"7"`
	CreatedBy CreatedBy       `wire:"8"`
}

// LoginStatus says whether a user may log in.
type LoginStatus struct {
	IsLocked    bool            `wire:"1"`
	LockExpires *wire.Timestamp `wire:"4"`
}

// CreatedBy says who made a user.
type CreatedBy struct {
	User UserRef `wire:"3"`
}

// UserRef names a user.
type UserRef struct {
	Name string `wire:"1"`
}

// GetRoleRequest asks for a role.
type GetRoleRequest struct {
	Name string `wire:"1"`
}

// ListRolesRequest asks for a page of roles.
type ListRolesRequest struct {
	Limit    int32  `wire:"1"`
	StartKey string `wire:"2"`
}

// ListRolesResponse is a page of roles; that of GetRoles (14.x) has no key.
type ListRolesResponse struct {
	Roles   []*Role `wire:"1"`
	NextKey string  `wire:"2"`
}

// Role is a role.
type Role struct {
	Kind     string        `wire:"1"` // "role"
	Version  string        `wire:"3"`
	Metadata wire.Metadata `wire:"4"`
	Spec     RoleSpec      `wire:"5"`
}

// RoleSpec is what a role says.
type RoleSpec struct {
	Options RoleOptions    `wire:"1"`
	Allow   RoleConditions `wire:"2"`
	Deny    RoleConditions `wire:"3"`
}

// BoolValue is a bool whose default, where it is absent, is not false.
type BoolValue struct {
	Value bool `wire:"1"`
}

// RoleOptions are limits. Durations are nanoseconds.
type RoleOptions struct {
	ForwardAgent        bool       `wire:"1"`
	MaxSessionTTL       int64      `wire:"2"`
	PortForwarding      *BoolValue `wire:"3"` // absent: allowed
	ClientIdleTimeout   int64      `wire:"5"`
	PermitX11Forwarding bool       `wire:"8"`
	MaxConnections      int64      `wire:"9"`
	MaxSessions         int64      `wire:"10"`
	RequestAccess       string     `wire:"11"`
	RequestPrompt       string     `wire:"12"`
	SSHFileCopy         *BoolValue `wire:"22"` // absent: allowed
	RequireMFAType      int32      `wire:"23"` // 0 is off
}

// RoleConditions are what a role allows or denies.
type RoleConditions struct {
	Logins               []string           `wire:"1"`
	NodeLabels           LabelValues        `wire:"3"`
	Rules                []*Rule            `wire:"4"`
	Request              *RequestConditions `wire:"6"`
	NodeLabelsExpression string             `wire:"30"`
}

// Rule allows or denies verbs on kinds of resources.
type Rule struct {
	Resources []string `wire:"1"`
	Verbs     []string `wire:"2"`
	Where     string   `wire:"3"`
}

// RequestConditions say what may be requested.
type RequestConditions struct {
	Roles              []string `wire:"1"`
	SuggestedReviewers []string `wire:"5"`
	SearchAsRoles      []string `wire:"6"`
	MaxDuration        int64    `wire:"7"` // nanoseconds
}
