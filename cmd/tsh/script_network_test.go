package main

import (
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/seed-087d674e/tsh/internal/testenv"
)

// condition knows [ipv6], this machine has it on loopback, and [all], the second ring of
// tests runs.
func condition(name string) (bool, error) {
	switch name {
	case "ipv6":
		return hasIPv6()
	case "all":
		return testenv.All(), nil
	}
	return false, fmt.Errorf("unknown condition %q", name)
}

func hasIPv6() (bool, error) {
	l, err := net.Listen("tcp", "[::1]:0")
	if err == nil {
		err = l.Close()
	}
	return err == nil, nil
}

// portal starts a web server that is no proxy: it answers everything with a page
// (portal page), or sends people elsewhere (portal redirect URL). Its address
// becomes $PORTAL; its certificate is trusted from now on.
func (w *world) portal(ts *testscript.TestScript, _ bool, args []string) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if args[0] == "redirect" {
			http.Redirect(rw, r, args[1], http.StatusFound)
			return
		}
		rw.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(rw, "<!doctype html><title>Hotel WiFi</title><form action=/pay>\x1b[31mPassword for alice:</form>")
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{NextProtos: []string{"http/1.1"}}
	s.StartTLS()
	w.env.Defer(s.Close)
	ts.Setenv("PORTAL", s.Listener.Addr().String())
	path := ts.MkAbs("portal.pem")
	ts.Check(os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600))
	ts.Setenv("SSL_CERT_FILE", path)
}
