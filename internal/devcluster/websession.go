package devcluster

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Limits of the sessions of browsers.
const (
	webSessionLife = time.Hour
	maxWebSessions = 1000
	webCookie      = "__Host-session"
)

// webSession is a browser that somebody has signed in with. Both the cookie and the
// token are needed, so that no other site can use it.
type webSession struct {
	user, sid, token string
	expires          time.Time
}

type webSessions struct {
	mu   sync.Mutex
	open map[string]*webSession // by sid
}

func (w *webSessions) start(user string, now time.Time) *webSession {
	w.mu.Lock()
	defer w.mu.Unlock()
	for sid, s := range w.open {
		if !s.expires.After(now) {
			delete(w.open, sid)
		}
	}
	if w.open == nil || len(w.open) >= maxWebSessions {
		w.open = make(map[string]*webSession)
	}
	s := &webSession{user: user, sid: rand.Text(), token: rand.Text(), expires: now.Add(webSessionLife)}
	w.open[s.sid] = s
	return s
}

func (w *webSessions) find(sid string, now time.Time) *webSession {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.open[sid]
	if s == nil || !s.expires.After(now) {
		return nil
	}
	return s
}

// cookieValue is what the session's cookie holds, as hex of JSON.
type cookieValue struct {
	User string `json:"user"`
	SID  string `json:"sid"`
}

func (s *webSession) cookie() *http.Cookie {
	value, _ := json.Marshal(cookieValue{s.user, s.sid}) // two strings
	return &http.Cookie{
		Name: webCookie, Value: hex.EncodeToString(value), Path: "/",
		Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
}

type webSessionAnswer struct {
	Type                   string    `json:"type"`
	Token                  string    `json:"token"`
	ExpiresIn              int       `json:"expires_in"`
	SessionExpiresIn       int       `json:"sessionExpiresIn"`
	SessionExpires         time.Time `json:"sessionExpires"`
	SessionInactiveTimeout int       `json:"sessionInactiveTimeout"` // ms; none
}

func (s *webSession) answer(now time.Time) webSessionAnswer {
	left := int(s.expires.Sub(now).Seconds())
	return webSessionAnswer{Type: "Bearer", Token: s.token, ExpiresIn: left, SessionExpiresIn: left, SessionExpires: s.expires.UTC()}
}

// browser is the session that a call of the web API comes with.
func (c *Cluster) browser(r *http.Request) (*webSession, error) {
	refused := accessDenied("need auth")
	cookie, err := r.Cookie(webCookie)
	if err != nil {
		return nil, refused
	}
	raw, err := hex.DecodeString(cookie.Value)
	var value cookieValue
	if err != nil || json.Unmarshal(raw, &value) != nil {
		return nil, refused
	}
	s := c.browsers.find(value.SID, c.now())
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if s == nil || !ok || s.user != value.User || subtle.ConstantTimeCompare([]byte(token), []byte(s.token)) != 1 {
		return nil, refused
	}
	return s, nil
}

// signIn answers a call that starts a browser's session; who says whose.
func (c *Cluster) signIn(limits *bucketSet, who func(r *http.Request) (*user, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.apiHandler(limits, func(r *http.Request) (any, error) {
			u, err := who(r)
			if err != nil {
				return nil, err
			}
			s := c.browsers.start(u.Name, c.now())
			http.SetCookie(w, s.cookie())
			return s.answer(c.now()), nil
		}).ServeHTTP(w, r)
	})
}

// signInPassword takes a password, and a code where the cluster wants a second factor.
func (c *Cluster) signInPassword(r *http.Request) (u *user, err error) {
	var req struct {
		User  string `json:"user"`
		Pass  string `json:"pass"`
		Token string `json:"second_factor_token"`
	}
	if err := readJSON(r, &req); err != nil {
		return nil, err
	}
	login := &finishRequest{User: req.User, Password: req.Pass, TOTPCode: req.Token}
	defer func() {
		c.noteLogin(loginNote{user: req.User, method: login.method(), from: r.RemoteAddr}, err)
	}()
	if u, err = c.authenticate(login); err != nil {
		return nil, accessDenied(textInvalid)
	}
	return u, nil
}

// signInKey takes a security key's answer to the challenge of mfa/login/begin, which
// has checked the password.
func (c *Cluster) signInKey(r *http.Request) (u *user, err error) {
	var req struct {
		User   string          `json:"user"`
		Answer json.RawMessage `json:"webauthnAssertionResponse"`
	}
	if err := readJSON(r, &req); err != nil {
		return nil, err
	}
	defer func() {
		c.noteLogin(loginNote{user: req.User, method: methodWebAuthn, from: r.RemoteAddr}, err)
	}()
	if req.User == "" || len(req.Answer) == 0 {
		return nil, accessDenied(textInvalid)
	}
	if u, err = c.authenticateKey(&finishRequest{User: req.User, WebauthnResponse: req.Answer}); err != nil {
		return nil, accessDenied(textInvalid)
	}
	return u, nil
}
