package devcluster

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/protocol/webauthncbor"
	"github.com/google/uuid"
	"github.com/pquerna/otp/totp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/seed-087d674e/tsh/internal/devcluster/clusterpb"
)

// Numbers of the API.
const (
	typeTOTP           = 1
	typeWebAuthn       = 3
	usageMFA           = 1
	usagePasswordless  = 2
	enrolmentLife      = 5 * time.Minute
	privilegeTokenLife = 5 * time.Minute
)

// enrolments are new secrets for one-time codes that wait for their first code,
// and tokens that allow to manage devices: one of each per user, a newer one
// replaces the older.
type enrolments struct {
	mu      sync.Mutex
	secrets map[string]*newSecret
	tokens  map[string]*privilegeToken
}

type newSecret struct {
	id, secret string
	expires    time.Time
}

// privilegeToken says that a user has answered a challenge, or had no device to.
type privilegeToken struct {
	id       string
	answered bool
	expires  time.Time
}

func (e *enrolments) putSecret(user string, s *newSecret) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.secrets == nil {
		e.secrets = make(map[string]*newSecret)
	}
	e.secrets[user] = s
}

// secret is the one that waits under an ID. Without an ID, which 14.x does not
// know, it is the user's.
func (e *enrolments) secret(user, id string, anyID bool, now time.Time) (*newSecret, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.secrets[user]
	return s, s != nil && s.expires.After(now) && (s.id == id || anyID && id == "")
}

func (e *enrolments) dropSecret(user string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.secrets, user)
}

func (e *enrolments) putToken(user string, t *privilegeToken) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.tokens == nil {
		e.tokens = make(map[string]*privilegeToken)
	}
	e.tokens[user] = t
}

// checkToken accepts the user's token; mustBeAnswered one that a device stands
// behind.
func (e *enrolments) checkToken(user, id string, mustBeAnswered bool, now time.Time) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.tokens[user]
	if t == nil || t.id != id || !t.expires.After(now) || mustBeAnswered && !t.answered {
		return refused("%s", textBadToken)
	}
	return nil
}

// rpcPrivilegeToken turns the answer to a challenge into a token.
func (c *Cluster) rpcPrivilegeToken(ctx context.Context, req *pb.CreatePrivilegeTokenRequest) (*pb.UserToken, error) {
	u, err := c.callerUser(ctx)
	if err != nil {
		return nil, err
	}
	if c.secondFactor == factorOff {
		return nil, refused("second factor must be enabled")
	}
	if err := c.checkAnswer(u, scopeManageDevices, req.ExistingMfaResponse); err != nil {
		return nil, err
	}
	t := &privilegeToken{id: uuid.NewString(), answered: req.ExistingMfaResponse.GetResponse() != nil, expires: c.now().Add(privilegeTokenLife)}
	c.enrolments.putToken(u.Name, t)
	return &pb.UserToken{Kind: "user_token", Version: "v3", Metadata: &pb.Metadata{Name: t.id, Namespace: "default"}}, nil
}

// mayEnrol judges whether the caller may add a device.
func (c *Cluster) mayEnrol(u *user, token string, answer *pb.MFAAuthenticateResponse) error {
	switch {
	case token != "":
		return c.enrolments.checkToken(u.Name, token, c.usableDevices(u) > 0, c.now())
	case c.tokensOnly:
		return c.noAnswer()
	}
	return c.checkAnswer(u, scopeManageDevices, answer)
}

