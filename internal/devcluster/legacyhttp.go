package devcluster

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"slices"

	"google.golang.org/grpc/peer"
)

// The auth server of 14.x answers some calls by HTTP alone, on connections that
// negotiate no HTTP/2.

// older is where a connection to the auth server goes that offers no HTTP/2.
func (c *Cluster) older(to route, hello *tls.ClientHelloInfo) route {
	if c.is14() && to == routeAuth && !slices.Contains(hello.SupportedProtos, alpnH2) {
		return routeAuthHTTP
	}
	return to
}

// legacyTLS is the configuration of an auth server's connection that negotiates nothing.
func legacyTLS(auth *tls.Config) *tls.Config {
	config := auth.Clone()
	config.NextProtos = nil
	return config
}

func (c *Cluster) newLegacyServer() *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v2/remoteclusters", c.legacyRemoteClusters)
	return &http.Server{
		Handler:           c.gated(mux),
		ReadHeaderTimeout: headerTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       webIdleTimeout,
		MaxHeaderBytes:    1 << 16,
		ErrorLog:          log.New(io.Discard, "", 0),
	}
}

// legacyRemoteClusters is rpcRemoteClusters in the form of 14.x: an array of resources.
func (c *Cluster) legacyRemoteClusters(w http.ResponseWriter, r *http.Request) {
	cert := r.TLS.PeerCertificates[0]
	id := identity{user: cert.Subject.CommonName, roles: cert.Subject.Organization, expires: cert.NotAfter, cluster: cert.Issuer.CommonName, cert: cert}
	ctx := peer.NewContext(context.WithoutCancel(r.Context()), &peer.Peer{AuthInfo: authInfo{identity: id}})
	refuse := func(err error) {
		w.WriteHeader(http.StatusForbidden)
		_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]string{"message": err.Error()}})
	}
	if err := c.admit(ctx); err != nil {
		refuse(err)
		return
	}
	page, err := c.rpcRemoteClusters(ctx, nil)
	if err != nil {
		refuse(err)
		return
	}
	list := []any{}
	for _, rc := range page.RemoteClusters {
		list = append(list, map[string]any{
			"kind": rc.Kind, "version": rc.Version,
			"metadata": map[string]any{"name": rc.Metadata.Name, "labels": rc.Metadata.Labels},
			"status":   map[string]any{"connection": rc.Status.Connection, "last_heartbeat": rc.Status.LastHeartbeat.AsTime()},
		})
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(list)
}
