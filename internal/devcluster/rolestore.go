package devcluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
)

// MaxRoleFile bounds what CreateRoles reads, in bytes.
const MaxRoleFile = 256 << 10

// Role is a role as it is shown.
type Role struct {
	Name        string              `json:"name"`
	Description string              `json:"description,omitempty"`
	Preset      bool                `json:"preset,omitempty"` // comes with every cluster
	Logins      []string            `json:"logins,omitempty"`
	NodeLabels  map[string][]string `json:"node_labels,omitempty"`
	Users       []string            `json:"users,omitempty"` // who has it
	// YAML and JSON are the document that CreateRoles makes the same role from.
	YAML string          `json:"yaml"`
	JSON json.RawMessage `json:"json"`
}

// RoleChange says what became of a role in a file.
type RoleChange struct {
	Name     string `json:"name"`
	Replaced bool   `json:"replaced"` // false: there was none of the name
}

// roleFile asks for the roles of a file.
type roleFile struct {
	Text  string `json:"text"`
	Force bool   `json:"force,omitempty"`
}

// remadeRoles are those that a cluster makes anew at every start, as it is configured.
func remadeRoles() []string {
	return []string{roleRequester, roleReviewer, roleSessionMFA, roleSessionMFAProd}
}

func isPreset(name string) bool {
	return slices.Contains(remadeRoles(), name) || slices.ContainsFunc(presetRoles(), func(r role) bool { return r.Name == name })
}

