package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/pflag"

	"github.com/seed-087d674e/tsh/internal/keyring"
	"github.com/seed-087d674e/tsh/internal/sshagent"
	"github.com/seed-087d674e/tsh/internal/text"
	"github.com/seed-087d674e/tsh/keystore"
	"github.com/seed-087d674e/tsh/profile"
)

// Values of --add-keys-to-agent.
const (
	agentAuto = "auto" // yes, except where the agent is gpg-agent
	agentNo   = "no"
	agentYes  = "yes"
	agentOnly = "only" // the agent alone has the key
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
		return errors.New("--add-keys-to-agent=only keeps the key in the ssh-agent and nowhere else; leave --keystore out")
	}
	return nil
}

// keysOf says where the private keys of a login through the profile name go, "" for
// where they were. What the command line says comes before what is remembered.
func (a *app) keysOf(store *profile.Store, name string) profile.Keystore {
	g := &a.globals
	switch {
	case g.addKeysToAgent == agentOnly:
		return profile.KeysInAgent
	case g.keystore != "":
		return profile.Keystore(g.keystore)
	case g.agentGiven && name != "" && store.Keystore(name) == profile.KeysInAgent:
		return profile.KeysInFiles // another mode than the one remembered
	case name != "":
		return store.Keystore(name)
	}
	return ""
}

// checkKeysCanGo finds out whether keys can be stored before the person goes through
// a login.
func (a *app) checkKeysCanGo(store *profile.Store, to profile.Keystore) error {
	switch to {
	case keysInMemory:
		return nil
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
	if err := checkWritable(store.Home()); err != nil {
		return withHint(err, "the login could not be stored there; TELEPORT_HOME names another directory,\nand --keystore=memory lets ssh and ls log in without storing anything")
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
	if t.keys == profile.KeysInAgent {
		if err := a.putInAgent(id); err != nil {
			return nil, withHint(err, "nothing was stored: the key of this login goes to the ssh-agent alone")
		}
	}
	save := store.Commit
	if t.keepCurrent {
		save = store.Save
	}
	if err := save(ctx, p, id); err != nil {
		if id.InAgent {
			_ = profile.RemoveFromAgent(id.Proxy, id.User) // it ends with its certificate
		}
		return nil, err
	}
	if t.keys != profile.KeysInAgent {
		a.offerToAgent(id)
	}
	return a.useSession(store, p)
}

// putInAgent gives the only copy of a key to the ssh-agent.
func (a *app) putInAgent(id *keystore.Identity) error {
	err := profile.AddToAgent(id, a.now())
	if errors.Is(err, sshagent.ErrStale) {
		a.ui.warn("%v", err)
		err = nil
	}
	if err == nil {
		_, err = sshagent.OpenKey(id.TLSCert.PublicKey) // it says it has the key
	}
	id.InAgent = err == nil
	return err
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

// migrateKeys moves the private keys of the selected login.
func (a *app) migrateKeys(ctx context.Context, store *profile.Store, to profile.Keystore) error {
	if to != profile.KeysInFiles && to != profile.KeysInKeyring {
		return usagef("--migrate-keys=%s: file or keyring is needed", to)
	}
	p, err := a.selectProfile(store)
	if err != nil {
		return err
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
