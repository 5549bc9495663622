package archtest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// part is what a directory is there for; it decides what may import it.
type part int

const (
	client   part = iota // goes into tsh or into programs that use the SDK
	program              // tsh itself
	server               // the dev cluster: shares no code with the client
	tool                 // tests, benchmarks, the demo: goes into nothing that is installed
	examples             // programs as users of the module write them
)

// room is a directory with everything below it that is not a room itself.
type room struct {
	part    part
	floor   int      // of the client, for the reader; imports go down
	imports []string // rooms it may import, besides itself
}

// rooms is the design of the module. Every client room may import internal/text.
func rooms() map[string]room {
	const text, durable, rpc, wire = "internal/text", "internal/durable", "internal/rpc", "internal/wire"
	const keyring, sshagent, doctor, fido2 = "internal/keyring", "internal/sshagent", "internal/doctor", "internal/fido2"
	const roots, tshconfig, sshconfig = "internal/roots", "internal/tshconfig", "internal/sshconfig"
	const devcluster, netsim, testenv = "internal/devcluster", "internal/netsim", "internal/testenv"
	const release, yamlout = "internal/release", "internal/yamlout"
	return map[string]room{
		text:          {client, 0, nil},
		roots:         {client, 0, nil},
		yamlout:       {client, 0, nil},
		tshconfig:     {client, 0, []string{text}},
		sshconfig:     {client, 0, []string{text}},
		durable:       {client, 0, []string{text}},
		rpc:           {client, 0, []string{text}},
		wire:          {client, 0, []string{text}},
		keyring:       {client, 0, []string{text}},
		"internal/qr": {client, 0, nil},
		sshagent:      {client, 0, []string{text}},
		"sshclient":   {client, 0, []string{text}},
		"keystore":    {client, 0, []string{durable, keyring, sshagent, text}},
		"profile":     {client, 1, []string{"keystore", durable, keyring, sshagent, yamlout, text}},
		"proxy":       {client, 1, []string{rpc, wire, roots, text}},
		"credentials": {client, 2, []string{"profile", "keystore", text}},
		"login":       {client, 3, []string{"proxy", "keystore", text}},
		"api":         {client, 3, []string{"credentials", "proxy", rpc, wire, text}},
		doctor:        {client, 3, []string{"profile", "proxy", "keystore", durable, keyring, sshagent, text}},
		fido2:         {client, 4, []string{"login", text}},
		"cmd/tsh": {program, 4, []string{
			"login", "api", "credentials", "profile", "proxy", "keystore", "sshclient", durable, keyring, sshagent, doctor, fido2, roots, tshconfig, sshconfig, yamlout, "internal/qr", text,
		}},

		devcluster:       {server, 0, nil},
		"cmd/devcluster": {server, 1, []string{devcluster}},

		testenv:             {tool, 0, nil},
		netsim:              {tool, 0, nil},
		"internal/archtest": {tool, 0, nil},
		"internal/testrun":  {tool, 0, nil},
		"internal/vuln":     {tool, 0, nil},
		release:             {tool, 0, nil},
		"internal/build":    {tool, 1, []string{release}},
		"internal/bench":    {tool, 1, []string{devcluster, netsim, testenv, release}},
		"internal/demo":     {tool, 1, []string{devcluster, netsim, testenv, release}},
		"internal/soak":     {tool, 1, []string{devcluster, release}},

		// Tests alone: what a real browser, what other servers and what other clients take part in.
		"internal/browsertest": {tool, 1, []string{devcluster, testenv}},
		"internal/networktest": {tool, 1, []string{devcluster, testenv}},
		"internal/friendstest": {tool, 1, []string{devcluster, testenv, release}},
		"internal/sdktest":     {tool, 1, []string{devcluster, testenv}},

		"examples": {examples, 0, []string{"credentials", "api", "profile", "proxy", "keystore", "sshclient", "login"}},
	}
}

// roomOf finds the room that a directory belongs to.
func roomOf(table map[string]room, dir string) (name string, ok bool) {
	for name = dir; ; name = name[:strings.LastIndexByte(name, '/')] {
		if _, ok = table[name]; ok {
			return name, true
		}
		if !strings.Contains(name, "/") {
			return "", false
		}
	}
}

