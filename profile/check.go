package profile

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed-087d674e/tsh/keystore"
)

// maxDuration bounds what a profile may say: more is a mistake.
const maxDuration = 24 * time.Hour

// check makes sure that what the file names can become a path, that addresses are
// some and that durations are within a day.
func (p *Profile) check() error {
	for _, f := range p.fields() {
		var err error
		switch v := f.value.(type) {
		case *time.Duration:
			if *v < 0 || *v > maxDuration {
				err = fmt.Errorf("is %v, not between 0 and %v", *v, maxDuration)
			}
		case *string:
			if strings.HasSuffix(f.key, "_addr") {
				err = checkAddr(f.key, *v)
			}
		}
		if err != nil {
			return fmt.Errorf("%s %w", f.key, err)
		}
	}
	return p.checkNames()
}

// checkNames makes sure that what the file names can become a path.
func (p *Profile) checkNames() error {
	for _, n := range [][2]string{{"proxy", p.Host()}, {"user", p.User}, {"cluster", p.Cluster}} {
		// Without cluster the profile's name stands in, which may be an address.
		if n[1] == "" || n[0] == "cluster" && n[1] == p.Name {
			continue
		}
		if err := keystore.CheckName(n[0], n[1]); err != nil {
			return err
		}
	}
	return nil
}

// checkAddr accepts host:port. A web address may lack its port, which other
// clients allow, and a relay may be none at all.
func checkAddr(key, addr string) error {
	if addr == "" || addr == "none" && key == "relay_addr" {
		return nil
	}
	const shown = 64
	short := addr
	if len(short) > shown {
		short = short[:shown] + "..."
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil && key == "web_proxy_addr" {
		host, port, err = hostOf(addr), "443", nil
	}
	if err != nil {
		return fmt.Errorf("is %q, not host:port", short)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("is %q, whose port is none", short)
	}
	if host != "" && !strings.ContainsFunc(host, func(r rune) bool { return !isHostRune(r) }) {
		return nil
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.Zone() == "" {
		return nil
	}
	return fmt.Errorf("is %q, whose host is none", short)
}

func isHostRune(r rune) bool {
	return r < 0x80 && (isDigit(byte(r)) || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || strings.ContainsRune(".-_", r))
}

// checkEncoded makes sure that data, made from p, is read as p again. What is
// written otherwise would be found out when it is too late.
func (p *Profile) checkEncoded(data []byte) error {
	back, err := decode(p.Name, data)
	if err != nil {
		return fmt.Errorf("profile %s could not be read back: %w", p.Name, err)
	}
	want := *p
	want.fillDefaults()
	got := back.fields()
	for i, f := range want.fields() {
		if !f.equal(got[i]) {
			return fmt.Errorf("profile %s could not be read back: %s would change", p.Name, f.key)
		}
	}
	return nil
}

// equal compares the value with that of the same field of another profile.
func (f field) equal(other field) bool {
	switch v := f.value.(type) {
	case *string:
		return *v == *other.value.(*string)
	case *bool:
		return *v == *other.value.(*bool)
	case *time.Duration:
		return *v == *other.value.(*time.Duration)
	case *[]string:
		return slices.Equal(*v, *other.value.(*[]string))
	}
	return false
}