// rpcRegisterChallenge begins to add a device.
func (c *Cluster) rpcRegisterChallenge(ctx context.Context, req *pb.CreateRegisterChallengeRequest) (*pb.MFARegisterChallenge, error) {
	u, err := c.callerUser(ctx)
	if err != nil {
		return nil, err
	}
	if err := c.mayEnrol(u, req.TokenId, req.ExistingMfaResponse); err != nil {
		return nil, err
	}
	switch req.DeviceType {
	case typeTOTP:
		return c.newTOTP(u)
	case typeWebAuthn:
		opts, err := c.beginRegistration(u.Name, req.DeviceUsage == usagePasswordless)
		if errors.Is(err, errFactorOff) {
			return nil, invalid("%s", err)
		}
		if err != nil {
			return nil, err
		}
		return &pb.MFARegisterChallenge{Request: &pb.MFARegisterChallenge_Webauthn{Webauthn: creationMessage(opts, []byte(u.WebAuthnID))}}, nil
	}
	return nil, invalid("MFA device type %d unsupported", req.DeviceType)
}

func (c *Cluster) newTOTP(u *user) (*pb.MFARegisterChallenge, error) {
	host, _, err := net.SplitHostPort(c.publicAddr)
	if err != nil {
		return nil, err
	}
	account := u.Name + "@" + host
	key, err := totp.Generate(totp.GenerateOpts{Issuer: c.clusterName, AccountName: account})
	if err != nil {
		return nil, err
	}
	s := &newSecret{id: uuid.NewString(), secret: key.Secret(), expires: c.now().Add(enrolmentLife)}
	c.enrolments.putSecret(u.Name, s)
	challenge := &pb.TOTPRegisterChallenge{
		Secret: key.Secret(), Issuer: c.clusterName, PeriodSeconds: uint32(codePeriod / time.Second),
		Algorithm: "SHA1", Digits: 6, Account: account,
	}
	if !c.tokensOnly {
		challenge.Id = s.id
	}
	return &pb.MFARegisterChallenge{Request: &pb.MFARegisterChallenge_Totp{Totp: challenge}}, nil
}

// creationMessage is the auth API's form of the options of a new key.
func creationMessage(o *protocol.PublicKeyCredentialCreationOptions, handle []byte) *pb.CredentialCreation {
	if id, ok := o.User.ID.(protocol.URLEncodedBase64); ok {
		handle = id
	}
	m := &pb.PublicKeyCredentialCreationOptions{
		Challenge: o.Challenge, Rp: &pb.RelyingParty{Id: o.RelyingParty.ID, Name: o.RelyingParty.Name},
		User:      &pb.UserEntity{Id: handle, Name: o.User.Name, DisplayName: o.User.DisplayName},
		TimeoutMs: int64(o.Timeout), Attestation: string(o.Attestation), Extensions: &pb.AuthenticationExtensions{CredProps: true},
		AuthenticatorSelection: &pb.AuthenticatorSelection{
			AuthenticatorAttachment: string(o.AuthenticatorSelection.AuthenticatorAttachment),
			RequireResidentKey:      o.AuthenticatorSelection.RequireResidentKey != nil && *o.AuthenticatorSelection.RequireResidentKey,
			UserVerification:        string(o.AuthenticatorSelection.UserVerification),
		},
	}
	for _, p := range o.Parameters {
		m.CredentialParameters = append(m.CredentialParameters, &pb.CredentialParameter{Type: publicKey, Alg: int32(p.Algorithm)})
	}
	for _, d := range o.CredentialExcludeList {
		m.ExcludeCredentials = append(m.ExcludeCredentials, &pb.CredentialDescriptor{Type: publicKey, Id: d.CredentialID})
	}
	return &pb.CredentialCreation{PublicKey: m}
}

