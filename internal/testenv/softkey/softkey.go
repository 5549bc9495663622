// Package softkey is a security key made of software, for tests: it makes and
// uses ES256 credentials as an authenticator does that is asked over CTAP, and
// has the little of a browser that a test needs. It shares no code with the
// client or the dev cluster.
package softkey

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"sync"
)

// What a key may answer instead.
var (
	ErrNoCredentials = errors.New("no credentials")        // FIDO_ERR_NO_CREDENTIALS
	ErrExcluded      = errors.New("credential excluded")   // FIDO_ERR_CREDENTIAL_EXCLUDED
	ErrNoAlgorithm   = errors.New("unsupported algorithm") // only ES256 is there
)

// Flags of authenticator data.
const (
	flagUP = 1 << 0 // somebody was there
	flagUV = 1 << 2 // and it was the owner
	flagAT = 1 << 6 // a new credential follows
)

// Key is a security key. The zero value is an empty one without a PIN.
type Key struct {
	// PIN is asked for by programs that use the key; the key itself trusts the
	// caller's word that the user was verified.
	PIN string `json:"pin,omitempty"`
	// Packed has new credentials attested by themselves instead of not at all.
	Packed bool `json:"packed,omitempty"`
	// NoUP answers without anybody having touched it, which servers refuse.
	NoUP        bool          `json:"no_up,omitempty"`
	Credentials []*Credential `json:"credentials,omitempty"`

	mu sync.Mutex
}

// Credential is one key pair on a security key.
type Credential struct {
	ID       []byte `json:"id"`
	RPID     string `json:"rp_id"`
	UserID   []byte `json:"user_id"`
	UserName string `json:"user_name"`
	Private  []byte `json:"private"` // PKCS #8
	Resident bool   `json:"resident"`
	Count    uint32 `json:"count"`
}

// Load reads a key that Save has written; a missing file is an empty key.
func Load(path string) (*Key, error) {
	k := new(Key)
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return k, nil
	}
	if err != nil {
		return nil, err
	}
	return k, json.Unmarshal(data, k)
}

// Save writes the key to a file.
func (k *Key) Save(path string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	data, err := json.Marshal(k)
	if err != nil {
		return err
	}
	tmp := path + ".new"
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// CreateRequest asks for a new credential.
type CreateRequest struct {
	RPID           string
	ClientDataHash []byte
	UserID         []byte
	UserName       string
	Resident       bool
	UV             bool     // the user was verified
	Exclude        [][]byte // fail if one of these is here
}

// Created is a new credential with what proves it.
type Created struct {
	ID        []byte
	AuthData  []byte
	Format    string // "none" or "packed"
	Signature []byte // of packed
}

// MakeCredential makes a credential.
func (k *Key) MakeCredential(req CreateRequest) (*Created, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range k.Credentials {
		if c.RPID == req.RPID && slices.ContainsFunc(req.Exclude, c.is) {
			return nil, ErrExcluded
		}
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	c := &Credential{
		ID: make([]byte, 32), RPID: req.RPID, UserID: req.UserID, UserName: req.UserName, Resident: req.Resident,
	}
	_, _ = rand.Read(c.ID)
	if c.Private, err = x509.MarshalPKCS8PrivateKey(private); err != nil {
		return nil, err
	}
	cose, err := coseKey(&private.PublicKey)
	if err != nil {
		return nil, err
	}
	k.Credentials = slices.DeleteFunc(k.Credentials, func(old *Credential) bool {
		return req.Resident && old.Resident && old.RPID == req.RPID && bytes.Equal(old.UserID, req.UserID)
	})
	k.Credentials = append(k.Credentials, c)
	data := k.authData(c, flagAT, req.UV)
	data = append(data, make([]byte, 16)...) // AAGUID
	data = binary.BigEndian.AppendUint16(data, uint16(len(c.ID)))
	data = append(append(data, c.ID...), cose...)
	made := &Created{ID: c.ID, AuthData: data, Format: "none"}
	if k.Packed {
		made.Format = "packed"
		made.Signature, err = c.sign(data, req.ClientDataHash)
	}
	return made, err
}

// GetRequest asks for proofs of possession.
type GetRequest struct {
	RPID           string
	ClientDataHash []byte
	Allow          [][]byte // none asks the resident credentials
	UV             bool     // the user was verified
	NoUP           bool     // only say whether there is one: nobody was there
}

// Assertion is a proof of possession.
type Assertion struct {
	CredentialID []byte
	AuthData     []byte
	Signature    []byte
	UserID       []byte // of resident credentials
	UserName     string
}

// GetAssertion proves the possession of the first credential that is allowed or,
// with no list, of every resident one. Errors: ErrNoCredentials.
func (k *Key) GetAssertion(req GetRequest) ([]Assertion, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var list []Assertion
	for _, c := range k.Credentials {
		if c.RPID != req.RPID {
			continue
		}
		if len(req.Allow) == 0 && !c.Resident || len(req.Allow) > 0 && !slices.ContainsFunc(req.Allow, c.is) {
			continue
		}
		data := k.authData(c, 0, req.UV)
		if req.NoUP {
			data[32] &^= flagUP
		}
		sig, err := c.sign(data, req.ClientDataHash)
		if err != nil {
			return nil, err
		}
		a := Assertion{CredentialID: c.ID, AuthData: data, Signature: sig}
		if c.Resident {
			a.UserID, a.UserName = c.UserID, c.UserName
		}
		list = append(list, a)
		if len(req.Allow) > 0 {
			break
		}
	}
	if len(list) == 0 {
		return nil, ErrNoCredentials
	}
	return list, nil
}

func (c *Credential) is(id []byte) bool { return bytes.Equal(c.ID, id) }

// authData is the head of authenticator data; it counts one use.
func (k *Key) authData(c *Credential, flags byte, uv bool) []byte {
	c.Count++
	if !k.NoUP {
		flags |= flagUP
	}
	if uv {
		flags |= flagUV
	}
	hash := sha256.Sum256([]byte(c.RPID))
	return binary.BigEndian.AppendUint32(append(hash[:], flags), c.Count)
}

func (c *Credential) sign(authData, clientDataHash []byte) ([]byte, error) {
	key, err := x509.ParsePKCS8PrivateKey(c.Private)
	if err != nil {
		return nil, err
	}
	private, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("no ECDSA key")
	}
	digest := sha256.Sum256(append(bytes.Clone(authData), clientDataHash...))
	return ecdsa.SignASN1(rand.Reader, private, digest[:])
}
