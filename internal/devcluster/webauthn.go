package devcluster

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"
	"github.com/google/uuid"
)

// errBadAnswer: a security key's answer was not accepted.
var errBadAnswer = errors.New("the security key's answer is not accepted")

// requestOptions ask a security key to prove that it is there.
type requestOptions struct {
	Challenge        []byte
	Timeout          time.Duration
	RPID             string
	AllowCredentials [][]byte // none: the key says who the user is
	UserVerification string   // "discouraged" or "required"
}

// assertionAnswer is what a security key and the client have made of them.
type assertionAnswer struct {
	CredentialID      []byte
	ClientDataJSON    []byte
	AuthenticatorData []byte
	Signature         []byte
	UserHandle        []byte
}

// registrationAnswer is what they have made of the options of a new key.
type registrationAnswer struct {
	CredentialID      []byte
	ClientDataJSON    []byte
	AttestationObject []byte
	Resident          bool // what the client says of it (cred_props.rk)
}

// relyingParty is the name that security keys know the cluster by: the host that
// ping announces.
func relyingParty(publicAddr string) string {
	host, _, err := net.SplitHostPort(publicAddr)
	if err != nil {
		return ""
	}
	return host
}

// beginAssertion asks the user's security keys for a proof in a scope. There
// are no options where the user has no key that could answer. For
// scopePasswordless u is nil, and whoever the key names has to be found.
func (c *Cluster) beginAssertion(u *user, scope challengeScope) (*requestOptions, error) {
	opts := &requestOptions{Challenge: newChallenge(), Timeout: challengeLife, RPID: relyingParty(c.settings.PublicAddr), UserVerification: "discouraged"}
	key, life := "", challengeLife
	next := &ceremony{session: webauthn.SessionData{
		Challenge: base64.RawURLEncoding.EncodeToString(opts.Challenge), RelyingPartyID: opts.RPID,
	}}
	if scope == scopePasswordless {
		opts.UserVerification = "required"
		key, life = nobodysCeremony(next.session.Challenge), passwordlessLife
	} else {
		for _, resident := range []bool{false, true} { // keys for a second factor only come first
			for _, d := range c.usable(u, kindWebAuthn) {
				if d.Resident == resident && d.RPID == opts.RPID {
					opts.AllowCredentials = append(opts.AllowCredentials, d.Credential.ID)
				}
			}
		}
		if len(opts.AllowCredentials) == 0 {
			return nil, nil
		}
		key = userCeremony(c.scopeOf(scope), u.Name)
		next.session.UserID = []byte(u.WebAuthnID)
	}
	next.expires = c.now().Add(life)
	next.session.AllowedCredentialIDs = opts.AllowCredentials
	next.session.UserVerification = protocol.UserVerificationRequirement(opts.UserVerification)
	return opts, c.ceremonies.put(key, next, c.now())
}

// finishAssertion judges the answer of a security key, and returns the user and
// the device it proves. For scopePasswordless name is empty. Whatever is wrong
// with the answer is errBadAnswer; a challenge can be answered well once.
func (c *Cluster) finishAssertion(name string, scope challengeScope, answer assertionAnswer) (*user, *device, error) {
	client, err := c.clientData(answer.ClientDataJSON)
	if err != nil {
		return nil, nil, err
	}
	key := userCeremony(c.scopeOf(scope), name)
	if scope == scopePasswordless {
		key = nobodysCeremony(client.Challenge)
	}
	asked, ok := c.ceremonies.take(key, c.now())
	if !ok {
		return nil, nil, fmt.Errorf("%w: no challenge of this scope is waiting", errBadAnswer)
	}
	if asked.reusable && !c.mayReuse(scope) {
		return nil, nil, fmt.Errorf("%w: reuse of the answer is not permitted here", errBadAnswer)
	}
	u, credential, err := c.judge(name, asked, client, answer)
	if err != nil {
		c.ceremonies.giveBack(key, asked)
		return nil, nil, err
	}
	return c.noteUse(u.Name, credential)
}

