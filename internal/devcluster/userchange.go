package devcluster

import (
	"fmt"
	"net/http"
	"net/url"

	"github.com/google/uuid"
)

// UserChange says what is to become of a user; what is nil stays as it is.
type UserChange struct {
	Roles  []string            `json:"roles"`
	Logins []string            `json:"logins"`
	Traits map[string][]string `json:"traits"`
}

// updateUser changes a user. Certificates that were issued keep what they say.
func (r *registry) updateUser(name string, change UserChange) error {
	if change.Roles != nil && len(change.Roles) == 0 {
		return errNoRoles
	}
	if err := checkLogins(change.Logins); err != nil {
		return err
	}
	if err := checkTraits(change.Traits); err != nil {
		return err
	}
	return r.state.update(func(tx *stateTx) error {
		u := new(user)
		found, err := tx.get(bucketUsers, name, u)
		switch {
		case err != nil:
			return err
		case !found || u.expired(r.now()):
			return notFoundUser(name)
		case u.Source != "":
			return fmt.Errorf("user %s comes from the connector %s, which says what they have", name, u.Source)
		}
		if err := r.needRoles(tx, change.Roles...); err != nil {
			return err
		}
		if change.Roles != nil {
			u.Roles = change.Roles
		}
		if change.Logins != nil {
			u.Logins = change.Logins
		}
		if change.Traits != nil {
			u.Traits = change.Traits
		}
		u.Revision = uuid.NewString()
		return tx.put(bucketUsers, name, u)
	})
}

// UpdateUser changes the roles, logins or traits of a user. Certificates that were
// issued keep what they say.
func (c *Cluster) UpdateUser(name string, change UserChange) error { return c.updateUser(name, change) }

// UpdateUser changes the roles, logins or traits of a user; see Cluster.UpdateUser.
func (a *Admin) UpdateUser(name string, change UserChange) error {
	if a.local != nil {
		return a.local.updateUser(name, change)
	}
	return a.call(http.MethodPatch, "/users/"+url.PathEscape(name), change, nil)
}
