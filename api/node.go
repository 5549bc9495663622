package api

import (
	"encoding/json"
	"maps"
	"time"

	"github.com/seed-087d674e/tsh/internal/wire"
)

// Node is an SSH server of a cluster. Its JSON form is the one that the
// commands of Teleport clients print. Its text comes from the server as it is.
type Node struct {
	Kind     string       `json:"kind"`               // "node"
	SubKind  string       `json:"sub_kind,omitempty"` // "teleport" or empty, "openssh", "openssh-ec2-ice"
	Version  string       `json:"version"`            // of the resource: "v2"
	Metadata NodeMetadata `json:"metadata"`
	Spec     NodeSpec     `json:"spec"`
}

// NodeMetadata identifies a node.
type NodeMetadata struct {
	Name        string            `json:"name"` // UUID
	Description string            `json:"description,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`  // static ones
	Expires     *time.Time        `json:"expires,omitempty"` // of the announcement
	Revision    string            `json:"revision,omitempty"`
}

// NodeSpec is what a node announces about itself.
type NodeSpec struct {
	Addr          string                  `json:"addr"` // host:port; empty if it is reached by tunnel
	Hostname      string                  `json:"hostname"`
	CommandLabels map[string]CommandLabel `json:"cmd_labels,omitempty"`
	Rotation      Rotation                `json:"rotation"`
	UseTunnel     bool                    `json:"use_tunnel,omitempty"`
	Version       string                  `json:"version"`
	PeerAddr      string                  `json:"peer_addr,omitempty"`
	ProxyIDs      []string                `json:"proxy_ids,omitempty"`
	PublicAddrs   []string                `json:"public_addrs,omitempty"`
	CloudMetadata *CloudMetadata          `json:"cloud_metadata,omitempty"`
	RelayGroup    string                  `json:"relay_group,omitempty"`
	RelayIDs      []string                `json:"relay_ids,omitempty"`
}

// CommandLabel is a label whose value a command on the node yields from time
// to time.
type CommandLabel struct {
	Period  Duration `json:"period"`
	Command []string `json:"command"`
	Result  string   `json:"result"`
}

// Rotation is the state of the rotation of the node's certificate authority.
type Rotation struct {
	State       string           `json:"state,omitempty"`
	Phase       string           `json:"phase,omitempty"`
	Mode        string           `json:"mode,omitempty"`
	CurrentID   string           `json:"current_id"`
	Started     time.Time        `json:"started"`
	GracePeriod Duration         `json:"grace_period,omitempty"`
	LastRotated time.Time        `json:"last_rotated"`
	Schedule    RotationSchedule `json:"schedule"`
}

// RotationSchedule says when a rotation enters its phases.
type RotationSchedule struct {
	UpdateClients time.Time `json:"update_clients"`
	UpdateServers time.Time `json:"update_servers"`
	Standby       time.Time `json:"standby"`
}

// CloudMetadata says where in a cloud a node runs.
type CloudMetadata struct {
	AWS *AWSMetadata `json:"aws,omitempty"`
}

// AWSMetadata says where in AWS a node runs.
type AWSMetadata struct {
	AccountID   string `json:"account_id"`
	InstanceID  string `json:"instance_id"`
	Region      string `json:"region"`
	VPCID       string `json:"vpc_id"`
	Integration string `json:"integration"`
	SubnetID    string `json:"subnet_id"`
}

// Duration is a length of time whose JSON form is Go duration text ("1m0s").
type Duration time.Duration

// MarshalJSON writes duration text.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(d).String()) }

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
	n := &Node{
		Kind:    s.Kind,
		SubKind: s.SubKind,
		Version: s.Version,
		Metadata: NodeMetadata{
			Name:        s.Metadata.Name,
			Description: s.Metadata.Description,
			Labels:      s.Metadata.Labels,
			Revision:    s.Metadata.Revision,
		},
		Spec: newSpec(&s.Spec),
	}
	if expires := s.Metadata.Expires.Time(); !expires.IsZero() {
		n.Metadata.Expires = &expires
	}
	return n
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
		spec.CommandLabels = make(map[string]CommandLabel, len(s.CommandLabels))
	}
	for key, l := range s.CommandLabels {
		spec.CommandLabels[key] = CommandLabel{Duration(l.Period), l.Command, l.Result}
	}
	if s.CloudMetadata != nil {
		spec.CloudMetadata = &CloudMetadata{(*AWSMetadata)(s.CloudMetadata.AWS)}
	}
	return spec
}

func newRotation(r *wire.Rotation) Rotation {
	return Rotation{
		State:       r.State,
		Phase:       r.Phase,
		Mode:        r.Mode,
		CurrentID:   r.CurrentID,
		Started:     r.Started.Time(),
		GracePeriod: Duration(r.GracePeriod),
		LastRotated: r.LastRotated.Time(),
		Schedule: RotationSchedule{
			UpdateClients: r.Schedule.UpdateClients.Time(),
			UpdateServers: r.Schedule.UpdateServers.Time(),
			Standby:       r.Schedule.Standby.Time(),
		},
	}
}
