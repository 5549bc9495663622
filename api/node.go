package api

import (
	"maps"

	"github.com/seed-087d674e/tsh/api/resource"
	"github.com/seed-087d674e/tsh/internal/wire"
)

// Node is an SSH server of a cluster. Its JSON form is the one that the
// commands of Teleport clients print. Its text comes from the server as it is.
type Node struct {
	Kind     string            `json:"kind"`               // "node"
	SubKind  string            `json:"sub_kind,omitempty"` // "teleport" or empty, "openssh", "openssh-ec2-ice"
	Version  string            `json:"version"`            // of the resource: "v2"
	Metadata resource.Metadata `json:"metadata"`
	Spec     NodeSpec          `json:"spec"`
}

// NodeSpec is what a node announces about itself.
type NodeSpec struct {
	Addr          string                           `json:"addr"` // host:port; empty if it is reached by tunnel
	Hostname      string                           `json:"hostname"`
	CommandLabels map[string]resource.CommandLabel `json:"cmd_labels,omitempty"`
	Rotation      resource.Rotation                `json:"rotation"`
	UseTunnel     bool                             `json:"use_tunnel,omitempty"`
	Version       string                           `json:"version"`
	PeerAddr      string                           `json:"peer_addr,omitempty"`
	ProxyIDs      []string                         `json:"proxy_ids,omitempty"`
	PublicAddrs   []string                         `json:"public_addrs,omitempty"`
	CloudMetadata *resource.CloudMetadata          `json:"cloud_metadata,omitempty"`
	RelayGroup    string                           `json:"relay_group,omitempty"`
	RelayIDs      []string                         `json:"relay_ids,omitempty"`
}

// Labels are the static labels and the results of the command labels, which
// win where both have a key.
func (n *Node) Labels() map[string]string {
	labels := make(map[string]string, len(n.Metadata.Labels)+len(n.Spec.CommandLabels))
	maps.Copy(labels, n.Metadata.Labels)
	for key, label := range n.Spec.CommandLabels {
		labels[key] = label.Result
	}
	return labels
}

func newNode(s *wire.Server) *Node {
	return &Node{
		Kind:     s.Kind,
		SubKind:  s.SubKind,
		Version:  s.Version,
		Metadata: newMetadata(&s.Metadata),
		Spec:     newSpec(&s.Spec),
	}
}

func newSpec(s *wire.ServerSpec) NodeSpec {
	spec := NodeSpec{
		Addr:        s.Addr,
		Hostname:    s.Hostname,
		Rotation:    newRotation(&s.Rotation),
		UseTunnel:   s.UseTunnel,
		Version:     s.Version,
		PeerAddr:    s.PeerAddr,
		ProxyIDs:    s.ProxyIDs,
		PublicAddrs: s.PublicAddrs,
		RelayGroup:  s.RelayGroup,
		RelayIDs:    s.RelayIDs,
	}
	if len(s.CommandLabels) > 0 {
		spec.CommandLabels = make(map[string]resource.CommandLabel, len(s.CommandLabels))
	}
	for key, l := range s.CommandLabels {
		spec.CommandLabels[key] = resource.CommandLabel{Period: resource.Duration(l.Period), Command: l.Command, Result: l.Result}
	}
	if s.CloudMetadata != nil {
		spec.CloudMetadata = &resource.CloudMetadata{AWS: (*resource.AWSMetadata)(s.CloudMetadata.AWS)}
	}
	return spec
}

func newRotation(r *wire.Rotation) resource.Rotation {
	return resource.Rotation{
		State:       r.State,
		Phase:       r.Phase,
		Mode:        r.Mode,
		CurrentID:   r.CurrentID,
		Started:     r.Started.Time(),
		GracePeriod: resource.Duration(r.GracePeriod),
		LastRotated: r.LastRotated.Time(),
		Schedule: resource.RotationSchedule{
			UpdateClients: r.Schedule.UpdateClients.Time(),
			UpdateServers: r.Schedule.UpdateServers.Time(),
			Standby:       r.Schedule.Standby.Time(),
		},
	}
}
