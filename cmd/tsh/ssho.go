package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// optionReader carries what -o says to where it has an effect.
type optionReader struct {
	o        *sessionOptions
	fs       *pflag.FlagSet
	seen     map[string]bool
	warnings []string
}

// readOptions reads all of -o. Of an option that is given twice the first counts, as with
// OpenSSH; the warnings name what has no effect, each once.
func (o *sessionOptions) readOptions(fs *pflag.FlagSet) (warnings []string, err error) {
	o.link = linkOptions{set: true, interval: 15 * time.Second, misses: 3}
	if len(o.options) == 0 {
		return nil, nil
	}
	r := &optionReader{o: o, fs: fs, seen: make(map[string]bool)}
	table := o.effective()
	for _, option := range o.options {
		name, value := splitOption(option)
		key := strings.ToLower(name)
		target := targetOf(table, key)
		if target == nil {
			if !r.seen[key] && !hasWord(satisfied, key+"="+strings.ToLower(value)) {
				r.warn(name, key)
			}
			r.seen[key] = true
			continue
		}
		if strings.TrimSpace(value) == "" {
			return nil, usagef("-o %s: a value is missing", name)
		}
		repeats := strings.HasSuffix(key, "env") || strings.HasSuffix(key, "forward")
		if r.seen[key] && !repeats {
			continue
		}
		r.seen[key] = true
		if err := r.set(target, value); err != nil {
			return nil, usagef("-o %s=%s: %w", name, value, err)
		}
	}
	return r.warnings, nil
}

// targetOf is what the option of that name sets, nil if it is not in the table.
func targetOf(table []sshOption, name string) any {
	for _, o := range table {
		if o.name == name {
			return o.target
		}
	}
	return nil
}

func hasWord(words, word string) bool { return slices.Contains(strings.Fields(words), word) }

// splitOption splits "key=value" or "key value"; quotes around the value are not part of it.
func splitOption(option string) (name, value string) {
	option = strings.TrimSpace(option)
	i := strings.IndexAny(option, "= \t")
	if i < 0 {
		return option, ""
	}
	name, value = option[:i], strings.TrimSpace(option[i:])
	value = strings.TrimSpace(strings.TrimPrefix(value, "="))
	if n := len(value); n >= 2 && value[0] == '"' && strings.IndexByte(value[1:], '"') == n-2 {
		value = value[1 : n-1]
	}
	return name, value
}

func (r *optionReader) warn(name, key string) {
	if hasWord(withoutEffect, key) {
		r.warnings = append(r.warnings, "-o "+name+" has no effect here")
	} else {
		r.warnings = append(r.warnings, "-o "+name+": OpenSSH has no such option; it is ignored")
	}
}

// withoutEffect are the other options that OpenSSH has or had.
const withoutEffect = `bindaddress bindinterface canonicaldomains canonicalizefallbacklocal canonicalizehostname
canonicalizemaxdots canonicalizepermittedcnames casignaturealgorithms certificatefile challengeresponseauthentication
channeltimeout checkhostip cipher ciphers compression compressionlevel connectionattempts controlmaster
controlpath controlpersist dsaauthentication enableescapecommandline enablesshkeysign fingerprinthash globalknownhostsfile
gssapiauthentication gssapiclientidentity gssapidelegatecredentials gssapikexalgorithms gssapikeyexchange
gssapirenewalforcesrekey gssapiserveridentity gssapitrustdns hashknownhosts host hostbasedacceptedalgorithms
hostbasedauthentication hostbasedkeytypes hostkeyalgorithms hostkeyalias hostname identitiesonly identityagent identityfile
ignoreunknown include ipqos kbdinteractiveauthentication kbdinteractivedevices kexalgorithms knownhostscommand localcommand
logverbose macs match nohostauthenticationforlocalhost numberofpasswordprompts obscurekeystroketiming
passwordauthentication permitlocalcommand permitremoteopen pkcs11provider preferredauthentications protocol proxycommand
proxyusefdpass pubkeyacceptedalgorithms pubkeyacceptedkeytypes pubkeyauthentication refuseconnection rekeylimit
requiredrsasize revokedhostkeys rhostsrsaauthentication rsaauthentication securitykeyprovider skeyauthentication
smartcarddevice streamlocalbindmask streamlocalbindunlink syslogfacility tag tcpkeepalive tunnel tunneldevice
updatehostkeys usekeychain useprivilegedport userknownhostsfile useroaming verifyhostkeydns versionaddendum visualhostkey
warnweakcrypto`

// satisfied are options whose value asks for what is the case anyway, as programs pass
// them that call ssh. There is nothing to warn of.
const satisfied = `canonicalizehostname=no challengeresponseauthentication=no checkhostip=no
compression=no connectionattempts=1 controlmaster=no controlpath=none controlpersist=no enablesshkeysign=no
gssapiauthentication=no gssapidelegatecredentials=no hostbasedauthentication=no identitiesonly=yes
kbdinteractiveauthentication=no localcommand=none nohostauthenticationforlocalhost=no passwordauthentication=no
permitlocalcommand=no preferredauthentications=publickey proxycommand=none pubkeyauthentication=yes protocol=2
tunnel=no updatehostkeys=no useroaming=no verifyhostkeydns=no visualhostkey=no`

