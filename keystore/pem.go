package keystore

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"slices"

	"golang.org/x/crypto/ssh"
)

// Limits of what is read. Certificates carry roles and traits and can be large.
const (
	maxKeyFile  = 64 << 10
	maxCertFile = 1 << 20
	maxCAFile   = 4 << 20
	maxCACerts  = 256 // per file
)

// PEM types of private keys.
const (
	pemRSA       = "RSA PRIVATE KEY"
	pemPKCS8     = "PRIVATE KEY"
	pemEC        = "EC PRIVATE KEY"
	pemOpenSSH   = "OPENSSH PRIVATE KEY"
	pemToken     = "PIV YUBIKEY PRIVATE KEY"
	pemEncrypted = "ENCRYPTED PRIVATE KEY"
	pemCert      = "CERTIFICATE"
)

// The kinds of private keys that KeyError reports.
const (
	KeyEncrypted = "encrypted"   // with a passphrase
	KeyHardware  = "hardware"    // on a PIV token
	KeyUnknown   = "unsupported" // another algorithm or PEM type
)

// KeyError is a private key that may be in order and that this package does not
// use. Except for a key on a token it is also ErrDamaged: a new login helps.
type KeyError struct {
	Path string // file, when it came from one
	Kind string // KeyEncrypted, KeyHardware or KeyUnknown
	Type string // what was found
}

func (e *KeyError) Error() string {
	where := "private key"
	if e.Path != "" {
		where = e.Path
	}
	switch e.Kind {
	case KeyEncrypted:
		return where + " is encrypted with a passphrase"
	case KeyHardware:
		return where + " is on a hardware token, which is not supported"
	}
	return fmt.Sprintf("%s has the unsupported type %q", where, e.Type)
}

// Unwrap makes errors.Is(err, ErrDamaged) true where a new login helps.
func (e *KeyError) Unwrap() error {
	if e.Kind == KeyHardware {
		return nil
	}
	return ErrDamaged
}

// decodeKey reads a private key. The type of the first PEM block decides how; the
// labels of the ASN.1 forms are not taken literally.
func decodeKey(data []byte) (crypto.Signer, error) {
	block, _ := decodePEM(data)
	if block == nil {
		return nil, errors.New("holds no PEM block")
	}
	defer clear(block.Bytes)
	if bytes.Contains([]byte(block.Headers["Proc-Type"]), []byte("ENCRYPTED")) {
		return nil, &KeyError{Kind: KeyEncrypted}
	}
	switch block.Type {
	case pemRSA, pemPKCS8, pemEC:
		return decodeASN1Key(block.Type, block.Bytes)
	case pemOpenSSH:
		return decodeOpenSSHKey(data)
	case pemEncrypted:
		return nil, &KeyError{Kind: KeyEncrypted}
	case pemToken:
		return nil, &KeyError{Kind: KeyHardware}
	}
	return nil, &KeyError{Kind: KeyUnknown, Type: block.Type}
}

func decodeASN1Key(kind string, der []byte) (crypto.Signer, error) {
	if kind == pemRSA { // the others take their time to refuse such a key
		if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
			return usableKey(key)
		}
	}
	if key, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		return usableKey(key)
	}
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return usableKey(key)
	}
	key, err := x509.ParseECPrivateKey(der)
	if err != nil {
		return nil, errors.New("holds no complete private key")
	}
	return usableKey(key)
}

func decodeOpenSSHKey(data []byte) (crypto.Signer, error) {
	key, err := ssh.ParseRawPrivateKey(data)
	var locked *ssh.PassphraseMissingError
	if errors.As(err, &locked) {
		return nil, &KeyError{Kind: KeyEncrypted}
	}
	if err != nil {
		return nil, errors.New("holds no complete private key")
	}
	return usableKey(key)
}

// usableKey returns key when its algorithm is one that clusters issue
// certificates for.
func usableKey(key any) (crypto.Signer, error) {
	switch k := key.(type) {
	case *rsa.PrivateKey:
		return k, k.Validate()
	case *ecdsa.PrivateKey:
		if curveOK(k.Curve) {
			return k, nil
		}
	case *ed25519.PrivateKey:
		return usableKey(*k)
	case ed25519.PrivateKey:
		if len(k) == ed25519.PrivateKeySize {
			return k, nil
		}
	}
	return nil, &KeyError{Kind: KeyUnknown, Type: fmt.Sprintf("%T", key)}
}

// checkHalves compares the halves of a private key. Only the OpenSSH form of
// Ed25519 stores the public one and could have a wrong one; deriving it takes
// longer than reading the file, so it is done where the key is used.
func checkHalves(key crypto.Signer) error {
	if k, ok := key.(ed25519.PrivateKey); ok && !k.Equal(ed25519.NewKeyFromSeed(k.Seed())) {
		return fmt.Errorf("%w: the halves of the SSH private key do not match", ErrDamaged)
	}
	return nil
}

