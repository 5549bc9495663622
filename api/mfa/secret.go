package mfa

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Secret is what one-time codes are made from (RFC 6238). It prints as
// REDACTED; Base32 and URL are meant for the person's eyes alone.
type Secret struct {
	Base32    string // upper case, without padding
	Issuer    string // the cluster's name
	Account   string // user@proxy
	Algorithm string // SHA1, SHA256, SHA512, MD5
	Digits    int
	Period    int // seconds
	ID        string
}

func (Secret) String() string       { return redacted }
func (Secret) GoString() string     { return redacted }
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// URL is the secret as authenticator apps read it from a QR code.
func (s *Secret) URL() string {
	label := s.Account
	if s.Issuer != "" {
		label = s.Issuer + ":" + s.Account
	}
	u := url.URL{
		Scheme: "otpauth", Host: "totp", Path: "/" + label,
		// Some apps take "+" for itself, so a space has to be %20.
		RawQuery: strings.ReplaceAll(url.Values{
			"secret":    {s.Base32},
			"issuer":    {s.Issuer},
			"algorithm": {s.Algorithm},
			"digits":    {strconv.Itoa(s.Digits)},
			"period":    {strconv.Itoa(s.Period)},
		}.Encode(), "+", "%20"),
	}
	return u.String()
}

// Check refuses what no authenticator app could use.
func (s *Secret) Check() error {
	const (
		maxSecret = 256
		maxName   = 256
		maxPeriod = 3600
	)
	switch {
	case s.Base32 == "" || len(s.Base32) > maxSecret || strings.Trim(s.Base32, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") != "":
		return errors.New("the cluster sent a secret for one-time codes that is none")
	case !slices.Contains([]string{"SHA1", "SHA256", "SHA512", "MD5"}, s.Algorithm):
		return fmt.Errorf("the cluster asks for one-time codes by the unknown algorithm %q", s.Algorithm)
	case s.Digits < 6 || s.Digits > 10:
		return fmt.Errorf("the cluster asks for one-time codes of %d digits", s.Digits)
	case s.Period < 1 || s.Period > maxPeriod:
		return fmt.Errorf("the cluster asks for one-time codes every %d seconds", s.Period)
	case s.Account == "" || len(s.Account) > maxName || len(s.Issuer) > maxName:
		return errors.New("the cluster sent no usable name for the account of the one-time codes")
	}
	return nil
}