// createRoles makes the roles of a file, all of them or none. One that is there already
// is replaced with force and an error without.
func (r *registry) createRoles(f roleFile) ([]RoleChange, error) {
	all, err := parseRoles([]byte(f.Text))
	if err != nil {
		return nil, err
	}
	var changes []RoleChange
	err = r.state.update(func(tx *stateTx) error {
		for _, ro := range all {
			var old role
			found, err := tx.get(bucketRoles, ro.Name, &old)
			if err != nil {
				return err
			}
			found = found && !old.over(r.now())
			switch {
			case ro.over(r.now()):
				return fmt.Errorf("role %s has expired at %s", ro.Name, ro.Expires)
			case found && !f.Force:
				return fmt.Errorf("role %s exists already; --force replaces it", ro.Name)
			case slices.Contains(remadeRoles(), ro.Name) && !reflect.DeepEqual(ro.document(), old.document()):
				return fmt.Errorf("role %s is made anew at every start of the cluster: give yours another name", ro.Name)
			}
			if err := tx.put(bucketRoles, ro.Name, ro); err != nil {
				return err
			}
			changes = append(changes, RoleChange{ro.Name, found})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return changes, nil
}

// removeRole removes a role that nobody has and that is no preset.
func (r *registry) removeRole(name string) error {
	if isPreset(name) {
		return fmt.Errorf("role %s comes with the cluster and cannot be removed", name)
	}
	return r.state.update(func(tx *stateTx) error {
		if err := r.needRoles(tx, name); err != nil {
			return err
		}
		holders, err := r.holders(tx)
		if err != nil {
			return err
		}
		if users := holders[name]; len(users) > 0 {
			return fmt.Errorf("role %s is in use by %s: give them other roles first", name, strings.Join(users, ", "))
		}
		return tx.delete(bucketRoles, name)
	})
}

// needRoles is an error if there is no role of one of the names; it says which there are.
func (r *registry) needRoles(tx *stateTx, names ...string) error {
	roles, err := r.rolesIn(tx)
	if err != nil {
		return err
	}
	var all []string
	for _, ro := range roles {
		all = append(all, ro.Name)
	}
	for _, name := range names {
		if !slices.Contains(all, name) {
			return fmt.Errorf("role %q does not exist, there are %s", name, strings.Join(all, ", "))
		}
	}
	return nil
}

// holders are the users who have each role, by name.
func (r *registry) holders(tx *stateTx) (map[string][]string, error) {
	all := make(map[string][]string)
	return all, tx.each(bucketUsers, func(name string, raw []byte) error {
		u := new(user)
		if err := json.Unmarshal(raw, u); err != nil {
			return err
		}
		for _, held := range u.Roles {
			if !u.expired(r.now()) {
				all[held] = append(all[held], name)
			}
		}
		return nil
	})
}

// shownRoles lists the roles by name; one alone if it is named.
func (r *registry) shownRoles(name string) ([]Role, error) {
	var out []Role
	err := r.state.view(func(tx *stateTx) error {
		if name != "" {
			if err := r.needRoles(tx, name); err != nil {
				return err
			}
		}
		users, err := r.holders(tx)
		if err != nil {
			return err
		}
		roles, err := r.rolesIn(tx)
		if err != nil {
			return err
		}
		for _, ro := range roles {
			if name != "" && name != ro.Name {
				continue
			}
			shown, err := ro.shown()
			if err != nil {
				return err
			}
			shown.Users = users[ro.Name]
			out = append(out, shown)
		}
		return nil
	})
	return out, err
}

func (r *role) shown() (Role, error) {
	text, err := r.yaml()
	if err != nil {
		return Role{}, err
	}
	raw, err := r.json()
	return Role{
		Name: r.Name, Description: r.Description, Preset: isPreset(r.Name), Logins: r.Logins, NodeLabels: r.NodeLabels,
		YAML: text, JSON: raw,
	}, err
}

// CreateRoles makes the roles of a file, all of them or none: documents of kind role,
// in YAML or JSON. One that is there already is replaced with force and an error without.
func (c *Cluster) CreateRoles(file []byte, force bool) ([]RoleChange, error) {
	return c.createRoles(roleFile{string(file), force})
}

// RemoveRole removes a role; one that comes with the cluster or that somebody has is an
// error.
func (c *Cluster) RemoveRole(name string) error { return c.removeRole(name) }

// Roles lists the roles by name.
func (c *Cluster) Roles() ([]Role, error) { return c.shownRoles("") }

// CreateRoles makes the roles of a file; see Cluster.CreateRoles.
func (a *Admin) CreateRoles(file []byte, force bool) (changes []RoleChange, err error) {
	if len(file) > MaxRoleFile { // the socket takes no more, either
		_, err := readDocuments(file)
		return nil, err
	}
	f := roleFile{string(file), force}
	if a.local != nil {
		return a.local.createRoles(f)
	}
	return changes, a.call(http.MethodPost, "/roles", f, &changes)
}

// RemoveRole removes a role; see Cluster.RemoveRole.
func (a *Admin) RemoveRole(name string) error {
	if a.local != nil {
		return a.local.removeRole(name)
	}
	return a.call(http.MethodDelete, "/roles?name="+url.QueryEscape(name), nil, nil)
}

// Roles lists the roles by name, or the one of that name alone. A name that is not there
// is an error.
func (a *Admin) Roles(name string) (list []Role, err error) {
	if a.local != nil {
		return a.local.shownRoles(name)
	}
	return list, a.call(http.MethodGet, "/roles?name="+url.QueryEscape(name), nil, &list)
}

// handleRoles answers on the admin socket.
func (c *Cluster) handleRoles(handle func(string, func(*http.Request) (any, error))) {
	handle("GET /roles", func(r *http.Request) (any, error) { return c.shownRoles(r.FormValue("name")) })
	handle("POST /roles", func(r *http.Request) (any, error) {
		var f roleFile
		if err := json.NewDecoder(r.Body).Decode(&f); err != nil {
			return nil, err
		}
		changes, err := c.createRoles(f)
		for _, change := range changes {
			c.log.Info("role made", "role", change.Name, "replaced", change.Replaced)
		}
		return changes, err
	})
	handle("DELETE /roles", func(r *http.Request) (any, error) {
		name := r.FormValue("name")
		if name == "" {
			return nil, errors.New("no role is named")
		}
		return struct{}{}, c.removeRole(name)
	})
	handle("PATCH /users/{name}", func(r *http.Request) (any, error) {
		var change UserChange
		if err := json.NewDecoder(r.Body).Decode(&change); err != nil {
			return nil, err
		}
		return struct{}{}, c.updateUser(r.PathValue("name"), change)
	})
}
