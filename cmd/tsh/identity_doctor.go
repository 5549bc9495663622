package main

import (
	"context"
	"path/filepath"

	"github.com/seed-087d674e/tsh/internal/doctor"
	"github.com/seed-087d674e/tsh/internal/durable"
	"github.com/seed-087d674e/tsh/keystore"
)

// diagnoseIdentity looks at an identity file and, if there is a proxy, whether the two
// belong together. What is stored is not looked at.
func (a *app) diagnoseIdentity(ctx context.Context, fix bool) ([]doctor.Finding, error) {
	path := a.globals.identity
	finding := func(check string, err error, hint string) doctor.Finding {
		f := doctor.Finding{Check: check, Status: doctor.OK, Subject: path, Message: "can be used"}
		if err != nil {
			f.Status, f.Message, f.Hint, f.Cause = doctor.Problem, err.Error(), hint, err
		}
		return f
	}
	id, err := keystore.ReadIdentityFile(path)
	if err != nil {
		return []doctor.Finding{finding("identity", &identityError{err}, "")}, nil
	}
	all := a.openToOthers(id, path, fix)
	if err := id.CheckTime(a.now()); err != nil {
		return append(all, finding("identity", a.explainIdentity(err), "")), nil
	}
	if id.TLSCert == nil {
		return append(all, finding("identity", errNoTLSCert, "")), nil
	}
	all = append(all, finding("identity", nil, ""))
	if a.globals.proxy == "" {
		return all, nil
	}
	v, err := a.pairIdentity(id)
	if err != nil {
		return nil, err
	}
	client, err := a.webClient(v.addr, 0)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	_, err = a.introduce(ctx, client, v)
	return append(all, finding("proxy", err, "")), nil
}

// openToOthers is a finding for each thing that others could do to the file.
func (a *app) openToOthers(id *keystore.Identity, path string, fix bool) (all []doctor.Finding) {
	for _, warning := range id.Warnings {
		f := doctor.Finding{Check: "identity", Status: doctor.Problem, Subject: path, Message: warning}
		if fix {
			target, err := filepath.EvalSymlinks(path)
			if err == nil {
				_, err = durable.Protect(target)
			}
			f.Fixed = err == nil
		}
		all = append(all, f)
	}
	return all
}
