package api

import (
	"time"

	"github.com/seed-087d674e/tsh/api/access"
	"github.com/seed-087d674e/tsh/api/resource"
	"github.com/seed-087d674e/tsh/internal/wire"
	"github.com/seed-087d674e/tsh/internal/wire/accesswire"
	"github.com/seed-087d674e/tsh/internal/wire/rolewire"
)

func newRequest(m *accesswire.AccessRequest) *access.Request {
	request := &access.Request{Kind: m.Kind, Version: m.Version, Metadata: newMetadata(&m.Metadata)}
	s, spec := &m.Spec, &request.Spec
	spec.User, spec.Roles, spec.State = s.User, s.Roles, access.State(s.State)
	spec.Reason, spec.ResolveReason = s.RequestReason, s.ResolveReason
	spec.SuggestedReviewers, spec.LoginHint, spec.DryRun = s.SuggestedReviewers, s.LoginHint, s.DryRun
	to := [...]*time.Time{&spec.Created, &spec.Expires, &spec.MaxDuration, &spec.SessionTTL, &spec.AssumeStartTime, &spec.Expiry}
	for i, t := range [...]*wire.Timestamp{s.Created, s.Expires, s.MaxDuration, s.SessionTTL, s.AssumeStartTime, s.ResourceExpiry} {
		*to[i] = t.Time()
	}
	for _, t := range s.Thresholds {
		spec.Thresholds = append(spec.Thresholds, access.Threshold(*t))
	}
	for _, v := range s.Reviews {
		spec.Reviews = append(spec.Reviews, access.Review{
			Author: v.Author, Roles: v.Roles, State: access.State(v.ProposedState), Reason: v.Reason,
			Created: v.Created.Time(), AssumeStartTime: v.AssumeStartTime.Time(),
		})
	}
	for _, id := range s.ResourceIDs {
		spec.Resources = append(spec.Resources, access.ResourceID(*id))
	}
	return request
}

// draft is the message that asks for what d says.
func draft(d *access.Draft) *accesswire.AccessRequest {
	m := &accesswire.AccessRequest{Kind: "access_request", Version: "v3", Metadata: wire.Metadata{Name: d.ID, Namespace: "default"}}
	s := &m.Spec
	s.User, s.Roles, s.State = d.User, d.Roles, int32(access.Pending)
	s.RequestReason, s.SuggestedReviewers, s.DryRun = d.Reason, d.Reviewers, d.DryRun
	s.AssumeStartTime = accesswire.NewTimestamp(d.AssumeStartTime)
	now := time.Now()
	to := [...]**wire.Timestamp{&s.MaxDuration, &s.SessionTTL, &s.ResourceExpiry}
	for i, ttl := range [...]time.Duration{d.MaxDuration, d.SessionTTL, d.Expiry} {
		if ttl != 0 {
			*to[i] = accesswire.NewTimestamp(now.Add(ttl))
		}
	}
	m.Metadata.Expires = s.ResourceExpiry // where 14.x has it
	for _, r := range d.Resources {
		m.Spec.ResourceIDs = append(m.Spec.ResourceIDs, (*accesswire.ResourceID)(&r))
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
