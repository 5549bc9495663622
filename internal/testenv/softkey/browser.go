package softkey

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
)

// anyBase64 are bytes in either alphabet, with or without padding.
type anyBase64 []byte

func (b *anyBase64) UnmarshalJSON(data []byte) error {
	var s string
	if err := json.Unmarshal(data, &s); err != nil {
		return err
	}
	s = strings.NewReplacer("+", "-", "/", "_").Replace(strings.TrimRight(s, "="))
	raw, err := base64.RawURLEncoding.DecodeString(s)
	*b = raw
	return err
}

type options struct {
	PublicKey struct {
		Challenge anyBase64 `json:"challenge"`
		RPID      string    `json:"rpId"` // of an assertion
		RP        struct {
			ID string `json:"id"`
		} `json:"rp"` // of a registration
		User struct {
			ID   anyBase64 `json:"id"`
			Name string    `json:"name"`
		} `json:"user"`
		Parameters []struct {
			Alg int `json:"alg"`
		} `json:"pubKeyCredParams"`
		Allow            []descriptor `json:"allowCredentials"`
		Exclude          []descriptor `json:"excludeCredentials"`
		UserVerification string       `json:"userVerification"`
		Selection        struct {
			RequireResidentKey bool   `json:"requireResidentKey"`
			UserVerification   string `json:"userVerification"`
		} `json:"authenticatorSelection"`
	} `json:"publicKey"`
}

type descriptor struct {
	ID anyBase64 `json:"id"`
}

func ids(list []descriptor) (out [][]byte) {
	for _, d := range list {
		out = append(out, d.ID)
	}
	return out
}

// ClientData is what a browser says of a ceremony ("webauthn.get" or
// "webauthn.create") and its hash.
func ClientData(ceremony, origin string, challenge []byte) (raw, hash []byte) {
	raw, _ = json.Marshal(struct {
		Type      string `json:"type"`
		Challenge string `json:"challenge"`
		Origin    string `json:"origin"`
	}{ceremony, b64u(challenge), origin})
	sum := sha256.Sum256(raw)
	return raw, sum[:]
}

func b64u(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// Create answers a server's JSON options for a new credential as a browser at
// origin does, with the owner having touched the key and, where it is asked
// for, typed the PIN.
func (k *Key) Create(origin string, raw []byte) ([]byte, error) {
	var o options
	if err := json.Unmarshal(raw, &o); err != nil {
		return nil, err
	}
	pk := &o.PublicKey
	es256 := false
	for _, p := range pk.Parameters {
		es256 = es256 || p.Alg == -7
	}
	if !es256 {
		return nil, ErrNoAlgorithm
	}
	client, hash := ClientData("webauthn.create", origin, pk.Challenge)
	made, err := k.MakeCredential(CreateRequest{
		RPID: pk.RP.ID, ClientDataHash: hash, UserID: pk.User.ID, UserName: pk.User.Name,
		Resident: pk.Selection.RequireResidentKey, UV: pk.Selection.UserVerification == "required", Exclude: ids(pk.Exclude),
	})
	if err != nil {
		return nil, err
	}
	return answer(made.ID, map[string]string{"clientDataJSON": b64u(client), "attestationObject": b64u(made.AttestationObject())})
}

// Get answers a server's JSON challenge as a browser at origin does.
func (k *Key) Get(origin string, raw []byte) ([]byte, error) {
	var o options
	if err := json.Unmarshal(raw, &o); err != nil {
		return nil, err
	}
	pk := &o.PublicKey
	client, hash := ClientData("webauthn.get", origin, pk.Challenge)
	list, err := k.GetAssertion(GetRequest{
		RPID: pk.RPID, ClientDataHash: hash, Allow: ids(pk.Allow), UV: pk.UserVerification == "required",
	})
	if err != nil {
		return nil, err
	}
	a := list[0]
	response := map[string]string{"clientDataJSON": b64u(client), "authenticatorData": b64u(a.AuthData), "signature": b64u(a.Signature)}
	if len(pk.Allow) == 0 {
		response["userHandle"] = b64u(a.UserID)
	}
	return answer(a.CredentialID, response)
}

func answer(id []byte, response map[string]string) ([]byte, error) {
	var b bytes.Buffer
	err := json.NewEncoder(&b).Encode(map[string]any{"id": b64u(id), "rawId": b64u(id), "type": "public-key", "response": response})
	return b.Bytes(), err
}