// sshOption is an option that does something. Its target is a *bool for yes or no, a
// *time.Duration, a flag that takes the value, one that a yes switches on, or a function.
type sshOption struct {
	name   string // in small letters
	target any
}

type (
	valueFlag  string // a flag's letter
	switchFlag string
	setOption  func(r *optionReader, value string) error
)

func (o *sessionOptions) effective() []sshOption {
	return []sshOption{
		{"addkeystoagent", setOption(addKeys)},
		{"addressfamily", setOption(addressFamily)},
		{"batchmode", &o.batch},
		{"clearallforwardings", &o.clearForwards},
		{"connecttimeout", &o.link.timeout},
		{"dynamicforward", valueFlag("D")},
		{"escapechar", setOption(escapeOption)},
		{"exitonforwardfailure", &o.exitOnForwardFailure},
		{"forkafterauthentication", switchFlag("f")},
		{"forwardagent", setOption(forwardAgentOption)},
		{"forwardx11", &o.x11.on},
		{"forwardx11timeout", setOption(x11Timeout)},
		{"forwardx11trusted", &o.x11.trustedOption},
		{"gatewayports", switchFlag("g")},
		{"localforward", valueFlag("L")},
		{"loglevel", setOption(logLevelOption)},
		{"port", valueFlag("p")},
		{"proxyjump", valueFlag("J")},
		{"remotecommand", setOption(remoteCommandOption)},
		{"remoteforward", valueFlag("R")},
		{"requesttty", setOption(requestTTY)},
		{"sendenv", setOption(sendEnvOption)},
		{"serveralivecountmax", setOption(aliveMax)},
		{"serveraliveinterval", &o.link.interval},
		{"sessiontype", setOption(sessionType)},
		{"setenv", setOption(setEnvOption)},
		{"stdinnull", &o.noStdin},
		{"stricthostkeychecking", setOption(strictHostKeys)},
		{"user", valueFlag("l")},
		{"xauthlocation", setOption(xauthOption)},
	}
}

// set gives an option's value to its target.
func (r *optionReader) set(target any, value string) (err error) {
	switch to := target.(type) {
	case *bool:
		var on bool
		on, err = yesNo(value)
		*to = *to || on // a flag may have been given
	case *time.Duration:
		if value != "none" {
			*to, err = seconds(value)
		}
	case valueFlag:
		err = r.setFlag(string(to), value)
	case switchFlag:
		var on bool
		if on, err = yesNo(value); on {
			err = r.setFlag(string(to), "true")
		}
	case setOption:
		err = to(r, value)
	}
	return err
}

// setFlag gives the value to the flag with a letter, unless that was given itself and
// takes only one. Forwards have a space where the flags have a colon.
func (r *optionReader) setFlag(letter, value string) error {
	f := r.fs.ShorthandLookup(letter)
	if strings.Contains("LRD", letter) {
		value = strings.Join(strings.Fields(value), ":")
	} else if f.Changed {
		return nil
	}
	if err := r.fs.Set(f.Name, value); err != nil {
		return flagError(err)
	}
	return nil
}

// seconds reads a time as OpenSSH writes it: 15, 90s, 1h30m, 2d.
func seconds(s string) (time.Duration, error) {
	const most = 100 * 365 * 24 * 60 * 60
	units := [...]int64{1, 60, 60 * 60, 24 * 60 * 60, 7 * 24 * 60 * 60}
	total := int64(0)
	for s != "" {
		rest := strings.TrimLeft(s, "0123456789")
		n, err := strconv.ParseInt(s[:len(s)-len(rest)], 10, 64)
		unit := 0
		if rest != "" {
			unit, rest = strings.IndexByte("smhdw", rest[0]|0x20), rest[1:]
		}
		if err != nil || unit < 0 || n > most {
			return 0, errors.New("a time is needed, as 15 or 1m30s")
		}
		if total += n * units[unit]; total > most {
			return 0, errors.New("that is too long")
		}
		s = rest
	}
	return time.Duration(total) * time.Second, nil
}

func yesNo(value string) (bool, error) {
	switch strings.ToLower(value) {
	case "yes", "true":
		return true, nil
	case "no", "false":
		return false, nil
	}
	return false, errors.New("yes or no is needed")
}

// oneOf finds value among words, whatever its case.
func oneOf(value string, words ...string) (int, error) {
	if i := slices.Index(words, strings.ToLower(value)); i >= 0 {
		return i, nil
	}
	return 0, fmt.Errorf("one of %s is needed", strings.Join(words, ", "))
}

// wildcard reports whether name fits pattern, in which * and ? stand for others.
func wildcard(pattern, name string) bool {
	for ; pattern != ""; pattern, name = pattern[1:], name[1:] {
		if pattern[0] == '*' {
			for i := range len(name) + 1 {
				if wildcard(pattern[1:], name[i:]) {
					return true
				}
			}
			return false
		}
		if name == "" || pattern[0] != '?' && pattern[0] != name[0] {
			return false
		}
	}
	return name == ""
}
