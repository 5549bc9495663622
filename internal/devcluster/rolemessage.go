package devcluster

import (
	"encoding/json"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/seed-087d674e/tsh/internal/devcluster/clusterpb"
)

// message writes a role as 18.3 does, with the parts that concern other kinds
// of resources empty.
func (r role) message() *pb.Role {
	m := &pb.Role{
		Kind: "role", Version: or(r.Version, roleVersion),
		Metadata: &pb.Metadata{Name: r.Name, Namespace: "default", Description: r.Description, Labels: r.Labels, Revision: r.revision()},
		Spec:     &pb.RoleSpec{Options: r.options(), Allow: r.conditions.message(), Deny: r.Deny.message()},
	}
	if !r.Expires.IsZero() {
		m.Metadata.Expires = timestamppb.New(r.Expires)
	}
	return m
}

// revision is another one as soon as the role says something else.
func (r role) revision() string {
	raw, err := json.Marshal(r)
	if err != nil {
		raw = []byte(r.Name) // there is nothing in a role that cannot be written
	}
	return revision("role", string(raw))
}

func (r role) options() *pb.RoleOptions {
	yes, no := &pb.BoolValue{Value: true}, &pb.BoolValue{}
	mfaType := int32(0)
	if r.SessionMFA {
		mfaType = 1
	}
	return &pb.RoleOptions{
		RequireMfaType: mfaType,
		ForwardAgent:   r.ForwardAgent, MaxSessionTtl: int64(r.MaxSessionTTL),
		PortForwarding: &pb.BoolValue{Value: r.PortForwarding}, CertificateFormat: "standard",
		PermitX11Forwarding: r.PermitX11, RequestAccess: r.RequestAccess, RequestPrompt: r.RequestPrompt,
		EnhancedRecording: []string{"command", "network"},
		RecordSession:     &pb.RecordSession{Desktop: yes, Default: "best_effort"},
		DesktopClipboard:  yes, DesktopDirectorySharing: yes, SshFileCopy: &pb.BoolValue{Value: !r.NoFileCopy},
		Idp:               &pb.RoleIDP{Saml: &pb.RoleIDPSAML{Enabled: yes}},
		CreateDesktopUser: no, CreateDbUser: no, Unnamed_30: &pb.Empty{},
	}
}

func (c *conditions) message() *pb.RoleConditions {
	none := func() *pb.LabelValues { return &pb.LabelValues{} }
	m := &pb.RoleConditions{
		Logins: c.Logins, Namespaces: []string{"default"}, NodeLabels: none(), Unnamed_8: none(), ClusterLabels: none(),
		Unnamed_10: none(), Unnamed_11: none(), Unnamed_18: none(), Unnamed_26: none(), Unnamed_27: none(), Unnamed_44: none(),
	}
	for key, values := range c.NodeLabels {
		if m.NodeLabels.Values == nil {
			m.NodeLabels.Values = make(map[string]*pb.StringValues)
		}
		m.NodeLabels.Values[key] = &pb.StringValues{Values: values}
	}
	for _, ru := range c.Rules {
		m.Rules = append(m.Rules, &pb.Rule{Resources: ru.Resources, Verbs: ru.Verbs})
	}
	if len(c.Requestable) > 0 {
		m.Request = c.Terms.message()
		m.Request.Roles = c.Requestable
	}
	if len(c.Reviewable) > 0 {
		m.ReviewRequests = &pb.RoleReviewConditions{Roles: c.Reviewable}
	}
	return m
}

func (t *requestTerms) message() *pb.RoleRequestConditions {
	m := &pb.RoleRequestConditions{SuggestedReviewers: t.Reviewers, MaxDuration: int64(t.MaxDuration)}
	for _, th := range t.Thresholds {
		m.Thresholds = append(m.Thresholds, &pb.RoleReviewThreshold{Name: th.Name, Approve: uint32(th.Approve), Deny: uint32(th.Deny)})
	}
	if t.NeedReason {
		m.Reason = &pb.RoleRequestReason{Mode: reasonRequired}
	}
	return m
}