// checkFloors reports every import of an own package that the table does not allow.
func checkFloors(m *module, table map[string]room) (findings []string) {
	for _, dir := range m.sortedDirs() {
		from, ok := roomOf(table, dir)
		if !ok {
			findings = append(findings, fmt.Sprintf("%s has no place in the table of floors", dir))
			continue
		}
		for _, imported := range m.packages[dir].imports() {
			to, own := m.own(imported)
			if !own {
				continue
			}
			if to, ok = roomOf(table, to); !ok || to != from && !slices.Contains(table[from].imports, to) {
				findings = append(findings, fmt.Sprintf("%s imports %s", dir, imported))
			}
		}
	}
	return findings
}

// checkTable holds the table itself to its rules: imports of the client go to a
// lower floor or along the lowest, the dev cluster and the client stay apart,
// and nothing that is installed contains a tool.
func checkTable(table map[string]room) (findings []string) {
	for name, from := range table {
		for _, other := range from.imports {
			to, ok := table[other]
			bad := ""
			switch {
			case !ok:
				bad = "which does not exist"
			case from.part == client && to.part != client, from.part == program && to.part != client:
				bad = "which is not of the client"
			case from.part == server && to.part != server:
				bad = "which is not of the dev cluster"
			case from.part == tool && (to.part == client || to.part == program):
				bad = "which is of the client"
			case from.part == examples && (to.part != client || strings.HasPrefix(other, "internal/")):
				bad = "which users cannot import"
			case from.part == client && to.floor > from.floor, from.part == client && to.floor == from.floor && from.floor > 0:
				bad = "which is not below"
			}
			if bad != "" {
				findings = append(findings, fmt.Sprintf("%s may import %s, %s", name, other, bad))
			}
		}
	}
	slices.Sort(findings)
	return findings
}

func TestFloors(t *testing.T) {
	for _, f := range checkTable(rooms()) {
		t.Errorf("the table of floors is wrong: %s", f)
	}
	m := thisModule(t)
	for _, f := range checkFloors(m, rooms()) {
		t.Errorf("not allowed: %s", f)
	}
	for name := range rooms() {
		if !slices.ContainsFunc(m.sortedDirs(), func(dir string) bool { in, _ := roomOf(rooms(), dir); return in == name }) {
			t.Errorf("the table of floors has %s, the module does not", name)
		}
	}
}

func TestFloorsFindsWhatIsWrong(t *testing.T) {
	m := madeUp(t, map[string]string{
		"keystore/a.go":                  `package keystore; import _ "example.com/m/profile"`,
		"profile/a.go":                   `package profile; import (_ "example.com/m/keystore"; _ "example.com/dep")`,
		"sshclient/a_windows.go":         "//go:build windows\n\npackage sshclient\nimport _ \"example.com/m/internal/netsim\"",
		"sshclient/a_test.go":            `package sshclient; import _ "example.com/m/internal/devcluster"`,
		"cmd/tsh/main.go":                `package main; import (_ "example.com/m/internal/rpc"; _ "example.com/m/api")`,
		"api/a.go":                       `package api; import _ "example.com/m/internal/devcluster/clusterpb"`,
		"internal/devcluster/a.go":       `package devcluster; import (_ "example.com/m/internal/devcluster/clusterpb"; _ "example.com/m/internal/text")`,
		"internal/devcluster/pb/sub.go":  `package pb`,
		"attic/old.go":                   `package attic`,
		"internal/text/testdata/no.go":   `this is not Go`,
		"internal/demo/.hidden/no.go":    `nor is this`,
		"credentials/deep/down/a.go":     `package down; import (_ "example.com/m/profile"; _ "example.com/m")`,
		"internal/devcluster/testing.go": `package devcluster; import _ "example.com/m/internal/netsim"`,
	})
	want := []string{
		"api imports example.com/m/internal/devcluster/clusterpb",
		"attic has no place in the table of floors",
		"cmd/tsh imports example.com/m/internal/rpc",
		"credentials/deep/down imports example.com/m",
		"internal/devcluster imports example.com/m/internal/netsim",
		"internal/devcluster imports example.com/m/internal/text",
		"keystore imports example.com/m/profile",
		"sshclient imports example.com/m/internal/netsim",
	}
	if got := checkFloors(m, rooms()); !slices.Equal(got, want) {
		t.Errorf("found\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	bad := map[string]room{
		"a": {client, 1, []string{"b", "s", "t", "gone"}}, "b": {client, 1, nil}, "s": {server, 0, []string{"a"}},
		"t": {tool, 0, []string{"a"}}, "e": {examples, 0, []string{"internal/x"}}, "internal/x": {client, 0, nil}, "p": {program, 2, []string{"t"}},
	}
	if got := checkTable(bad); len(got) != 8 {
		t.Errorf("found %d in a bad table:\n%s", len(got), strings.Join(got, "\n"))
	}
}
