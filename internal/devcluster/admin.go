package devcluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http"
	"net/url"
	"time"
)

// Limits of the admin socket.
const (
	maxAdminBody = 1 << 20
	adminTimeout = 30 * time.Second
)

// Admin changes the users of the cluster in a directory: through the socket of
// the server that runs there or, with none running, in the state itself.
type Admin struct {
	local *registry
	web   *http.Client
}

// OpenAdmin opens the cluster below dir. A directory without one is an error
// that wraps fs.ErrNotExist.
func OpenAdmin(dir string) (*Admin, error) {
	if conn, err := adminDial(context.Background(), dir); err == nil {
		_ = conn.Close()
		return &Admin{web: &http.Client{
			Timeout: adminTimeout,
			Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return adminDial(ctx, dir)
			}},
		}}, nil
	}
	s, err := openState(dir, false)
	if err != nil {
		return nil, err
	}
	set := new(settings)
	found, err := s.get(bucketMeta, "settings", set)
	if err == nil && !found {
		err = fmt.Errorf("%s holds no dev cluster: %w", dir, fs.ErrNotExist)
	}
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return &Admin{local: newRegistry(s, set, time.Now)}, nil
}

// Close lets go of the state or the connection.
func (a *Admin) Close() error {
	if a.local != nil {
		return a.local.state.close()
	}
	a.web.CloseIdleConnections()
	return nil
}

// AddUser adds a user; see Cluster.AddUser.
func (a *Admin) AddUser(spec UserSpec) (en Enrolment, err error) {
	if a.local != nil {
		return a.local.addUser(spec)
	}
	return en, a.call(http.MethodPost, "/users", spec, &en)
}

// ResetUser gives a user a new password, made up if empty, and a new device,
// and lifts a lock.
func (a *Admin) ResetUser(name, password string) (en Enrolment, err error) {
	if a.local != nil {
		return a.local.resetUser(name, password)
	}
	return en, a.call(http.MethodPost, "/users/"+url.PathEscape(name)+"/reset", UserSpec{Password: password}, &en)
}

// RemoveUser removes a user.
func (a *Admin) RemoveUser(name string) error {
	if a.local != nil {
		return a.local.removeUser(name)
	}
	return a.call(http.MethodDelete, "/users/"+url.PathEscape(name), nil, nil)
}

// Users lists the users by name.
func (a *Admin) Users() (list []User, err error) {
	if a.local != nil {
		return a.local.users()
	}
	return list, a.call(http.MethodGet, "/users", nil, &list)
}

// AccessRequests lists the requests for access, the oldest first.
func (a *Admin) AccessRequests() (list []AccessRequest, err error) {
	if a.local != nil {
		return a.local.accessRequests()
	}
	return list, a.call(http.MethodGet, "/requests", nil, &list)
}

// ResolveRequest approves or denies a request for access.
func (a *Admin) ResolveRequest(id string, approve bool, reason string) (r AccessRequest, err error) {
	v := verdict{Approve: approve, Reason: reason, resolver: "admin"}
	if a.local != nil {
		return a.local.resolveRequest(id, v)
	}
	return r, a.call(http.MethodPost, "/requests/"+url.PathEscape(id), v, &r)
}

// adminError is an answer of the socket that says no.
type adminError struct {
	Message string `json:"error"`
}

// call makes one request to the running server.
func (a *Admin) call(method, path string, body, answer any) error {
	var raw []byte
	if body != nil {
		var err error
		if raw, err = json.Marshal(body); err != nil {
			return err
		}
	}
	req, err := http.NewRequest(method, "http://devcluster"+path, bytes.NewReader(raw))
	if err != nil {
		return err
	}
	resp, err := a.web.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	raw, err = io.ReadAll(io.LimitReader(resp.Body, 16*maxAdminBody))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		var e adminError
		if json.Unmarshal(raw, &e) != nil || e.Message == "" {
			return fmt.Errorf("dev cluster answered %s", resp.Status)
		}
		return errors.New(e.Message)
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(raw, answer)
}

// newAdminServer answers on the socket; who can reach the socket may do all.
func (c *Cluster) newAdminServer() *http.Server {
	mux := http.NewServeMux()
	handle := func(pattern string, h func(r *http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			r.Body = http.MaxBytesReader(w, r.Body, maxAdminBody)
			v, err := h(r)
			if err != nil {
				writeJSON(w, http.StatusBadRequest, adminError{err.Error()})
				return
			}
			writeJSON(w, http.StatusOK, v)
		})
	}
	handle("GET /users", func(*http.Request) (any, error) { return c.users() })
	handle("POST /users", func(r *http.Request) (any, error) {
		var spec UserSpec
		if err := json.NewDecoder(r.Body).Decode(&spec); err != nil {
			return nil, err
		}
		return c.addUser(spec)
	})
	handle("POST /users/{name}/reset", func(r *http.Request) (any, error) {
		var spec UserSpec
		if err := json.NewDecoder(r.Body).Decode(&spec); err != nil {
			return nil, err
		}
		return c.resetUser(r.PathValue("name"), spec.Password)
	})
	handle("DELETE /users/{name}", func(r *http.Request) (any, error) {
		return struct{}{}, c.removeUser(r.PathValue("name"))
	})
	handle("GET /requests", func(*http.Request) (any, error) { return c.accessRequests() })
	handle("POST /requests/{id}", func(r *http.Request) (any, error) {
		v := verdict{resolver: "admin"}
		if err := json.NewDecoder(r.Body).Decode(&v); err != nil {
			return nil, err
		}
		return c.resolveRequest(r.PathValue("id"), v)
	})
	c.handleSSHD(handle)
	c.handleSign(handle)
	c.handleRoles(handle)
	return &http.Server{
		Handler: c.gated(mux), ReadHeaderTimeout: headerTimeout, WriteTimeout: adminTimeout,
		ErrorLog: log.New(io.Discard, "", 0),
	}
}
