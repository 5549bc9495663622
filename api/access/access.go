// Package access holds what decides what a person may do in a cluster: users, roles,
// and requests for more. Use the calls of package api to get and to change them. Text
// comes from the server as it is: make it safe before it is printed.
package access

import "time"

// User is a user of a cluster.
type User struct {
	Name    string
	Roles   []string
	Traits  map[string][]string // what templates in roles are filled with, for instance logins
	Locked  bool                // no login until LockedUntil
	Expires time.Time           // of users that an identity provider made; zero for never

	LockedUntil time.Time
	CreatedBy   string
}

// Role is what users who have it may do: what Allow says and Deny does not. Only what
// concerns servers and access requests is here.
type Role struct {
	Name        string
	Description string
	Labels      map[string]string
	Version     string // "v3" to "v8"
	Options     Options
	Allow, Deny Conditions
}

// Options are the limits of a role.
type Options struct {
	MaxSessionTTL  time.Duration // of certificates; 0 for no limit
	IdleTimeout    time.Duration // of sessions; 0 for none
	ForwardAgent   bool
	PortForwarding bool
	FileCopy       bool
	X11Forwarding  bool
	MaxConnections int64 // at the same time; 0 for no limit
	MaxSessions    int64 // on one connection; 0 for no limit
	SessionMFA     bool  // every session takes a second factor

	// What login does about access requests: "" or "optional" nothing, "always" makes
	// one, "reason" makes one that needs a reason, which RequestPrompt asks for.
	RequestAccess string
	RequestPrompt string
}

// Conditions are one side of a role, what it allows or what it denies.
type Conditions struct {
	Logins     []string            // accounts on servers; templates like {{internal.logins}} are not filled in
	NodeLabels map[string][]string // of servers; "*" stands for any key or value
	Expression string              // over the labels of servers, in the cluster's language
	Rules      []Rule
	Request    Requestable
}

// Rule is about calls: the verbs on resources of these kinds; "*" stands for all.
type Rule struct {
	Resources []string
	Verbs     []string // "list", "read", "create", …
	Where     string   // a condition in the cluster's language
}

// Requestable is what may be asked for by access request.
type Requestable struct {
	Roles              []string
	SearchAsRoles      []string // resources that these roles reach
	SuggestedReviewers []string
	MaxDuration        time.Duration
}

// Capabilities is what a user's roles say about making access requests.
type Capabilities struct {
	AutoRequest   bool   // everything that can be requested is, at login
	RequireReason bool   // ... and has to have a reason
	Prompt        string // what the reason should say

	RequestableRoles   []string // that the user does not have
	SuggestedReviewers []string
}
