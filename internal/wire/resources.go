package wire

// Metadata describes a resource.
type Metadata struct {
	Name        string            `wire:"1"`
	Namespace   string            `wire:"2"`
	Description string            `wire:"3"`
	Labels      map[string]string `wire:"5"`
	Expires     *Timestamp        `wire:"6"`
	Revision    string            `wire:"8"`
}

// Server is a node of a cluster.
type Server struct {
	Kind     string     `wire:"1"`
	SubKind  string     `wire:"2"`
	Version  string     `wire:"3"`
	Metadata Metadata   `wire:"4"`
	Spec     ServerSpec `wire:"5"`
}

// ServerSpec is what a node announces about itself.
type ServerSpec struct {
	Addr          string                  `wire:"1"`
	Hostname      string                  `wire:"3"`
	CommandLabels map[string]CommandLabel `wire:"4"`
	Rotation      Rotation                `wire:"5"`
	UseTunnel     bool                    `wire:"6"`
	Version       string                  `wire:"7"`
	PeerAddr      string                  `wire:"11"`
	ProxyIDs      []string                `wire:"12"`
	PublicAddrs   []string                `wire:"13"`
	CloudMetadata *CloudMetadata          `wire:"14"`
	RelayGroup    string                  `wire:"16"`
	RelayIDs      []string                `wire:"17"`
}

// CommandLabel is a label whose value a command on the node yields; Period is
// in nanoseconds.
type CommandLabel struct {
	Period  int64    `wire:"1"`
	Command []string `wire:"2"`
	Result  string   `wire:"3"`
}

// Rotation is the state of the rotation of a node's certificate authority;
// GracePeriod is in nanoseconds.
type Rotation struct {
	State       string           `wire:"1"`
	Phase       string           `wire:"2"`
	Mode        string           `wire:"3"`
	CurrentID   string           `wire:"4"`
	Started     *Timestamp       `wire:"5"`
	GracePeriod int64            `wire:"6"`
	LastRotated *Timestamp       `wire:"7"`
	Schedule    RotationSchedule `wire:"8"`
}

// RotationSchedule says when a rotation enters its phases.
type RotationSchedule struct {
	UpdateClients *Timestamp `wire:"1"`
	UpdateServers *Timestamp `wire:"2"`
	Standby       *Timestamp `wire:"3"`
}

// CloudMetadata says where in a cloud a node runs.
type CloudMetadata struct {
	AWS *AWSMetadata `wire:"1"`
}

// AWSMetadata says where in AWS a node runs.
type AWSMetadata struct {
	AccountID   string `wire:"1"`
	InstanceID  string `wire:"2"`
	Region      string `wire:"3"`
	VPCID       string `wire:"4"`
	Integration string `wire:"5"`
	SubnetID    string `wire:"6"`
}

// ResolveSSHTargetRequest asks for the one node that all of it describes.
type ResolveSSHTargetRequest struct {
	Host           string            `wire:"1"`
	Port           string            `wire:"2"`
	Labels         map[string]string `wire:"3"`
	Predicate      string            `wire:"4"`
	SearchKeywords []string          `wire:"5"`
}

// ResolveSSHTargetResponse has that node.
type ResolveSSHTargetResponse struct {
	Server *Server `wire:"1"`
}
