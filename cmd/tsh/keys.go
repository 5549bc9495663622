package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/pflag"

	"github.com/seed-087d674e/tsh/internal/durable"
	"github.com/seed-087d674e/tsh/internal/keyring"
	"github.com/seed-087d674e/tsh/internal/sshagent"
	"github.com/seed-087d674e/tsh/internal/text"
	"github.com/seed-087d674e/tsh/keystore"
	"github.com/seed-087d674e/tsh/profile"
)

// Values of --add-keys-to-agent.
const (
	agentAuto  = "auto" // yes, except where the agent is gpg-agent
	agentNo    = "no"
	agentYes   = "yes"
	agentLocal = "local" // of ForwardAgent alone
	agentOnly  = "only"  // the agent alone has the key
)

// keysInMemory is the value of --keystore for keys that one command has and nobody
// after it.
const keysInMemory profile.Keystore = "memory"

// addKeystore adds --keystore to a command that may log in.
func (g *globals) addKeystore(fs *pflag.FlagSet) {
	fs.StringVar(&g.keystore, "keystore", "", "where private keys of a login go, `PLACE` file, keyring, \"keyring,file\" or memory; as last time if not given [TSH_KEYSTORE]")
}

// checkKeys refuses values that say nothing, or two things.
func (g *globals) checkKeys() error {
	if modes := []string{agentAuto, agentNo, agentYes, agentOnly}; !slices.Contains(modes, g.addKeysToAgent) {
		return fmt.Errorf("--add-keys-to-agent=%s (or TELEPORT_ADD_KEYS_TO_AGENT): one of auto, no, yes, only is needed", text.Line(g.addKeysToAgent))
	}
	places := []profile.Keystore{"", profile.KeysInFiles, profile.KeysInKeyring, profile.KeysInKeyringOrFiles, keysInMemory}
	if !slices.Contains(places, profile.Keystore(g.keystore)) {
		return fmt.Errorf("--keystore=%s (or TSH_KEYSTORE): one of file, keyring, keyring,file, memory is needed", text.Line(g.keystore))
	}
	if g.addKeysToAgent == agentOnly && g.keystoreGiven {
		if g.agentFlag {
			return errors.New("--add-keys-to-agent=only keeps the key in the ssh-agent and nowhere else; leave --keystore out")
		}
		g.addKeysToAgent = agentAuto // the flag beats TELEPORT_ADD_KEYS_TO_AGENT
	}
	return nil
}

// keysOf says where the private keys of a login of user through the profile name go. What
// the command line says comes before what is remembered; of the environment, --keystore
// does not take a key out of the ssh-agent that was to be nowhere else.
func (a *app) keysOf(store *profile.Store, name, user string) (profile.Keystore, error) {
	g := &a.globals
	if g.addKeysToAgent == agentOnly {
		return profile.KeysInAgent, nil
	}
	if g.keystoreGiven || g.keystore == string(keysInMemory) {
		return profile.Keystore(g.keystore), nil
	}
	where, err := store.Keystore(name, user)
	switch {
	case err != nil && g.keystore == "":
		return "", err
	case where == profile.KeysInAgent && g.agentGiven:
		return profile.KeysInFiles, nil // another mode than the one remembered
	case g.keystore != "" && where != profile.KeysInAgent:
		return profile.Keystore(g.keystore), nil
	}
	return where, nil
}

// placeKeys decides where the private keys of a login go.
func (a *app) placeKeys(store *profile.Store, t *loginTarget, name string) (err error) {
	if t.out != nil {
		t.keys = keysInMemory
		return nil
	}
	if a.globals.keystore != string(keysInMemory) {
		if err := checkWritable(store.Home()); err != nil {
			return withHint(err, "the login could not be stored there; TELEPORT_HOME names another directory,\nand --keystore=memory lets ssh and ls log in without storing anything")
		}
	}
	if t.keys, err = a.keysOf(store, name, t.user); err != nil {
		return err
	}
	return checkKeysCanGo(t.keys)
}

// checkKeysCanGo finds out whether keys can be stored before the person goes through
// a login.
func checkKeysCanGo(to profile.Keystore) error {
	switch to {
	case profile.KeysInAgent:
		agent, err := sshagent.Dial(profile.AgentPatience)
		if err != nil {
			return withHint(err, "the key of this login goes to the ssh-agent alone; start one (eval $(ssh-agent)), or use --keystore=file")
		}
		defer agent.Close()
	case profile.KeysInKeyring:
		if err := (keyring.System{}).Ready(); err != nil {
			return &keystore.KeyringError{Err: err}
		}
	}
	return nil
}

