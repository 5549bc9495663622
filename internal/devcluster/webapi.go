package devcluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"mime"
	"net"
	"net/http"
	"strings"
	"time"
)

// Limits of the web API.
const (
	maxBody        = 1_000_000
	headerTimeout  = 10 * time.Second
	writeTimeout   = 30 * time.Second
	webIdleTimeout = 2 * time.Minute
)

// webError is an answer that says no.
type webError struct {
	status  int
	message string
}

func (e *webError) Error() string { return e.message }

func badParameter(format string, args ...any) error {
	return &webError{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

func accessDenied(message string) error { return &webError{http.StatusForbidden, message} }

func (c *Cluster) newWebServer() *http.Server {
	return &http.Server{
		Handler:           c.upgradeOr(c.gated(c.webHandler())),
		ReadHeaderTimeout: headerTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       webIdleTimeout,
		MaxHeaderBytes:    1 << 16,
		ErrorLog:          log.New(io.Discard, "", 0),
	}
}

// gated makes Close wait for the calls that are being answered; those that
// come later get nothing.
func (c *Cluster) gated(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !c.gate.TryRLock() {
			return
		}
		defer c.gate.RUnlock()
		h.ServeHTTP(w, r)
	})
}

// webHandler routes the calls; every path exists with and without /v1.
func (c *Cluster) webHandler() http.Handler {
	mux := http.NewServeMux()
	var api apiFunc = func(pattern string, limits *bucketSet, h func(r *http.Request) (any, error)) {
		method, path, _ := strings.Cut(pattern, " ")
		handler := c.apiHandler(limits, h)
		mux.Handle(method+" "+path, handler)
		mux.Handle(method+" /v1"+path, handler)
	}
	var limits apiLimits
	if c.limits != nil {
		limits = apiLimits{c.limits.normal, c.limits.high}
	}
	if c.is14() {
		c.routes14(api, limits)
	} else {
		c.routes(api, limits)
	}
	c.headlessRoutes(mux, limits.normal)
	api("GET /webapi/motd", limits.high, c.messageOfTheDay)
	api("POST /webapi/github/login/console", limits.normal, c.ssoConsole(kindGitHub))
	c.ssoRoutes(mux, func(kind string) { api("POST /webapi/"+kind+"/login/console", nil, c.ssoConsole(kind)) })
	for path, text := range pages() {
		mux.Handle("GET "+path, pageHandler(path, text))
	}
	mux.Handle("/", http.HandlerFunc(c.notFound))
	return mux
}

// apiFunc adds a call, "METHOD /path", to the web API.
type apiFunc func(pattern string, limits *bucketSet, h func(r *http.Request) (any, error))

// apiLimits are those of the classes of calls; nil for none.
type apiLimits struct{ normal, high *bucketSet }

// routes are the calls that depend on the version.
func (c *Cluster) routes(api apiFunc, limits apiLimits) {
	api("GET /webapi/ping", nil, c.ping)
	api("GET /webapi/ping/{connector}", limits.high, c.pingConnector)
	api("GET /webapi/find", nil, c.find)
	api("POST /webapi/mfa/login/begin", limits.normal, c.loginBegin)
	api("POST /webapi/mfa/login/finish", limits.normal, c.loginFinish)
}

// apiHandler answers with JSON: the value, or the error in the API's shape.
func (c *Cluster) apiHandler(limits *bucketSet, h func(r *http.Request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		securityHeaders(w.Header())
		w.Header().Set("Cache-Control", "no-cache, no-store, must-revalidate")
		w.Header().Set("Pragma", "no-cache")
		w.Header().Set("Expires", "0")
		if limits != nil {
			if wait, ok := limits.take(remoteIP(r)); !ok {
				writeError(w, &webError{
					http.StatusTooManyRequests, "rate limit exceeded, try again in " + wait.Round(time.Second).String(),
				})
				return
			}
		}
		v, err := h(r)
		if err != nil {
			c.log.Info("web call refused", "path", r.URL.Path, "from", r.RemoteAddr, "reason", err)
			writeError(w, err)
			return
		}
		writeJSON(w, http.StatusOK, v)
	})
}

func securityHeaders(h http.Header) {
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "strict-origin")
	h.Set("X-Frame-Options", "SAMEORIGIN")
	h.Set("X-XSS-Protection", "1; mode=block")
	h.Set("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		status, b = http.StatusInternalServerError, []byte(`{"error":{"message":"internal error"}}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(b)
}

// errorBody is the shape of every error of the API.
type errorBody struct {
	Error  errorMessage   `json:"error"`
	Fields map[string]any `json:"fields,omitempty"`
}

type errorMessage struct {
	Message string `json:"message"`
}

// writeError answers with a pretty-printed body, as handlers do.
func writeError(w http.ResponseWriter, err error) {
	var we *webError
	if !errors.As(err, &we) {
		we = &webError{http.StatusInternalServerError, "internal error"}
	}
	b, _ := json.MarshalIndent(errorBody{Error: errorMessage{we.message}}, "", "    ")
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(we.status)
	_, _ = w.Write(b)
}

// notFound is the router's own answer: compact, with the version of the proxy.
func (c *Cluster) notFound(w http.ResponseWriter, _ *http.Request) {
	securityHeaders(w.Header())
	type version struct {
		Major      int    `json:"major"`
		Minor      int    `json:"minor"`
		Patch      int    `json:"patch"`
		PreRelease string `json:"preRelease"`
		String     string `json:"string"`
	}
	v := version{String: c.version()}
	_, _ = fmt.Sscanf(v.String, "%d.%d.%d", &v.Major, &v.Minor, &v.Patch)
	_, v.PreRelease, _ = strings.Cut(v.String, "-")
	writeJSON(w, http.StatusNotFound, errorBody{
		Error: errorMessage{"path not found"}, Fields: map[string]any{"proxyVersion": v},
	})
}

// readJSON decodes a request body into v.
func readJSON(r *http.Request, v any) error {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/json" {
		return badParameter("invalid request")
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		return badParameter("invalid request")
	}
	if len(body) > maxBody {
		return &webError{http.StatusTooManyRequests, "the read limit is reached"}
	}
	if err := json.Unmarshal(body, v); err != nil {
		return badParameter("request: %v", err)
	}
	return nil
}

func remoteIP(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	return host
}
