package devcluster

import (
	"bytes"
	"encoding/json"
	"time"

	"go.yaml.in/yaml/v3"
)

// The documents that roles are written as: parseRoles reads them back.
type (
	roleDocument struct {
		Kind     string       `yaml:"kind" json:"kind"`
		Version  string       `yaml:"version" json:"version"`
		Metadata roleMetadata `yaml:"metadata" json:"metadata"`
		Spec     roleSpec     `yaml:"spec" json:"spec"`
	}
	roleMetadata struct {
		Name        string            `yaml:"name" json:"name"`
		Description string            `yaml:"description,omitempty" json:"description,omitempty"`
		Labels      map[string]string `yaml:"labels,omitempty" json:"labels,omitempty"`
		Expires     string            `yaml:"expires,omitempty" json:"expires,omitempty"`
	}
	roleSpec struct {
		Options roleOptions   `yaml:"options" json:"options"`
		Allow   roleCondition `yaml:"allow" json:"allow"`
		Deny    roleCondition `yaml:"deny" json:"deny"`
	}
	roleOptions struct {
		MaxSessionTTL  string `yaml:"max_session_ttl,omitempty" json:"max_session_ttl,omitempty"`
		ForwardAgent   bool   `yaml:"forward_agent" json:"forward_agent"`
		PortForwarding bool   `yaml:"port_forwarding" json:"port_forwarding"`
		PermitX11      bool   `yaml:"permit_x11_forwarding" json:"permit_x11_forwarding"`
		FileCopy       bool   `yaml:"ssh_file_copy" json:"ssh_file_copy"`
		SessionMFA     bool   `yaml:"require_session_mfa" json:"require_session_mfa"`
		RequestAccess  string `yaml:"request_access,omitempty" json:"request_access,omitempty"`
		RequestPrompt  string `yaml:"request_prompt,omitempty" json:"request_prompt,omitempty"`
	}
	roleCondition struct {
		Logins     []string            `yaml:"logins,omitempty" json:"logins,omitempty"`
		NodeLabels map[string][]string `yaml:"node_labels,omitempty" json:"node_labels,omitempty"`
		Rules      []roleRule          `yaml:"rules,omitempty" json:"rules,omitempty"`
		Request    *roleRequest        `yaml:"request,omitempty" json:"request,omitempty"`
		Review     *roleReview         `yaml:"review_requests,omitempty" json:"review_requests,omitempty"`
	}
	roleRule struct {
		Resources []string `yaml:"resources" json:"resources"`
		Verbs     []string `yaml:"verbs" json:"verbs"`
	}
	roleRequest struct {
		Roles       []string        `yaml:"roles" json:"roles"`
		Thresholds  []roleThreshold `yaml:"thresholds,omitempty" json:"thresholds,omitempty"`
		Reviewers   []string        `yaml:"suggested_reviewers,omitempty" json:"suggested_reviewers,omitempty"`
		MaxDuration string          `yaml:"max_duration,omitempty" json:"max_duration,omitempty"`
		Reason      *roleReason     `yaml:"reason,omitempty" json:"reason,omitempty"`
	}
	roleThreshold struct {
		Name    string `yaml:"name,omitempty" json:"name,omitempty"`
		Approve int    `yaml:"approve" json:"approve"`
		Deny    int    `yaml:"deny" json:"deny"`
	}
	roleReason struct {
		Mode string `yaml:"mode" json:"mode"`
	}
	roleReview struct {
		Roles []string `yaml:"roles" json:"roles"`
	}
)

func (r *role) document() roleDocument {
	doc := roleDocument{
		Kind: "role", Version: or(r.Version, roleVersion),
		Metadata: roleMetadata{Name: r.Name, Description: r.Description, Labels: r.Labels},
		Spec: roleSpec{
			Options: roleOptions{
				MaxSessionTTL: lengthOf(r.MaxSessionTTL), ForwardAgent: r.ForwardAgent, PortForwarding: r.PortForwarding,
				PermitX11: r.PermitX11, FileCopy: !r.NoFileCopy, SessionMFA: r.SessionMFA,
				RequestAccess: r.RequestAccess, RequestPrompt: r.RequestPrompt,
			},
			Allow: r.conditions.document(), Deny: r.Deny.document(),
		},
	}
	if !r.Expires.IsZero() {
		doc.Metadata.Expires = r.Expires.Format(time.RFC3339Nano)
	}
	return doc
}

func (c *conditions) document() roleCondition {
	doc := roleCondition{Logins: c.Logins, NodeLabels: c.NodeLabels}
	for _, ru := range c.Rules {
		doc.Rules = append(doc.Rules, roleRule(ru))
	}
	if len(c.Requestable) > 0 {
		doc.Request = &roleRequest{Roles: c.Requestable, Reviewers: c.Terms.Reviewers, MaxDuration: lengthOf(c.Terms.MaxDuration)}
		for _, th := range c.Terms.Thresholds {
			doc.Request.Thresholds = append(doc.Request.Thresholds, roleThreshold(th))
		}
		if c.Terms.NeedReason {
			doc.Request.Reason = &roleReason{reasonRequired}
		}
	}
	if len(c.Reviewable) > 0 {
		doc.Review = &roleReview{c.Reviewable}
	}
	return doc
}

// lengthOf is a length of time, empty for none.
func lengthOf(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return d.String()
}

// yaml is the role as a document.
func (r *role) yaml() (string, error) {
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	err := enc.Encode(r.document())
	return b.String(), err
}

// json is the same in JSON.
func (r *role) json() (json.RawMessage, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(r.document())
	return b.Bytes(), err
}
