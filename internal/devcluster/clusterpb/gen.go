// Package clusterpb holds the generated messages of the dev cluster.
//
// They are for the server alone: the client has its own encoding, so that a
// misreading of the protocol on one side shows up against the other.
package clusterpb

// protoc-gen-go v1.36.12 and protoc 3.21 made the committed files; both are
// tools of the author, not dependencies.
//
//go:generate sh -c "GOBIN=${TMPDIR:-/tmp}/devcluster-gen go install google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12 && PATH=${TMPDIR:-/tmp}/devcluster-gen:$PATH protoc --go_out=. --go_opt=paths=source_relative cluster.proto clustermfa.proto clusterheadless.proto leaf.proto sessions.proto roles.proto"
