package proxy

import (
	"context"
	"encoding/json"
	"time"
)

// HeadlessRequest asks for certificates that the user approves elsewhere. It holds
// no secret.
type HeadlessRequest struct {
	User string `json:"user"`
	ID   string `json:"headless_id"`
	// SSHPubKey is an authorized_keys line, TLSPubKey a PEM block.
	SSHPubKey []byte `json:"ssh_pub_key,omitempty"`
	TLSPubKey []byte `json:"tls_pub_key,omitempty"`
	// PubKey, an authorized_keys line, is set instead for clusters of version 14,
	// which put one key into both certificates and take the request at another path.
	PubKey            []byte        `json:"pub_key,omitempty"`
	TTL               time.Duration `json:"ttl"` // accepted and ignored: a minute is what there is
	Cluster           string        `json:"RouteToCluster"`
	KubernetesCluster string        `json:"KubernetesCluster"`
	// Patience is how long the answer may take.
	Patience time.Duration `json:"-"`
}

// LoginHeadless has the proxy issue certificates once the user has approved the
// request. It returns when that is decided, or no longer waited for.
// Errors are those of Ping; a request that is denied is an *Error with status 403.
// Nothing in the response has been verified.
func (c *Client) LoginHeadless(ctx context.Context, req HeadlessRequest) (*LoginResponse, error) {
	path := "/webapi/headless/login"
	if len(req.PubKey) > 0 {
		path = "/webapi/ssh/certs"
	}
	l, _, err := c.reach(ctx, "/webapi/ping")
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(req)
	if err != nil {
		return nil, err
	}
	answer := new(LoginResponse)
	err = l.call(ctx, call{op: "headless login", path: path, body: body, limit: maxLoginAnswer, patience: req.Patience}, answer)
	if err != nil {
		return nil, err
	}
	return answer, nil
}
