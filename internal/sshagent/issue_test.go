package sshagent

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/binary"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

func newP256(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newEd25519(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newRSA(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sshKey(t testing.TB, pub crypto.PublicKey) ssh.PublicKey {
	t.Helper()
	key, err := ssh.NewPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// newAuthority makes what signs certificates of users.
func newAuthority(t testing.TB) ssh.Signer {
	t.Helper()
	ca, err := ssh.NewSignerFromSigner(newEd25519(t))
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// certify makes a certificate of an hour.
func certify(t testing.TB, ca ssh.Signer, pub crypto.PublicKey, user string) *ssh.Certificate {
	t.Helper()
	cert := &ssh.Certificate{
		Key: sshKey(t, pub), CertType: ssh.UserCert, KeyId: user, ValidPrincipals: []string{user},
		ValidAfter: uint64(time.Now().Add(-time.Minute).Unix()), ValidBefore: uint64(time.Now().Add(time.Hour).Unix()),
	}
	if err := cert.SignCert(rand.Reader, ca); err != nil {
		t.Fatal(err)
	}
	return cert
}

// login makes what a login of user at proxy puts into the agent.
func login(t testing.TB, key crypto.Signer, proxy, cluster, user string) Entry {
	t.Helper()
	return Entry{Proxy: proxy, Cluster: cluster, User: user, Key: key, Cert: certify(t, newAuthority(t), key.Public(), user), Lifetime: time.Hour}
}

// str is a string in SSH's encoding.
func str(s string) string { return string(binary.BigEndian.AppendUint32(nil, uint32(len(s)))) + s }

// frame is a message as it travels.
func frame(message string) string { return str(message) }

// keyList is an agent's answer to the question for its keys: blobs and comments in turn.
func keyList(blobsAndComments ...string) string {
	list := string(binary.BigEndian.AppendUint32([]byte{replyKeys}, uint32(len(blobsAndComments)/2)))
	for _, s := range blobsAndComments {
		list += str(s)
	}
	return list
}
