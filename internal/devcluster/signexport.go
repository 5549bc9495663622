package devcluster

import (
	"fmt"
	"net/http"
	"net/url"
)

// ExportAuthority returns an authority's public half, as administrators hand it on: "user"
// a line for sshd's TrustedUserCAKeys, "host" one for known_hosts, "tls-user" and "tls-host"
// a certificate, PEM.
func (a *Admin) ExportAuthority(kind string) (text string, err error) {
	if a.local == nil {
		return text, a.call(http.MethodGet, "/authorities/"+url.PathEscape(kind), nil, &text)
	}
	c, err := a.local.atRest()
	if err != nil {
		return "", err
	}
	return c.exportAuthority(kind)
}

func (c *Cluster) exportAuthority(kind string) (string, error) {
	switch kind {
	case "user":
		return string(c.auths.user.authorizedKey()), nil
	case "host":
		return authorityLine("", c.settings.Name, c.auths.host.authorizedKey()), nil
	case "tls-user":
		return string(c.auths.user.certPEM()), nil
	case "tls-host":
		return string(c.auths.host.certPEM()), nil
	}
	return "", fmt.Errorf("authority %q is not one of user, host, tls-user, tls-host", kind)
}
