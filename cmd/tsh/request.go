package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/seed-087d674e/tsh/api"
	"github.com/seed-087d674e/tsh/api/access"
	"github.com/seed-087d674e/tsh/internal/text"
	"github.com/seed-087d674e/tsh/keystore"
)

func (a *app) requestCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "request",
		Aliases: []string{"requests"},
		Short:   "Ask for more roles for some time, and decide about what others ask for",
		Example: "  tsh request new --roles=dba --reason=\"ticket 12\"\n  tsh request ls\n  tsh request review --approve ID",
		Args:    onlyCommands,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.requestNewCommand(), a.requestLsCommand(), a.requestShowCommand(), a.requestReviewCommand(), a.requestDropCommand())
	for _, c := range cmd.Commands() {
		a.globals.addKeystore(c.Flags())
		addNegations(c.Flags())
	}
	return cmd
}

// requestOptions are the flags of login about access requests.
type requestOptions struct {
	roles     []string
	reviewers []string
	reason    string
	id        string
	nowait    bool
}

func (o *requestOptions) addFlags(fs *pflag.FlagSet) {
	fs.Var(list{&o.roles}, "request-roles", "ask for more `ROLES`, or \"*\" for all you can ask for; \"no\" asks for nothing even if the cluster wants it")
	fs.StringVar(&o.reason, "request-reason", "", "`WHY` the roles are needed")
	fs.Var(list{&o.reviewers}, "request-reviewers", "suggest who shall decide, `NAMES`")
	fs.BoolVar(&o.nowait, "request-nowait", false, "ask, and do not wait for the decision")
	fs.StringVar(&o.id, "request-id", "", "use the access request with that `ID`, once it is approved")
}

// list is a flag's value that has words between commas or spaces; a flag that is given
// again adds to them.
type list struct{ words *[]string }

func (l list) String() string { return "" }
func (l list) Type() string   { return "strings" }

// Set implements pflag.Value.
func (l list) Set(value string) error {
	words := strings.FieldsFunc(value, func(r rune) bool { return r == ',' || r == ' ' })
	if len(words) == 0 {
		return errors.New("a name is needed")
	}
	*l.words = append(*l.words, words...)
	return nil
}

// off reports whether nothing shall be asked for.
func (o *requestOptions) off() bool { return slices.Equal(o.roles, []string{"no"}) }

// wanted reports whether something shall be asked for.
func (o *requestOptions) wanted() bool { return o.id != "" || len(o.roles) > 0 && !o.off() }

func (o *requestOptions) check() error {
	roles := len(o.roles) > 0
	switch {
	case o.id != "" && (roles || o.reason != "" || len(o.reviewers) > 0):
		return usagef("--request-id names a request that is made already; --request-roles, --request-reason and --request-reviewers are for a new one")
	case o.off() && (o.reason != "" || len(o.reviewers) > 0 || o.nowait):
		return usagef("--request-roles=no asks for nothing; leave the other request flags out")
	case len(o.roles) > 1 && (slices.Contains(o.roles, "no") || slices.Contains(o.roles, "*")):
		return usagef("--request-roles=%s: names of roles are needed, or one of * and no alone", strings.Join(o.roles, ","))
	}
	return nil
}

// requestError is an access request that did not lead to access.
type requestError struct {
	request *access.Request
}

func (e *requestError) Error() string {
	s := fmt.Sprintf("access request %s was not approved: it is %s", e.request.ID(), e.request.Spec.State)
	if e.denied() {
		s = fmt.Sprintf("access request %s was denied", e.request.ID())
	}
	if reason := e.request.Spec.ResolveReason; reason != "" {
		s += ": " + text.Line(reason)
	}
	return s
}

func (e *requestError) denied() bool { return e.request.Spec.State == access.Denied }

func isDenied(err error) bool {
	var e *requestError
	return errors.As(err, &e) && e.denied()
}

// reasonError is a request that needs a reason and has none.
type reasonError struct{ prompt string }

func (e *reasonError) Error() string {
	s := "the cluster wants a reason for access requests (--request-reason)"
	if e.prompt != "" {
		s += ": " + text.Line(e.prompt)
	}
	return s
}

// requestFresh does what a login that has just been made is to ask for. It changes
// the identity of the session, nothing else: what is not approved is not stored.
func (a *app) requestFresh(ctx context.Context, s *session, o requestOptions) error {
	// The cluster may want everything to be asked for. That costs a connection of its
	// own to find out, which is only made where it shows or where somebody expects it.
	if o.off() || !o.wanted() && o.reason == "" && !o.nowait && hasAccount(s.id) {
		return nil
	}
	return a.request(ctx, s, o)
}

// hasAccount reports whether the certificate allows an account on some server.
func hasAccount(id *keystore.Identity) bool { return len(readClaims(id.SSHCert, nil).logins) > 0 }

// request asks for access, or looks up what was asked for, waits for the decision and
// has it put into the certificates of the session.
func (a *app) request(ctx context.Context, s *session, o requestOptions) error {
	client, err := a.connectAPI(ctx, s)
	if err != nil {
		return err
	}
	defer client.Close()
	r, err := a.openRequest(ctx, client, s, o)
	if err != nil || r == nil {
		return err
	}
	return a.follow(ctx, client, s, r, o.nowait)
}

