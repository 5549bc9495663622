package devcluster

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"html/template"
	"net/http"
	"strings"
)

const pageStyle = `
:root { color-scheme: light dark; --accent: #2f5fd0; --line: #8884; }
body { font: 16px/1.5 system-ui, "DejaVu Sans", sans-serif; margin: 0; padding: 1.5rem; box-sizing: border-box; min-height: 100vh; display: grid; place-items: center; background: light-dark(#f2f4f8, #15171c); }
main { width: min(26rem, calc(100vw - 4rem)); padding: 2rem; border-radius: .75rem; background: light-dark(#fff, #20242c); box-shadow: 0 2px 18px #0002; }
h1 { font-size: 1.3rem; margin: 0 0 .75rem; }
p { margin: .5rem 0; }
small, .groups { color: light-dark(#596273, #a8b0bf); }
.bad h1 { color: light-dark(#b3261e, #ff8a80); }
.good h1 { color: light-dark(#1e7a3c, #7fd99a); }
label { display: flex; gap: .75rem; align-items: baseline; padding: .6rem .75rem; border: 1px solid var(--line); border-radius: .5rem; margin: .5rem 0; }
.groups { display: block; font-size: .85rem; }
button { font: inherit; padding: .5rem 1.1rem; border-radius: .5rem; border: 1px solid var(--line); background: none; color: inherit; cursor: pointer; }
button[value="sign in"] { background: var(--accent); border-color: var(--accent); color: #fff; }
.buttons { display: flex; gap: .75rem; margin-top: 1.25rem; }
`

// sendScript sends the only form of a page.
const sendScript = `document.forms[0].submit();`

// samlScript is what some SAML libraries put behind their form; clients know it by
// its hash.
const samlScript = `document.getElementById('SAMLSubmitButton').style.visibility="hidden";document.getElementById('SAMLRequestForm').submit();`

const pageTemplates = `
{{define "head"}}<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{{.}}</title>{{end}}

{{define "message"}}{{template "head" .Title}}<style>{{.Style}}</style></head>
<body><main class="{{.Class}}"><h1>{{.Title}}</h1><p>{{.Text}}</p><p><small>dev cluster</small></p></main></body></html>
{{end}}

{{define "refresh"}}{{template "head" "Going on"}}<meta http-equiv="refresh" content="0;URL='{{.}}'"></head>
<body></body></html>
{{end}}

{{define "idp"}}{{template "head" "Sign in"}}<style>{{.Style}}</style></head>
<body><main><h1>Who are you?</h1>
<p>This is the identity provider behind <b>{{.Connector}}</b>. It belongs to a dev cluster and believes everybody.</p>
<form method="post" action="{{.Action}}">
<input type="hidden" name="state" value="{{.Carried.State}}"><input type="hidden" name="challenge" value="{{.Carried.Challenge}}">
{{range $i, $p := .People}}<label><input type="radio" name="person" value="{{$p.Name}}" id="person-{{$p.Name}}"{{if eq $i 0}} checked{{end}}>
<span>{{$p.Name}}<span class="groups">{{range $j, $g := $p.Groups}}{{if $j}}, {{end}}{{$g}}{{else}}in no group{{end}}</span></span></label>
{{end}}<div class="buttons"><button name="action" value="sign in" id="sign-in">Sign in</button><button name="action" value="cancel" id="cancel">Cancel</button></div>
</form></main></body></html>
{{end}}

{{define "saml"}}{{template "head" "Going on"}}</head><body>
<form method="post" action="{{.Action}}"><input type="hidden" name="SAMLResponse" value="{{.Message}}"><input type="hidden" name="RelayState" value="{{.State}}"><noscript><button>Continue</button></noscript></form>
<script>{{.Script}}</script></body></html>
{{end}}

{{define "postform"}}<form method="POST" action="{{.Action}}" id="SAMLRequestForm"><input type="hidden" name="SAMLRequest" value="{{.Message}}"><input type="hidden" name="RelayState" value="{{.State}}"><input id="SAMLSubmitButton" type="submit" value="Submit"></form><script>{{.Script}}</script>{{end}}
`

// renderPage fills a template.
func renderPage(name string, data any) []byte {
	var b bytes.Buffer
	t := template.Must(template.New("pages").Parse(pageTemplates))
	if err := t.ExecuteTemplate(&b, name, data); err != nil {
		return []byte("<!doctype html><title>error</title>")
	}
	return b.Bytes()
}

// writePage answers with a page that may use its own style and the given script,
// and send forms to this server.
func writePage(w http.ResponseWriter, name, script string, data any) {
	policy := "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'; style-src " + sourceHash(pageStyle)
	if script != "" {
		policy += "; script-src " + sourceHash(script)
	} else {
		policy += "; script-src 'none'"
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", policy)
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(renderPage(name, data))
}

func sourceHash(source string) string {
	sum := sha256.Sum256([]byte(source))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// writeRefresh sends the browser on by a page: what it brings along can be longer
// than a header may be.
func writeRefresh(w http.ResponseWriter, target string) { writePage(w, "refresh", "", target) }

func writeIDP(w http.ResponseWriter, connector *Connector, carried signIn, people []Person) {
	writePage(w, "idp", "", struct {
		Style     template.CSS
		Connector string
		Action    string
		Carried   signIn
		People    []Person
	}{pageStyle, connector.Display, "signin", carried, people})
}

// samlMessage fills the forms of SAML.
type samlMessage struct {
	Action, Message, State string
	Script                 template.JS
}

func writeSAMLResponse(w http.ResponseWriter, action, message, state string) {
	writePage(w, "saml", sendScript, samlMessage{action, message, state, sendScript})
}

// postForm is the form that a SAML login begins with.
func postForm(action, message, state string) []byte {
	return renderPage("postform", samlMessage{action, message, state, samlScript})
}

// pages are those that a browser is sent to when a login ends: a title and a text.
func pages() map[string][2]string {
	return map[string][2]string{
		"/web/login":                    {"No web UI", "Log in with a command-line client: this dev cluster has no web UI."},
		"/web/msg/info/login_success":   {"Login successful", "You can close this window and go on in the terminal."},
		"/web/msg/info/login_terminal":  {"Almost there", "Go on in the terminal."},
		"/web/msg/info/login_close":     {"Go on in the terminal", "You can close this tab."},
		"/web/msg/error/login":          {"Login failed", "The terminal says why."},
		"/web/msg/error/login/callback": {"Login failed", "The identity provider's answer belongs to no login that is under way."},
		"/web/msg/error/login/auth":     {"Login failed", "No role matches."},
		"/web/msg/error/slo":            {"Logout failed", "The identity provider was not told."},
	}
}

func pageHandler(path string, text [2]string) http.Handler {
	class := "good"
	if strings.Contains(path, "/error/") {
		class = "bad"
	}
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		securityHeaders(w.Header())
		writePage(w, "message", "", struct {
			Title, Text, Class string
			Style              template.CSS
		}{text[0], text[1], class, pageStyle})
	})
}