// judge has the library do what section 7.2 of WebAuthn says.
func (c *Cluster) judge(name string, asked *ceremony, client *protocol.CollectedClientData, answer assertionAnswer) (*user, *webauthn.Credential, error) {
	find := func() (*user, error) { return c.userByHandle(answer.UserHandle) }
	if name != "" {
		find = func() (*user, error) { return c.userByName(name) }
	}
	u, err := find()
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", errBadAnswer, err)
	}
	var response protocol.CredentialAssertionResponse
	response.ID, response.Type = base64.RawURLEncoding.EncodeToString(answer.CredentialID), publicKey
	response.RawID = answer.CredentialID
	response.AssertionResponse.ClientDataJSON = answer.ClientDataJSON
	response.AssertionResponse.AuthenticatorData = answer.AuthenticatorData
	response.AssertionResponse.Signature = answer.Signature
	response.AssertionResponse.UserHandle = answer.UserHandle
	parsed, err := response.Parse()
	if err != nil {
		return nil, nil, badAnswer(err)
	}
	party, err := c.party(client)
	if err != nil {
		return nil, nil, err
	}
	var credential *webauthn.Credential
	if asked.session.UserID == nil {
		credential, err = party.ValidateDiscoverableLogin(func(_, _ []byte) (webauthn.User, error) { return keyHolder{u}, nil }, asked.session, parsed)
	} else {
		credential, err = party.ValidateLogin(keyHolder{u}, asked.session, parsed)
	}
	if err != nil {
		return nil, nil, badAnswer(err)
	}
	return u, credential, nil
}

// noteUse keeps what a key says of itself with each use.
func (c *Cluster) noteUse(name string, credential *webauthn.Credential) (u *user, used *device, err error) {
	err = c.changeUser(name, func(stored *user) error {
		for _, d := range stored.devices(kindWebAuthn) {
			if string(d.Credential.ID) == string(credential.ID) {
				d.Credential, d.LastUsed = credential, c.now().UTC()
				u, used = stored, d
				return nil
			}
		}
		return fmt.Errorf("%w: the device has been removed", errBadAnswer)
	})
	return u, used, err
}

// beginRegistration asks for a new security key of a user. With resident it has
// to be one that can log the user in on its own.
func (c *Cluster) beginRegistration(name string, resident bool) (*protocol.PublicKeyCredentialCreationOptions, error) {
	if !c.allows(kindWebAuthn) {
		return nil, errFactorOff
	}
	u, err := c.userWithHandle(name)
	if err != nil {
		return nil, err
	}
	party, err := c.party(nil)
	if err != nil {
		return nil, err
	}
	selection := protocol.AuthenticatorSelection{RequireResidentKey: &resident, UserVerification: protocol.VerificationDiscouraged}
	if resident {
		selection.ResidentKey, selection.UserVerification = protocol.ResidentKeyRequirementRequired, protocol.VerificationRequired
	}
	creation, session, err := party.BeginRegistration(keyHolder{u},
		webauthn.WithAuthenticatorSelection(selection),
		webauthn.WithConveyancePreference(protocol.PreferNoAttestation),
		webauthn.WithExclusions(excluded(u, resident)),
		webauthn.WithExtensions(webauthn.WithExtensionCredProps()))
	if err != nil {
		return nil, err
	}
	creation.Response.Timeout = int(challengeLife.Milliseconds())
	waiting := &ceremony{session: *session, expires: c.now().Add(challengeLife), resident: resident}
	return &creation.Response, c.ceremonies.put(registrationOf(name), waiting, c.now())
}

// excluded are the keys that must not be registered again: all, or for a key
// that can log the user in those that can already.
func excluded(u *user, resident bool) []protocol.CredentialDescriptor {
	var list []protocol.CredentialDescriptor
	for _, d := range u.devices(kindWebAuthn) {
		if !resident || d.Resident {
			list = append(list, d.Credential.Descriptor())
		}
	}
	return list
}

// finishRegistration stores the key that has answered, under a name.
func (c *Cluster) finishRegistration(name, deviceName string, answer registrationAnswer) (*device, error) {
	client, err := c.clientData(answer.ClientDataJSON)
	if err != nil {
		return nil, err
	}
	asked, ok := c.ceremonies.take(registrationOf(name), c.now())
	if !ok {
		return nil, fmt.Errorf("%w: no registration is waiting", errBadAnswer)
	}
	u, err := c.userByName(name)
	if err != nil {
		return nil, err
	}
	var response protocol.CredentialCreationResponse
	response.ID, response.Type = base64.RawURLEncoding.EncodeToString(answer.CredentialID), publicKey
	response.RawID = answer.CredentialID
	response.AttestationResponse.ClientDataJSON = answer.ClientDataJSON
	response.AttestationResponse.AttestationObject = answer.AttestationObject
	parsed, err := response.Parse()
	if err != nil {
		return nil, badAnswer(err)
	}
	party, err := c.party(client)
	if err != nil {
		return nil, err
	}
	credential, err := party.CreateCredential(keyHolder{u}, asked.session, parsed)
	if err != nil {
		return nil, badAnswer(err)
	}
	d := newDevice(kindWebAuthn, deviceName, c.now())
	d.Credential, d.Resident, d.RPID = credential, asked.resident || answer.Resident, asked.session.RelyingPartyID
	return d, c.addDevice(name, d)
}

