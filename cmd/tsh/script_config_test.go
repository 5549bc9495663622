package main

import (
	"crypto/tls"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"

	"github.com/rogpeppe/go-internal/testscript"
)

// gate starts a web server before the newest cluster that lets those through who know
// a header: gate NAME VALUE. It takes ALPN out of TLS. Its address becomes $GATE; its
// certificate is in gate.pem.
func (w *world) gate(ts *testscript.TestScript, _ bool, args []string) {
	through := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = "https", w.newest().Addr()
			r.Out.Host = r.In.Host
		},
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}}},
		ErrorLog:  log.New(io.Discard, "", 0),
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get(args[0]) != args[1] {
			http.Error(rw, "the gate is closed", http.StatusForbidden)
			return
		}
		through.ServeHTTP(rw, r)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{NextProtos: []string{"http/1.1"}}
	s.StartTLS()
	w.env.Defer(s.Close)
	ts.Setenv("GATE", s.Listener.Addr().String())
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	ts.Check(os.WriteFile(ts.MkAbs("gate.pem"), certificate, 0o600))
}