func curveOK(c elliptic.Curve) bool {
	return c == elliptic.P256() || c == elliptic.P384() || c == elliptic.P521()
}

// encodeSSHKey returns the form that ssh itself reads: PKCS#1 for RSA, OpenSSH
// for the others (which contains a random number, so that it differs each time).
func encodeSSHKey(key crypto.Signer) ([]byte, error) {
	var private []byte
	switch k := key.(type) {
	case *rsa.PrivateKey:
		return encodePEM(pemRSA, x509.MarshalPKCS1PrivateKey(k)), nil
	case *ecdsa.PrivateKey:
		d, err := k.Bytes()
		if err != nil {
			return nil, err
		}
		private = ssh.Marshal(struct{ D *big.Int }{new(big.Int).SetBytes(d)})
	case ed25519.PrivateKey:
		private = ssh.Marshal(struct{ Key []byte }{k})
	}
	pub, err := ssh.NewPublicKey(key.Public())
	if err != nil {
		return nil, err
	}
	return encodeOpenSSH(pub.Marshal(), private), nil
}

// encodeOpenSSH returns a key in OpenSSH's form, without passphrase and comment
// (PROTOCOL.key of OpenSSH): before the private part stands the public key.
func encodeOpenSSH(pub, private []byte) []byte {
	var check [4]byte
	rand.Read(check[:]) // never fails
	const comment = "\x00\x00\x00\x00"
	secret := slices.Concat(check[:], check[:], pub, private, []byte(comment))
	for i := byte(1); len(secret)%8 != 0; i++ {
		secret = append(secret, i)
	}
	return encodePEM(pemOpenSSH, append([]byte("openssh-key-v1\x00"), ssh.Marshal(struct {
		Cipher, KDF, KDFOptions string
		Keys                    uint32
		Public, Secret          []byte
	}{"none", "none", "", 1, pub, secret})...))
}

// encodeTLSKey returns PKCS#1 for RSA and PKCS#8 for the others.
func encodeTLSKey(key crypto.Signer) ([]byte, error) {
	if k, ok := key.(*rsa.PrivateKey); ok {
		return encodePEM(pemRSA, x509.MarshalPKCS1PrivateKey(k)), nil
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return encodePEM(pemPKCS8, der), nil
}

func encodePEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func encodeCerts(certs []*x509.Certificate, after string) []byte {
	var b bytes.Buffer
	for _, c := range certs {
		b.Write(encodePEM(pemCert, c.Raw))
		b.WriteString(after)
	}
	return b.Bytes()
}

// decodeCert reads the first certificate of a PEM file.
func decodeCert(data []byte) (*x509.Certificate, error) {
	for {
		block, rest := decodePEM(data)
		if block == nil {
			return nil, errors.New("holds no certificate")
		}
		if block.Type == pemCert {
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, errors.New("holds a certificate that does not parse")
			}
			return cert, nil
		}
		data = rest
	}
}

// decodeAuthorities reads the authority certificates of a PEM file and leaves out
// what is none, as other clients do.
func decodeAuthorities(path string, data []byte) []*x509.Certificate {
	var certs []*x509.Certificate
	for n := 0; n < maxCACerts; n++ {
		block, rest := decodePEM(data)
		if block == nil {
			break
		}
		data = rest
		if block.Type != pemCert || len(block.Headers) > 0 {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil || !cert.IsCA {
			slog.Debug("left out what is no authority certificate", "path", path, "error", err)
			continue
		}
		certs = append(certs, cert)
	}
	return certs
}

// decodeSSHCert reads the first line of an SSH certificate file that parses.
func decodeSSHCert(data []byte) (*ssh.Certificate, error) {
	key, _, _, _, err := ssh.ParseAuthorizedKey(data)
	if err != nil {
		return nil, errors.New("holds no SSH certificate")
	}
	cert, ok := key.(*ssh.Certificate)
	if !ok {
		return nil, errors.New("holds a plain key instead of an SSH certificate")
	}
	return cert, nil
}

// samePublic compares public keys; nil equals nothing.
func samePublic(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && b != nil && k.Equal(b)
}

// sshPublic returns the public key of an SSH key or certificate in its crypto
// form, nil when it has none.
func sshPublic(key ssh.PublicKey) crypto.PublicKey {
	if cert, ok := key.(*ssh.Certificate); ok {
		key = cert.Key
	}
	if k, ok := key.(ssh.CryptoPublicKey); ok {
		return k.CryptoPublicKey()
	}
	return nil
}
