package login

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
)

const callbackPath = "/callback"

// callback is what the person's browser is given to begin with, and where it
// brings the answer: a short link, used once, and an address that takes one
// answer. Only the proxy can make one, because it takes the secret; whatever else
// comes is turned away and the login goes on.
type callback struct {
	base   string   // of the addresses that browsers are given, without a path
	hosts  []string // that requests may name, in lower case
	secret []byte   // 256 bits
	link   string   // path of the short link
	start  reply    // what the short link answers
	pages  pages

	mu    sync.Mutex
	used  bool // the short link has been followed
	ended bool
	// judge says whether an answer that the proxy has sealed will do.
	judge   func(plaintext []byte) error
	outcome chan outcome // takes one
}

// pages are those of the proxy that the browser ends on.
type pages struct{ success, failure string }

// outcome is how a login in the browser has ended.
type outcome struct {
	_       [0]func() // never compared
	refused bool
	text    string // why it was refused, as it came
	err     error  // what judge said of the answer
}

func newCallback(base string, hosts []string, to pages) *callback {
	c := &callback{base: base, hosts: hosts, pages: to, secret: make([]byte, 32), outcome: make(chan outcome, 1)}
	_, _ = rand.Read(c.secret) // does not fail
	c.link = "/" + randomText()
	return c
}

// randomText is 256 random bits, for an address.
func randomText() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

// address is where the proxy has the browser bring the answer.
func (c *callback) address() string {
	return c.base + callbackPath + "?secret_key=" + hex.EncodeToString(c.secret)
}

// handle answers one request.
func (c *callback) handle(r *http.Request, form url.Values) reply {
	path := r.URL.EscapedPath()
	switch {
	case !slices.Contains(c.hosts, strings.ToLower(r.Host)):
		// A name of somebody else's that was made to lead here.
		return plain(http.StatusMisdirectedRequest)
	case subtle.ConstantTimeCompare([]byte(path), []byte(c.link)) == 1:
		return c.follow(r)
	case path != callbackPath:
		return plain(http.StatusNotFound)
	}
	const methods = "GET, OPTIONS, POST"
	switch r.Method {
	case http.MethodOptions:
		return reply{status: http.StatusOK, allow: methods}
	case http.MethodGet, http.MethodPost:
		return c.take(r.URL, form)
	}
	refusal := plain(http.StatusMethodNotAllowed)
	refusal.allow = methods
	return refusal
}

// follow answers the short link, once: who follows it first logs in.
func (c *callback) follow(r *http.Request) reply {
	if r.Method != http.MethodGet {
		refusal := plain(http.StatusMethodNotAllowed)
		refusal.allow = http.MethodGet
		return refusal
	}
	if strings.Contains(r.Header.Get("Sec-Purpose"), "prefetch") {
		return plain(http.StatusForbidden) // nobody has followed it yet
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.used {
		return say(http.StatusGone, "This link has been followed already; it works once. To begin again, press Ctrl-C in the terminal and run the command again.")
	}
	c.used = true
	return c.start
}

// take takes the answer, if it is one.
func (c *callback) take(u *url.URL, form url.Values) reply {
	no := say(http.StatusForbidden, "This is no answer to the login that is under way.")
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return no
	}
	get := func(name string) (string, bool) {
		values := slices.Concat(form[name], query[name])
		if len(values) != 1 {
			return "", false
		}
		return values[0], true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return no
	}
	if sealed, ok := get("response"); ok {
		plaintext, err := unseal(c.secret, sealed)
		if err != nil {
			return no
		}
		return c.end(outcome{err: c.judge(plaintext)})
	}
	text, refused := get("err")
	key, _ := get("secret_key")
	if !refused || subtle.ConstantTimeCompare([]byte(key), []byte(hex.EncodeToString(c.secret))) != 1 {
		return no
	}
	return c.end(outcome{refused: true, text: text})
}

// end ends the login; the answer to the browser is the listener's last.
func (c *callback) end(o outcome) reply {
	c.ended = true
	to := c.pages.success
	if o.refused || o.err != nil {
		to = c.pages.failure
	}
	return reply{status: http.StatusFound, location: to, last: func() { c.outcome <- o }}
}

// errSealed: the text is not what the proxy seals. It says no more than that.
var errSealed = errors.New("the answer is not sealed with the key of this login")

// unseal opens what the proxy has sealed: AES-256-GCM in a JSON envelope.
func unseal(key []byte, envelope string) ([]byte, error) {
	var sealed struct {
		Ciphertext []byte `json:"ciphertext"`
		Nonce      []byte `json:"nonce"`
	}
	if json.Unmarshal([]byte(envelope), &sealed) != nil {
		return nil, errSealed
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	if len(sealed.Nonce) != gcm.NonceSize() { // Open would panic
		return nil, errSealed
	}
	plaintext, err := gcm.Open(nil, sealed.Nonce, sealed.Ciphertext, nil)
	if err != nil {
		return nil, errSealed
	}
	return plaintext, nil
}

// startAt sends the browser to an address.
func startAt(target string) reply { return reply{status: http.StatusFound, location: target} }

// startWith gives the browser a form with the scripts that send it. Only those
// scripts run, and the form goes nowhere but to https or to this machine.
func startWith(form []byte) (reply, error) {
	hashes, err := scriptHashes(string(form))
	if err != nil {
		return reply{}, err
	}
	return reply{
		status: http.StatusOK,
		policy: "default-src 'none'; script-src " + hashes + "; base-uri 'none'; object-src 'none'; img-src 'none'; style-src 'none'; " +
			"frame-ancestors 'none'; form-action https: http://127.0.0.1:*",
		body: "<!doctype html><html><head><meta charset=utf-8><title>Logging in</title></head><body>\n" + string(form) + "\n</body></html>\n",
	}, nil
}

// scriptHashes names the inline scripts of a form as a policy does.
func scriptHashes(form string) (string, error) {
	const most = 4
	var hashes []string
	lower := asciiLower(form)
	for at := 0; ; {
		begin := strings.Index(lower[at:], "<script")
		if begin < 0 {
			break
		}
		begin += at
		tag := strings.IndexByte(lower[begin:], '>')
		if tag < 0 {
			return "", errors.New("the form has a script tag without an end")
		}
		end := strings.Index(lower[begin+tag:], "</script")
		if end < 0 || len(hashes) == most {
			return "", errors.New("the form has a script without an end, or too many")
		}
		sum := sha256.Sum256([]byte(form[begin+tag+1 : begin+tag+end]))
		hashes = append(hashes, "'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'")
		at = begin + tag + end
	}
	if len(hashes) == 0 {
		return "'none'", nil
	}
	return strings.Join(hashes, " "), nil
}

// asciiLower is strings.ToLower for text whose bytes must stay where they are.
func asciiLower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}
