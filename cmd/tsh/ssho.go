package main

import (
	"errors"
	"fmt"
	"path"
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
	name     string // of the option at hand, as typed
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
	table := effectiveOptions()
	for _, option := range o.options {
		name, value := splitOption(option)
		key := strings.ToLower(name)
		set, effective := table[key]
		if !effective {
			if !r.seen[key] && !slices.Contains(strings.Fields(satisfied), key+"="+strings.ToLower(value)) {
				r.warn(name, key)
			}
			r.seen[key] = true
			continue
		}
		if value == "" {
			return nil, usagef("-o %s: a value is missing", name)
		}
		repeats := strings.HasSuffix(key, "env") || strings.HasSuffix(key, "forward")
		if r.seen[key] && !repeats {
			continue
		}
		r.seen[key], r.name = true, name
		if err := set(r, value); err != nil {
			return nil, usagef("-o %s=%s: %w", name, value, err)
		}
	}
	return r.warnings, nil
}

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
	if slices.Contains(strings.Fields(withoutEffect), key) {
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

type setOption func(r *optionReader, value string) error

// effectiveOptions are the options that do something, by name in small letters.
func effectiveOptions() map[string]setOption {
	return map[string]setOption{
		"addkeystoagent":          addKeys,
		"addressfamily":           addressFamily,
		"batchmode":               toBool(func(o *sessionOptions) *bool { return &o.batch }),
		"clearallforwardings":     toBool(func(o *sessionOptions) *bool { return &o.clearForwards }),
		"connecttimeout":          toTime(func(o *sessionOptions) *time.Duration { return &o.link.timeout }, "none"),
		"dynamicforward":          toFlag("D"),
		"escapechar":              escapeOption,
		"exitonforwardfailure":    toBool(func(o *sessionOptions) *bool { return &o.exitOnForwardFailure }),
		"forkafterauthentication": toSwitch("f"),
		"forwardagent":            forwardAgentOption,
		"forwardx11":              toBool(func(o *sessionOptions) *bool { return &o.x11.on }),
		"forwardx11timeout":       toTime(func(o *sessionOptions) *time.Duration { return &o.x11.timeout }, ""),
		"forwardx11trusted":       toBool(func(o *sessionOptions) *bool { return &o.x11.trustedOption }),
		"gatewayports":            toSwitch("g"),
		"localforward":            toFlag("L"),
		"loglevel":                logLevelOption,
		"port":                    toFlag("p"),
		"proxyjump":               toFlag("J"),
		"remotecommand":           remoteCommandOption,
		"remoteforward":           toFlag("R"),
		"requesttty":              requestTTY,
		"sendenv":                 sendEnvOption,
		"serveralivecountmax":     aliveMax,
		"serveraliveinterval":     toTime(func(o *sessionOptions) *time.Duration { return &o.link.interval }, ""),
		"sessiontype":             sessionType,
		"setenv":                  setEnvOption,
		"stdinnull":               toSwitch("n"),
		"stricthostkeychecking":   strictHostKeys,
		"user":                    toFlag("l"),
		"xauthlocation":           func(r *optionReader, v string) error { r.o.x11.xauth = v; return nil },
	}
}

// toFlag gives the value to the flag with a letter, which must not have been given
// itself, unless it takes many. Forwards have a space where the flags have a colon.
func toFlag(letter string) setOption {
	return func(r *optionReader, value string) error {
		f := r.fs.ShorthandLookup(letter)
		if f == nil {
			r.warn(r.name, strings.ToLower(r.name))
			return nil
		}
		_, many := f.Value.(pflag.SliceValue)
		if f.Changed && !many {
			return nil
		}
		if many {
			value = strings.Join(strings.Fields(value), ":")
		}
		if err := r.fs.Set(f.Name, value); err != nil {
			return flagError(err)
		}
		return nil
	}
}

// toSwitch sets the flag with a letter for yes.
func toSwitch(letter string) setOption {
	set := toFlag(letter)
	return func(r *optionReader, value string) error {
		on, err := yesNo(value)
		if err != nil || !on {
			return err
		}
		return set(r, "true")
	}
}

func toBool(field func(*sessionOptions) *bool) setOption {
	return func(r *optionReader, value string) (err error) {
		*field(r.o), err = yesNo(value)
		return err
	}
}

// toTime reads a time; the word unset leaves what there is.
func toTime(field func(*sessionOptions) *time.Duration, unset string) setOption {
	return func(r *optionReader, value string) error {
		if value == unset {
			return nil
		}
		d, err := seconds(value)
		if err == nil {
			*field(r.o) = d
		}
		return err
	}
}

// seconds reads a time as OpenSSH writes it: 15, 90s, 1h30m, 2d.
func seconds(s string) (time.Duration, error) {
	const most = 100 * 365 * 24 * time.Hour
	units := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour}
	var total time.Duration
	for s != "" {
		digits := len(s) - len(strings.TrimLeft(s, "0123456789"))
		n, err := strconv.ParseInt(s[:digits], 10, 32)
		if err != nil {
			return 0, errors.New("a time is needed, as 15 or 1m30s")
		}
		unit := time.Second
		if s = s[digits:]; s != "" {
			if unit = units[s[0]|0x20]; unit == 0 {
				return 0, errors.New("a time is needed, as 15 or 1m30s")
			}
			s = s[1:]
		}
		if total += time.Duration(n) * unit; total > most || time.Duration(n) > most/unit {
			return 0, errors.New("that is too long")
		}
	}
	return total, nil
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
	fits, err := path.Match(pattern, name)
	return fits && err == nil
}
