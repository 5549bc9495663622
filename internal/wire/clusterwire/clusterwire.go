// Package clusterwire holds the messages about what there is in a cluster besides
// nodes: its leaf clusters and its sessions, in the manner of package wire.
package clusterwire

import "github.com/seed-087d674e/tsh/internal/wire"

// RemoteClustersRequest asks for a page of the leaf clusters.
type RemoteClustersRequest struct {
	PageSize  int32  `wire:"1"`
	PageToken string `wire:"2"`
}

// RemoteClustersResponse is a page; NextPageToken is empty at the end.
type RemoteClustersResponse struct {
	Clusters      []*RemoteCluster `wire:"1"`
	NextPageToken string           `wire:"2"`
}

// RemoteCluster is a leaf cluster as its root knows it.
type RemoteCluster struct {
	Metadata wire.Metadata       `wire:"4"` // Name is the cluster's
	Status   RemoteClusterStatus `wire:"5"`
}

// RemoteClusterStatus says whether the leaf is connected.
type RemoteClusterStatus struct {
	Connection    string          `wire:"1"` // "online", "offline"
	LastHeartbeat *wire.Timestamp `wire:"2"`
}