// badAnswer keeps the library's reason, which is in a field of its error.
func badAnswer(err error) error {
	var reason *protocol.Error
	if errors.As(err, &reason) {
		return fmt.Errorf("%w: %s %s", errBadAnswer, reason.Details, reason.DevInfo)
	}
	return fmt.Errorf("%w: %w", errBadAnswer, err)
}

// clientData reads what the client says of a ceremony, and refuses an origin
// that is neither the relying party's host nor below it. Scheme and port are
// not looked at.
func (c *Cluster) clientData(raw []byte) (*protocol.CollectedClientData, error) {
	client := new(protocol.CollectedClientData)
	if err := json.Unmarshal(raw, client); err != nil {
		return nil, fmt.Errorf("%w: client data: %w", errBadAnswer, err)
	}
	origin, err := url.Parse(client.Origin)
	host, rpID := "", relyingParty(c.settings.PublicAddr)
	if err == nil {
		host = origin.Hostname()
	}
	if host != rpID && !strings.HasSuffix(host, "."+rpID) {
		return nil, fmt.Errorf("%w: origin %q is not of %s", errBadAnswer, client.Origin, rpID)
	}
	return client, nil
}

// party is the library set up for this cluster and the origin that was judged.
func (c *Cluster) party(client *protocol.CollectedClientData) (*webauthn.WebAuthn, error) {
	rpID := relyingParty(c.settings.PublicAddr)
	origin := "https://" + rpID
	if client != nil {
		origin = client.Origin
	}
	return webauthn.New(&webauthn.Config{RPID: rpID, RPDisplayName: "Teleport", RPOrigins: []string{origin}})
}

// userByName reads a user.
func (r *registry) userByName(name string) (*user, error) {
	u := new(user)
	if found, err := r.state.get(bucketUsers, name, u); err != nil || !found || u.expired(r.now()) {
		return nil, errors.Join(err, notFoundUser(name))
	}
	return u, nil
}

// userByHandle finds the user whom a security key names.
func (r *registry) userByHandle(handle []byte) (*user, error) {
	var match *user
	err := r.state.each(bucketUsers, func(_ string, raw []byte) error {
		u := new(user)
		if err := json.Unmarshal(raw, u); err != nil {
			return err
		}
		if u.WebAuthnID != "" && u.WebAuthnID == string(handle) {
			match = u
		}
		return nil
	})
	if err == nil && match == nil {
		err = errors.New("nobody has this user handle")
	}
	return match, err
}

// userWithHandle reads a user and gives one who has none the handle that
// security keys will know the user by from now on.
func (r *registry) userWithHandle(name string) (u *user, err error) {
	err = r.changeUser(name, func(stored *user) error {
		if stored.WebAuthnID == "" {
			stored.WebAuthnID = uuid.NewString()
		}
		u = stored
		return nil
	})
	return u, err
}

// keyHolder is a user as the library sees them.
type keyHolder struct{ u *user }

// WebAuthnID implements webauthn.User.
func (h keyHolder) WebAuthnID() []byte { return []byte(h.u.WebAuthnID) }

// WebAuthnName implements webauthn.User.
func (h keyHolder) WebAuthnName() string { return h.u.Name }

// WebAuthnDisplayName implements webauthn.User.
func (h keyHolder) WebAuthnDisplayName() string { return h.u.Name }

// WebAuthnCredentials implements webauthn.User.
func (h keyHolder) WebAuthnCredentials() []webauthn.Credential {
	var list []webauthn.Credential
	for _, d := range h.u.devices(kindWebAuthn) {
		list = append(list, *d.Credential)
	}
	return list
}
