package wire

import "time"

// Empty is a message without fields. A pointer to it says "present".
type Empty struct{}

// Timestamp is google.protobuf.Timestamp.
type Timestamp struct {
	Seconds int64 `wire:"1"`
	Nanos   int32 `wire:"2"`
}

// Time is the moment t stands for, in UTC. An absent timestamp, one before the
// year 2, which is how servers send "not set", and one that is none, with more
// than a second of nanoseconds or after the year 9999, are the zero Time.
func (t *Timestamp) Time() time.Time {
	const (
		yearTwo         = -62103974400 // 0002-01-01T00:00:00Z
		yearTenThousand = 253402300800 // the first that RFC 3339 cannot write
	)
	if t == nil || t.Seconds < yearTwo || t.Seconds >= yearTenThousand || t.Nanos < 0 || t.Nanos >= 1e9 {
		return time.Time{}
	}
	return time.Unix(t.Seconds, int64(t.Nanos)).UTC()
}

// Frame carries bytes of a connection; where one ends means nothing.
type Frame struct {
	Payload []byte `wire:"1"`
}

// TargetHost names a node; port 0 means whatever port it has.
type TargetHost struct {
	HostPort string `wire:"1"`
	Cluster  string `wire:"2"`
}

// ProxySSHRequest goes to the proxy on ProxySSH: first DialTarget alone, then
// frames.
type ProxySSHRequest struct {
	DialTarget *TargetHost `wire:"1"`
	SSH        *Frame      `wire:"2"`
	Agent      *Frame      `wire:"3"`
}

// ProxySSHResponse comes from the proxy on ProxySSH: first Details alone, when
// the node has been reached, then frames.
type ProxySSHResponse struct {
	Details *ClusterDetails `wire:"1"`
	SSH     *Frame          `wire:"2"`
	Agent   *Frame          `wire:"3"`
}

// ClusterDetails says how a proxy works.
type ClusterDetails struct {
	FIPSEnabled bool `wire:"1"`
}

// ProxyClusterRequest goes to the proxy on ProxyCluster; Cluster in the first
// message only, empty for the proxy's own.
type ProxyClusterRequest struct {
	Cluster string `wire:"1"`
	Frame   *Frame `wire:"2"`
}

// ProxyClusterResponse comes from the proxy on ProxyCluster.
type ProxyClusterResponse struct {
	Frame *Frame `wire:"1"`
}

// PingResponse is the auth server's answer to Ping; the request is Empty.
type PingResponse struct {
	ClusterName     string `wire:"1"`
	ServerVersion   string `wire:"2"`
	ProxyPublicAddr string `wire:"4"`
	FIPS            bool   `wire:"5"`
	RemoteAddr      string `wire:"7"`
	LoadAllCAs      bool   `wire:"8"`
	SignatureSuite  int32  `wire:"9"`
}

// SortBy orders the resources of a list.
type SortBy struct {
	Descending bool   `wire:"1"`
	Field      string `wire:"2"`
}

// ListUnifiedResourcesRequest asks for a page of resources of any kind.
type ListUnifiedResourcesRequest struct {
	Kinds          []string          `wire:"1"`
	Limit          int32             `wire:"2"`
	StartKey       string            `wire:"3"`
	Labels         map[string]string `wire:"4"`
	Predicate      string            `wire:"5"`
	SearchKeywords []string          `wire:"6"`
	SortBy         SortBy            `wire:"7"`
	WindowsFilter  Empty             `wire:"8"` // servers expect it, empty
}

// ListUnifiedResourcesResponse is a page; NextKey is empty on the last.
type ListUnifiedResourcesResponse struct {
	Resources []PaginatedResource `wire:"1"`
	NextKey   string              `wire:"2"`
}

// ListResourcesRequest asks for a page of resources of one kind. It is what
// clusters have that do not know ListUnifiedResources (14.x).
type ListResourcesRequest struct {
	ResourceType   string            `wire:"1"`
	Namespace      string            `wire:"2"`
	Limit          int32             `wire:"3"`
	StartKey       string            `wire:"4"`
	Labels         map[string]string `wire:"5"`
	Predicate      string            `wire:"6"`
	SearchKeywords []string          `wire:"7"`
	SortBy         SortBy            `wire:"8"`
	WindowsFilter  Empty             `wire:"10"` // servers expect it, empty
}

// ListResourcesResponse is a page; NextKey is empty on the last.
type ListResourcesResponse struct {
	Resources []PaginatedResource `wire:"1"`
	NextKey   string              `wire:"2"`
}

// PaginatedResource is a resource of some kind; Node is nil if it is no node.
type PaginatedResource struct {
	Node *Server `wire:"3"`
}