// keepLogin stores a login where it belongs and returns it ready for use.
func (a *app) keepLogin(ctx context.Context, store *profile.Store, t *loginTarget, p *profile.Profile, id *keystore.Identity) (*session, error) {
	if t.keys == keysInMemory {
		if err := store.Vet(p, id); err != nil {
			return nil, err
		}
		return a.readySession(store, p, id), nil
	}
	p.Keystore = t.keys
	defer a.renewConfig(ctx, store, p)
	if t.keys == profile.KeysInAgent {
		return a.keepInAgent(ctx, store, t, p, id)
	}
	if err := t.save(ctx, store, p, id); err != nil {
		return nil, err
	}
	a.offerToAgent(id)
	return a.useSession(store, p)
}

// save stores a login.
func (t *loginTarget) save(ctx context.Context, store *profile.Store, p *profile.Profile, id *keystore.Identity) error {
	if t.keepCurrent {
		return store.Save(ctx, p, id)
	}
	return store.Commit(ctx, p, id)
}

// keepInAgent stores a login whose only key the ssh-agent gets. The key of the login
// before stays there until the new one is stored.
func (a *app) keepInAgent(ctx context.Context, store *profile.Store, t *loginTarget, p *profile.Profile, id *keystore.Identity) (*session, error) {
	if err := store.Vet(p, id); err != nil {
		return nil, err
	}
	handed, err := profile.HandToAgent(id, a.now())
	if err != nil {
		return nil, withHint(err, "nothing was stored: the key of this login goes to the ssh-agent alone")
	}
	if err := t.save(ctx, store, p, id); err != nil {
		if !isA[*durable.UnfinishedError](err) {
			_ = handed.TakeBack() // or else it ends with its certificate
		}
		return nil, err
	}
	s, err := a.useSession(store, p)
	if err != nil {
		return nil, err
	}
	if err := handed.Settle(s.id.TLSCert.PublicKey); err != nil {
		a.ui.warn("an older key is left in the ssh-agent until its certificate ends: %v", err)
	}
	return s, nil
}

// keepKeys sees to it that the keys of a login that is still valid are where the command
// line wants them. It reports whether the login can stay: an agent takes a key of its own
// and gives none away.
func (a *app) keepKeys(ctx context.Context, store *profile.Store, p *profile.Profile, id *keystore.Identity) (bool, error) {
	to, err := a.keysOf(store, p.Name, p.User)
	if err != nil || id.InAgent != (to == profile.KeysInAgent) {
		return false, err
	}
	now, err := store.Keystore(p.Name, p.User)
	if a.globals.keystoreGiven && (err != nil || to != now) {
		return true, store.MigrateKeys(ctx, p, to)
	}
	return true, nil
}

// offerToAgent puts the key of a fresh login into the ssh-agent, too. Whatever is
// wrong with the agent, the login is good.
func (a *app) offerToAgent(id *keystore.Identity) {
	mode := a.globals.addKeysToAgent
	if mode == agentNo || mode == agentAuto && sshagent.Unwanted() {
		return
	}
	err := profile.AddToAgent(id, a.now())
	if mode == agentAuto && errors.Is(err, sshagent.ErrNone) {
		return
	}
	if err != nil {
		a.ui.warn("the key was not added to the ssh-agent: %v", err)
	}
}

// migrateKeys moves the private keys of the login of the profile name, "" for the
// current one.
func (a *app) migrateKeys(ctx context.Context, store *profile.Store, name string, to profile.Keystore) error {
	if to != profile.KeysInFiles && to != profile.KeysInKeyring {
		return usagef("--migrate-keys=%s: file or keyring is needed", to)
	}
	p, err := store.Load(name)
	if err != nil {
		return err
	}
	if u := a.globals.user; u != "" && u != p.User {
		return usagef("%s is logged in at %s, not %s", text.Line(p.User), text.Line(p.Name), text.Line(u))
	}
	if err := store.MigrateKeys(ctx, p, to); err != nil {
		return err
	}
	a.ui.say("The private keys of %s at %s are %s now.", text.Line(p.User), text.Line(p.Name), placeOf(to))
	return nil
}

// placeOf is where private keys are, in words.
func placeOf(k profile.Keystore) string {
	switch k {
	case profile.KeysInKeyring, profile.KeysInKeyringOrFiles:
		return "sealed with a key in the system's keyring"
	case profile.KeysInAgent:
		return "in the ssh-agent"
	}
	return "in files that only you can read"
}

// runMigrateKeys moves the private keys of a login and shows it.
func (a *app) runMigrateKeys(ctx context.Context, store *profile.Store, o loginOptions) error {
	name, err := a.selectedProfile(store)
	if err != nil {
		return err
	}
	if err := a.migrateKeys(ctx, store, name, profile.Keystore(o.migrateKeys)); err != nil {
		return err
	}
	return a.showStatus(store, statusView{active: name, verbose: o.verbose, format: a.loginFormat()})
}
