package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/html"
)

// fakeBrowser is a browser with a person in front of it: it follows links,
// redirects and refreshes, and sends the forms it finds, as PERSON. "nobody"
// presses Cancel. With BROWSER_STOPS it does not open the last page. What it was shown is in the file that BROWSER_LOG names.
func fakeBrowser() {
	link := os.Args[len(os.Args)-1]
	fmt.Println("fake browser: out")
	switch os.Getenv("PERSON") {
	case "crash":
		fmt.Fprintln(os.Stderr, "fake browser: cannot start")
		os.Exit(3)
	case "hang":
		_ = os.WriteFile(os.Getenv("BROWSER_LOG"), []byte(strconv.Itoa(os.Getpid())), 0o600)
		<-time.After(time.Minute)
		return
	}
	seen, err := surf(link, os.Getenv("PERSON"), os.Getenv("SSL_CERT_FILE"))
	if err != nil {
		seen = append(seen, "error: "+err.Error())
	}
	if name := os.Getenv("BROWSER_LOG"); name != "" {
		_ = os.WriteFile(name, []byte(strings.Join(seen, "\n")+"\n"), 0o600)
	}
}

// surf goes wherever a login leads and returns the titles of the pages.
func surf(link, person, caFile string) (seen []string, err error) {
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Jar: jar, Timeout: 20 * time.Second}
	if os.Getenv("BROWSER_STOPS") != "" {
		client.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
			if strings.HasPrefix(r.URL.Path, "/web/msg/") {
				return http.ErrUseLastResponse
			}
			return nil
		}
	}
	next := func() (*http.Response, error) { return client.Get(link) }
	for range 12 {
		answer, err := next()
		if err != nil {
			return seen, err
		}
		body, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
		_ = answer.Body.Close()
		if err != nil {
			return seen, err
		}
		p, err := readPage(string(body))
		if err != nil {
			return seen, err
		}
		seen = append(seen, fmt.Sprintf("%d %s %s", answer.StatusCode, answer.Request.URL.Path, p.title))
		var where *url.URL
		switch {
		case p.refresh != "":
			where, err = answer.Request.URL.Parse(p.refresh)
			next = func() (*http.Response, error) { return client.Get(where.String()) }
		case p.action != "":
			where, err = answer.Request.URL.Parse(p.action)
			form := p.fill(person)
			next = func() (*http.Response, error) { return client.PostForm(where.String(), form) }
		default:
			return seen, nil
		}
		if err != nil {
			return seen, err
		}
	}
	return seen, errors.New("it leads on and on")
}

// page is what matters of a page.
type page struct {
	title, refresh, action string
	form                   url.Values
}

// fill answers who the person is.
func (p *page) fill(person string) url.Values {
	if p.form.Has("person") {
		p.form.Set("person", person)
		p.form.Set("action", "sign in")
		if person == "nobody" {
			p.form.Set("action", "cancel")
		}
	}
	return p.form
}

func readPage(body string) (*page, error) {
	root, err := html.Parse(strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	p := &page{form: url.Values{}}
	for n := range root.Descendants() {
		attr := map[string]string{}
		for _, a := range n.Attr {
			attr[a.Key] = a.Val
		}
		switch {
		case n.Data == "title" && n.FirstChild != nil:
			p.title = n.FirstChild.Data
		case n.Data == "meta" && attr["http-equiv"] == "refresh":
			_, target, _ := strings.Cut(attr["content"], "URL='")
			p.refresh = strings.TrimSuffix(target, "'")
		case n.Data == "form":
			p.action = attr["action"]
		case n.Data == "input" && attr["name"] != "":
			p.form.Set(attr["name"], attr["value"])
		}
	}
	return p, nil
}
