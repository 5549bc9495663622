package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seed-087d674e/tsh/api"
	"github.com/seed-087d674e/tsh/api/mfa"
	"github.com/seed-087d674e/tsh/internal/text"
	"github.com/seed-087d674e/tsh/login"
)

// Errors of an approval.
var (
	errHeadlessDecided = errors.New("this headless login has been decided already")
	errHeadlessSwapped = errors.New("the cluster answers with another headless login than was asked for")
	errNoKeyToApprove  = errors.New("approving takes a security key, and no such device of yours is registered")
)

// approveOptions are the flags of headless approve.
type approveOptions struct {
	_           [0]func() // never compared
	skipConfirm bool
	id          string
}

func (a *app) headlessCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "headless",
		Short: "Approve logins of machines without browser or security key",
		Long: "headless decides about logins that tsh ssh --headless or tsh ls --headless asks for on a\n" +
			"machine without browser or security key.",
		Example: "  tsh headless approve 54519721-945e-5d87-bd76-494ca02368b8",
		Args:    onlyCommands,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.headlessApproveCommand())
	return cmd
}

func (a *app) headlessApproveCommand() *cobra.Command {
	var o approveOptions
	cmd := &cobra.Command{
		Use:   "approve [flags] ID",
		Short: "Approve or deny a login with --headless on another machine",
		Long: "approve shows who asks for the headless login of that ID, asks whether to approve it, and has\n" +
			"your security key confirm it. Any answer but yes denies the login. A one-time code will not do.",
		Example: "  tsh headless approve 54519721-945e-5d87-bd76-494ca02368b8",
		Args:    oneArg("the ID of one login"),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if o.id, err = parseHeadlessID(args[0]); err != nil {
				return err
			}
			return a.runHeadlessApprove(cmd.Context(), o)
		},
	}
	fs := cmd.Flags()
	fs.BoolVar(&o.skipConfirm, "skip-confirm", false, "approve without the question; the security key still has to be touched [TELEPORT_HEADLESS_SKIP_CONFIRM]")
	a.globals.addKeystore(fs)
	addNegations(fs)
	return cmd
}

// parseHeadlessID reads a UUID, the only form of an id.
func parseHeadlessID(s string) (string, error) {
	const form = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"
	bad := usagef("%s is no ID of a headless login, which has the form %s", text.Line(fmt.Sprintf("%.64q", s)), form)
	if len(s) != len(form) {
		return "", bad
	}
	id := strings.ToLower(s)
	for i := range len(form) {
		if (form[i] == '-') != (id[i] == '-') || form[i] == 'x' && !strings.ContainsRune("0123456789abcdef", rune(id[i])) {
			return "", bad
		}
	}
	return id, nil
}

func (a *app) runHeadlessApprove(ctx context.Context, o approveOptions) error {
	approved := false
	err := a.withAPI(ctx, func(ctx context.Context, s *session, client *api.Client) (err error) {
		approved, err = a.decideHeadless(ctx, s, client, o)
		return err
	})
	switch {
	case err != nil:
		return err
	case a.globals.json:
		return writeJSON(a.out, headlessDecision{o.id, approved})
	case approved:
		a.ui.say("Approved. The command on the other machine goes on.")
	default:
		a.ui.say("Denied.")
	}
	return nil
}

// headlessDecision is what approve --json prints.
type headlessDecision struct {
	ID       string `json:"id"`
	Approved bool   `json:"approved"`
}

// decideHeadless asks the person and tells the cluster.
func (a *app) decideHeadless(ctx context.Context, s *session, client *api.Client, o approveOptions) (approved bool, err error) {
	looked := a.ui.waiting("the headless login " + o.id)
	wanted, err := client.HeadlessLogin(ctx, o.id)
	looked()
	if err != nil {
		return false, explainNoHeadless(err, s.id.User)
	}
	if err := checkHeadlessLogin(wanted, s.id.User, o.id); err != nil {
		return false, err
	}
	a.ui.say("%s asks to log in as %s at %s, without a browser or security key there.\nID: %s",
		text.Line(wanted.From), text.Line(wanted.User), text.Line(s.profile.Name), o.id)
	if !o.skipConfirm {
		yes, err := a.askApproval(ctx)
		if err != nil {
			return false, err
		}
		if !yes {
			return false, client.DenyHeadlessLogin(ctx, o.id)
		}
	}
	answer, err := a.proveForHeadless(ctx, client, s)
	if err != nil {
		return false, err
	}
	return true, client.ApproveHeadlessLogin(ctx, o.id, answer)
}

// checkHeadlessLogin refuses a request that is another one than the person has named,
// or that is not theirs to decide.
func checkHeadlessLogin(wanted *api.HeadlessLogin, user, id string) error {
	switch {
	case wanted.ID != id:
		return withHint(errHeadlessSwapped, "nothing was approved; tell the cluster's administrator")
	case wanted.User != user:
		return withHint(fmt.Errorf("%w: it is for user %s, not %s", errHeadlessSwapped, text.Line(wanted.User), text.Line(user)),
			"nothing was approved; log in as that user to decide on it")
	case !wanted.Pending:
		return errHeadlessDecided
	}
	return nil
}

func explainNoHeadless(err error, user string) error {
	if errors.Is(err, api.ErrNotFound) {
		return withHint(err, "it waits three minutes and may be over, or be for another user than %s; run the command again there", text.Line(user))
	}
	return err
}

func (a *app) askApproval(ctx context.Context) (bool, error) {
	yes, err := a.confirm(ctx, "Approve?")
	if errors.Is(err, login.ErrCannotAsk) {
		return false, withHint(err, "run it in a terminal, or with --skip-confirm; nothing has been decided")
	}
	return yes, err
}

// proveForHeadless has the person's security key sign for an approval. Codes could be
// asked out of somebody on the phone; a key cannot.
func (a *app) proveForHeadless(ctx context.Context, client *api.Client, s *session) (mfa.Answer, error) {
	challenge, err := client.MFAChallenge(ctx, mfa.ScopeHeadless)
	if err != nil {
		return mfa.Answer{}, err
	}
	if challenge.WebAuthn == nil {
		return mfa.Answer{}, withHint(errNoKeyToApprove, "register one: tsh mfa add --type=WEBAUTHN; a one-time code cannot approve a login, as it can be asked out of you")
	}
	challenge.TOTP, challenge.SSO = false, false
	answer, err := a.answerChallenge(ctx, s, challenge)
	if errors.Is(err, login.ErrNoKey) {
		err = explainNoKeyToApprove(err)
	}
	return answer, err
}

// explainNoKeyToApprove says what else there is where no security key can answer: a
// browser speaks with more of them.
func explainNoKeyToApprove(err error) error {
	return withHint(err, "plug in a key that is registered with the cluster, or approve in a browser with the link that was printed;\nkeys are spoken with by the programs of libfido2 (Debian: apt install fido2-tools, macOS: brew install libfido2)")
}