// rpcAddDevice stores the device that has answered the challenge of a
// registration.
func (c *Cluster) rpcAddDevice(ctx context.Context, req *pb.AddMFADeviceSyncRequest) (*pb.AddMFADeviceSyncResponse, error) {
	u, err := c.callerUser(ctx)
	if err != nil {
		return nil, err
	}
	switch {
	case req.TokenId != "":
		if err := c.enrolments.checkToken(u.Name, req.TokenId, false, c.now()); err != nil {
			return nil, err
		}
	case c.tokensOnly:
		return nil, c.noAnswer()
	}
	if req.NewDeviceName == "" || len(req.NewDeviceName) > maxDeviceName {
		return nil, invalid("%s", errDeviceName)
	}
	var d *device
	switch a := req.NewMfaResponse.GetResponse().(type) {
	case *pb.MFARegisterResponse_Totp:
		d, err = c.addTOTP(u, req, a.Totp)
	case *pb.MFARegisterResponse_Webauthn:
		d, err = c.addKey(u, req, a.Webauthn)
	default:
		return nil, invalid("MFARegisterResponse is an unknown response type %T", a)
	}
	switch {
	case errors.Is(err, errDeviceExists):
		return nil, status.Error(codes.AlreadyExists, err.Error())
	case errors.Is(err, errDeviceName), errors.Is(err, errFactorOff), errors.Is(err, errBadAnswer):
		return nil, invalid("%s", err)
	case err != nil:
		return nil, err
	}
	c.log.Info("device added", "user", u.Name, "kind", d.Kind)
	return &pb.AddMFADeviceSyncResponse{Device: d.message()}, nil
}

// addTOTP stores a device for one-time codes. The code that proves it counts as
// used.
func (c *Cluster) addTOTP(u *user, req *pb.AddMFADeviceSyncRequest, a *pb.TOTPRegisterResponse) (*device, error) {
	if req.DeviceUsage == usagePasswordless {
		return nil, invalid("one-time codes cannot be used without a password")
	}
	if !c.allows(kindTOTP) {
		return nil, errFactorOff
	}
	waiting, ok := c.enrolments.secret(u.Name, a.Id, c.tokensOnly, c.now())
	if !ok {
		return nil, refused("%s", textBadToken)
	}
	d := newDevice(kindTOTP, req.NewDeviceName, c.now())
	d.Secret = waiting.secret
	if !d.useCode(c.now(), a.Code) {
		return nil, refused("%s", textBadNewCode)
	}
	if err := c.addDevice(u.Name, d); err != nil {
		return nil, err
	}
	c.enrolments.dropSecret(u.Name)
	return d, nil
}

// addKey stores a security key.
func (c *Cluster) addKey(u *user, req *pb.AddMFADeviceSyncRequest, a *pb.CredentialCreationResponse) (*device, error) {
	if a.GetType() != publicKey {
		return nil, invalid("credential type %q", a.GetType())
	}
	passwordless := req.DeviceUsage == usagePasswordless
	resident, waiting := c.ceremonies.registration(u.Name)
	if passwordless && waiting && !resident {
		return nil, invalid("passwordless registration failed: requested CredentialCreation was for an MFA registration")
	}
	answer := registrationAnswer{
		CredentialID:      a.RawId,
		ClientDataJSON:    a.GetResponse().GetClientDataJson(),
		AttestationObject: a.GetResponse().GetAttestationObject(),
		Resident:          a.GetExtensions().GetCredProps().GetRk(),
	}
	if passwordless && !userVerified(answer.AttestationObject) {
		return nil, invalid("authenticator doesn't support passwordless, setting up a PIN may fix this")
	}
	return c.finishRegistration(u.Name, req.NewDeviceName, answer)
}

// registration says whether a registration of the user waits, and whether it is
// for a key that can log the user in on its own.
func (c *ceremonies) registration(user string) (resident, waiting bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	found := c.waiting[registrationOf(user)]
	return found != nil && found.resident, found != nil
}

// userVerified reports whether the authenticator says that it knew its owner: a
// flag in the byte after the hash of the relying party.
func userVerified(attestation []byte) bool {
	var object struct {
		AuthData []byte `cbor:"authData"`
	}
	const flags = 32
	return webauthncbor.Unmarshal(attestation, &object) == nil && len(object.AuthData) > flags &&
		protocol.AuthenticatorFlags(object.AuthData[flags]).HasUserVerified()
}
