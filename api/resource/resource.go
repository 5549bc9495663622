// Package resource holds the parts of what there is in a cluster: what nodes say about
// themselves, and sessions. Use the calls of package api to get them. JSON forms are the
// ones that the commands of Teleport clients print; text comes from the server as it is.
package resource

import (
	"encoding/json"
	"time"
)

// Metadata identifies a resource.
type Metadata struct {
	Name        string            `json:"name"` // of nodes and requests an ID
	Description string            `json:"description,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`  // static ones
	Expires     *time.Time        `json:"expires,omitempty"` // of the announcement
	Revision    string            `json:"revision,omitempty"`
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
