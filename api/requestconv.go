package api

import (
	"time"

	"github.com/seed-087d674e/tsh/api/access"
	"github.com/seed-087d674e/tsh/api/resource"
	"github.com/seed-087d674e/tsh/internal/wire"
	"github.com/seed-087d674e/tsh/internal/wire/accesswire"
	"github.com/seed-087d674e/tsh/internal/wire/rolewire"
)

func newRequest(r *accesswire.AccessRequest) *access.Request {
	s := &r.Spec
	request := &access.Request{
		Kind: r.Kind, Version: r.Version, Metadata: newMetadata(&r.Metadata),
		Spec: access.RequestSpec{
			User: s.User, Roles: s.Roles, State: access.State(s.State), Created: s.Created.Time(), Expires: s.Expires.Time(),
			Reason: s.RequestReason, ResolveReason: s.ResolveReason,
			ResolveAnnotations: lists(s.ResolveAnnotations), SystemAnnotations: lists(s.SystemAnnotations),
			SuggestedReviewers: s.SuggestedReviewers, LoginHint: s.LoginHint, DryRun: s.DryRun,
			MaxDuration: s.MaxDuration.Time(), SessionTTL: s.SessionTTL.Time(),
			AssumeStartTime: s.AssumeStartTime.Time(), Expiry: s.ResourceExpiry.Time(),
		},
	}
	spec := &request.Spec
	for _, t := range s.Thresholds {
		spec.Thresholds = append(spec.Thresholds, access.Threshold{Name: t.Name, Filter: t.Filter, Approve: int(t.Approve), Deny: int(t.Deny)})
	}
	for _, v := range s.Reviews {
		spec.Reviews = append(spec.Reviews, access.Review{
			Author: v.Author, Roles: v.Roles, State: access.State(v.ProposedState), Reason: v.Reason,
			Created: v.Created.Time(), AssumeStartTime: v.AssumeStartTime.Time(),
		})
	}
	for _, id := range s.ResourceIDs {
		spec.Resources = append(spec.Resources, access.ResourceID{Cluster: id.ClusterName, Kind: id.Kind, Name: id.Name, Sub: id.SubResourceName})
	}
	return request
}

// draft is the message that asks for what d says.
func draft(d *access.Draft) *accesswire.AccessRequest {
	m := &accesswire.AccessRequest{
		Kind: "access_request", Version: "v3",
		Metadata: wire.Metadata{Name: d.ID, Namespace: "default", Expires: accesswire.NewTimestamp(d.Expiry)},
		Spec: accesswire.AccessRequestSpec{
			User: d.User, Roles: d.Roles, State: int32(access.Pending), RequestReason: d.Reason, SuggestedReviewers: d.Reviewers, DryRun: d.DryRun,
			MaxDuration: accesswire.NewTimestamp(d.MaxDuration), SessionTTL: accesswire.NewTimestamp(d.SessionTTL),
			AssumeStartTime: accesswire.NewTimestamp(d.AssumeStartTime), ResourceExpiry: accesswire.NewTimestamp(d.Expiry),
		},
	}
	for _, r := range d.Resources {
		m.Spec.ResourceIDs = append(m.Spec.ResourceIDs, &accesswire.ResourceID{ClusterName: r.Cluster, Kind: r.Kind, Name: r.Name, SubResourceName: r.Sub})
	}
	return m
}

func newMetadata(m *wire.Metadata) resource.Metadata {
	metadata := resource.Metadata{Name: m.Name, Description: m.Description, Labels: m.Labels, Revision: m.Revision}
	if expires := m.Expires.Time(); !expires.IsZero() {
		metadata.Expires = &expires
	}
	return metadata
}

// lists are traits, labels and annotations; nil if there are none.
func lists(m *rolewire.LabelValues) map[string][]string {
	if m == nil || len(m.Values) == 0 {
		return nil
	}
	out := make(map[string][]string, len(m.Values))
	for key, v := range m.Values {
		if v == nil {
			v = new(rolewire.StringValues)
		}
		out[key] = v.Values
	}
	return out
}

// duration turns nanoseconds of a message into a duration, which is not negative.
func duration(ns int64) time.Duration { return time.Duration(max(ns, 0)) }
