package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// addKeys is --add-keys-to-agent in OpenSSH's words, as far as there are words for it.
func addKeys(r *optionReader, value string) error {
	mode := strings.ToLower(strings.Fields(value)[0])
	if mode != agentYes && mode != agentNo {
		if _, err := seconds(mode); err != nil {
			if _, err := oneOf(mode, "yes", "no", "ask", "confirm"); err != nil {
				return err
			}
		}
		return nil // keys of logins end with their certificates, and are not asked about
	}
	if f := r.fs.Lookup("add-keys-to-agent"); f == nil || f.Changed {
		return nil
	}
	return r.fs.Set("add-keys-to-agent", mode)
}

func addressFamily(r *optionReader, value string) error {
	family, err := oneOf(value, "any", "inet", "inet6")
	if err == nil && !r.o.ipv4 && !r.o.ipv6 {
		r.o.ipv4, r.o.ipv6 = family == 1, family == 2
	}
	return err
}

func escapeOption(r *optionReader, value string) error {
	if _, err := escapeChar(value); err != nil {
		return errors.New("one character, ^ and a letter, or none is needed")
	}
	if !r.fs.Changed("escape-char") {
		r.o.escape = value
	}
	return nil
}

// forwardAgentOption takes what OpenSSH takes, and "local", for an agent with the key of
// this login alone.
func forwardAgentOption(r *optionReader, value string) error {
	if on, err := yesNo(value); err == nil {
		value = agentNo
		if on {
			value = agentYes
		}
	} else if strings.EqualFold(value, agentLocal) {
		value = agentLocal
	} else if !strings.ContainsAny(value, `/\$`) {
		return errors.New("one of yes, no, local, the path of a socket or $VARIABLE is needed")
	}
	r.o.agent = value
	return nil
}

func logLevelOption(r *optionReader, value string) error {
	const fatal, info, verbose = 1, 3, 4
	level, err := oneOf(value, "quiet", "fatal", "error", "info", "verbose", "debug", "debug1", "debug2", "debug3")
	switch {
	case err != nil:
		return err
	case level < fatal:
		r.o.logLevel = hushAll
	case level < info:
		r.o.logLevel = hushNotes
	case level > verbose:
		r.o.verbose++
	}
	return nil
}

func remoteCommandOption(r *optionReader, value string) error {
	if value != "none" {
		r.o.remoteCommand = value
	}
	return nil
}

func requestTTY(r *optionReader, value string) error {
	const yes, force, no = 1, 2, 3
	how, err := oneOf(value, "auto", "yes", "force", "no")
	if err != nil || r.o.tty > 0 || r.o.noTTY {
		return err
	}
	switch how {
	case yes, force:
		r.o.tty = tally(how)
	case no:
		r.o.noTTY = true
	}
	return nil
}

// sendEnvOption gathers patterns of names; one with a minus takes patterns away again.
func sendEnvOption(r *optionReader, value string) error {
	const maxStars = 4 // each multiplies the work
	for _, pattern := range strings.Fields(value) {
		name, away := strings.CutPrefix(pattern, "-")
		if name == "" || strings.ContainsAny(name, "=[]\\") || strings.Count(name, "*") > maxStars {
			return errors.New("names of variables are needed, in which * and ? stand for others")
		}
		if away {
			r.o.sendEnv = slices.DeleteFunc(r.o.sendEnv, func(s string) bool { return wildcard(name, s) })
		} else {
			r.o.sendEnv = append(r.o.sendEnv, name)
		}
	}
	return nil
}

func aliveMax(r *optionReader, value string) (err error) {
	if r.o.link.misses, err = strconv.Atoi(value); err != nil || r.o.link.misses < 0 {
		return errors.New("a number is needed")
	}
	return nil
}

func sessionType(r *optionReader, value string) error {
	const none, subsystem = 1, 2
	kind, err := oneOf(value, "default", "none", "subsystem")
	switch {
	case err != nil:
		return err
	case kind == none:
		return r.setFlag("N", "true")
	case kind == subsystem:
		r.o.subsystem = true
	}
	return nil
}

// setEnvOption reads NAME=VALUE pairs, of which the first of a name counts.
func setEnvOption(r *optionReader, value string) error {
	pairs, err := splitWords(value)
	if err != nil {
		return err
	}
	for _, pair := range pairs {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || name == "" {
			return errors.New("NAME=VALUE is needed")
		}
		if r.o.setEnv == nil {
			r.o.setEnv = make(map[string]string)
		}
		if _, ok := r.o.setEnv[name]; !ok {
			r.o.setEnv[name] = value
		}
	}
	return nil
}

// strictHostKeys accepts only what is the case: a server proves who it is with a
// certificate of the cluster, and there is nobody to ask about one that cannot.
func strictHostKeys(_ *optionReader, value string) error {
	switch strings.ToLower(value) {
	case "yes", "true", "ask":
		return nil
	case "no", "false", "off", "accept-new":
		return errors.New("servers are always checked: they have certificates of the cluster, so there is nothing to learn or to skip")
	}
	return errors.New("yes is needed")
}

// splitWords splits at spaces outside of quotes; a backslash keeps the next character.
func splitWords(s string) (words []string, err error) {
	var word []byte
	var quote byte
	inside := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && i+1 < len(s) && strings.IndexByte(`\"' `, s[i+1]) >= 0:
			i++
			word, inside = append(word, s[i]), true
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && strings.IndexByte(`"'`, c) >= 0:
			quote, inside = c, true
		case quote == 0 && strings.IndexByte(" \t", c) >= 0:
			if inside {
				words = append(words, string(word))
			}
			word, inside = nil, false
		default:
			word, inside = append(word, c), true
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("a closing %c is missing", quote)
	}
	if inside {
		words = append(words, string(word))
	}
	return words, nil
}

func xauthOption(r *optionReader, value string) error {
	r.o.x11.xauth = value
	return nil
}

func x11Timeout(r *optionReader, value string) error {
	d, err := seconds(value)
	if err == nil && !r.fs.Changed("x11-untrusted-timeout") {
		r.o.x11.timeout = d
	}
	return err
}