// follow waits for the decision about a request and has it put into the certificates of the
// session; unless it is not to wait, or the access begins later.
func (a *app) follow(ctx context.Context, client *api.Client, s *session, r *access.Request, nowait bool) (err error) {
	name := fmt.Sprintf("Access request %s for %s", r.ID(), whatOf(r))
	if r.Spec.State == access.Pending && nowait {
		a.ui.say("%s waits for a decision. Once it is approved: tsh login --request-id=%s", name, r.ID())
		return nil
	}
	if r.Spec.State == access.Pending {
		if r, err = a.awaitRequest(ctx, client, s, r); err != nil {
			return err
		}
	}
	if r.Spec.State != access.Approved {
		return &requestError{r}
	}
	name += " was approved" + because(r.Spec.ResolveReason)
	if start := r.Spec.AssumeStartTime; start.After(a.now()) {
		a.ui.say("%s for later. From %s on: tsh login --request-id=%s", name, utc(start), r.ID())
		return nil
	}
	s.cluster = s.profile.Cluster
	fresh, err := a.reissue(ctx, client, s, rights{assume: r.ID()})
	if err != nil {
		return err
	}
	s.id = fresh
	a.ui.say("%s.", name)
	return nil
}

// openRequest is the request that the options name or ask for; nil if nothing has to
// be asked for.
func (a *app) openRequest(ctx context.Context, client *api.Client, s *session, o requestOptions) (*access.Request, error) {
	if o.id != "" {
		r, err := client.AccessRequest(ctx, o.id, s.id.User)
		if errors.Is(err, api.ErrNotFound) {
			return nil, withHint(err, "it may be over; ask anew with --request-roles")
		}
		return r, err
	}
	can, err := client.AccessCapabilities(ctx, s.id.User, false)
	if err != nil {
		return nil, err
	}
	roles := o.roles
	if !o.wanted() {
		if !can.AutoRequest {
			if o.reason != "" || o.nowait {
				a.ui.warn("nothing was asked for: the cluster does not ask by itself, and --request-roles names no roles")
			}
			return nil, nil
		}
		roles = []string{"*"}
	}
	if can.RequireReason && o.reason == "" {
		return nil, &reasonError{can.Prompt}
	}
	return client.CreateAccessRequest(ctx, access.Draft{
		User: s.id.User, Roles: roles, Reason: o.reason, Reviewers: o.reviewers,
	})
}

// awaitRequest waits until somebody has decided, at most as long as the certificates
// last that it is asked with.
func (a *app) awaitRequest(ctx context.Context, client *api.Client, s *session, r *access.Request) (*access.Request, error) {
	a.ui.say("Access request %s for %s: waiting for somebody to approve it. Ctrl-C ends the wait, not the request;", r.ID(), whatOf(r))
	a.ui.say("%s --request-id=%s takes it up again.", loginHint(s.profile.WebProxyAddr, s.id.User, s.profile), r.ID())
	waiting := ctx
	if end, ok := s.id.Expiry(); ok {
		var cancel context.CancelFunc
		waiting, cancel = context.WithTimeout(ctx, end.Sub(a.now()))
		defer cancel()
	}
	decided, err := client.WaitAccessRequest(waiting, r.ID(), r.Spec.User)
	switch {
	case ctx.Err() == nil && waiting.Err() != nil:
		return nil, fmt.Errorf("nobody decided about access request %s before the login ended: %w", r.ID(), waiting.Err())
	case errors.Is(err, api.ErrNotFound):
		return nil, fmt.Errorf("access request %s has expired, or was taken back: %w", r.ID(), err)
	}
	return decided, err
}

// whatOf names what was asked for.
func whatOf(r *access.Request) string {
	switch names := r.Spec.Roles; {
	case len(r.Spec.Resources) > 0:
		return "resources"
	case len(names) == 1:
		return "role " + text.Line(names[0])
	default:
		return "roles " + text.Line(strings.Join(names, ", "))
	}
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return " (" + text.Line(reason) + ")"
}

// needID makes of anything but the ID of a request a usage error.
func needID(cmd *cobra.Command, args []string) error {
	return oneArg("the ID of one access request")(cmd, args)
}

// hintRequests says where the IDs of requests are.
func hintRequests(err error) error {
	if errors.Is(err, api.ErrNotFound) {
		return withHint(err, "tsh request ls lists those that you may see; one that is over is gone")
	}
	return err
}

// onlyOnce is err of a command that must not be done a second time.
func onlyOnce(err error) error {
	if err != nil {
		return &begunError{err}
	}
	return nil
}

// needStore refuses to go on where new certificates cannot be stored.
func (a *app) needStore(instead string) error {
	if a.globals.hasIdentity() || a.globals.headless.on {
		return usagef("the certificates of this command are not stored, so they cannot be changed; %s", instead)
	}
	return nil
}

// storeRights stores certificates of other rights than before and shows the status.
func (a *app) storeRights(ctx context.Context, s *session) error {
	store, err := a.openStore()
	if err != nil {
		return err
	}
	if s, err = a.storeReissued(ctx, store, s.profile, s.id, store.SaveAlone); err != nil {
		return err
	}
	return a.showStatus(store, statusView{active: s.profile.Name, format: a.loginFormat()})
}
