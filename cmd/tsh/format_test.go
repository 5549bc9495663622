package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// case T02: machine output carries the exact value, and nothing that acts on
// the terminal of those who look at it.
func TestMachineOutputIsExactAndHarmless(t *testing.T) {
	value := map[string]string{
		"csi": "\u009b31m", "next line": "a\u0085b", "delete": "a\x7fb", "escape": "\x1b]0;x\a", "bidi": "a\u202eb", "noncharacter": "\ufffe",
		"tag": "\U000e0041", "lines": "a\nb\n", "wide": "日本", "html": "<&>", "boolean": "yes", "number": "1e3", "null": "null", "empty": "",
		"time": "2026-11-21", "space": " a ", "quote": `"'\`, "date key": "~", "colon": "a: b", strings.Repeat("long ", 300): "x",
	}
	var asJSON, asYAML bytes.Buffer
	if err := writeJSON(&asJSON, value); err != nil {
		t.Fatal(err)
	}
	if err := writeYAML(&asYAML, value); err != nil {
		t.Fatal(err)
	}
	for _, output := range []string{asJSON.String(), asYAML.String()} {
		if i := strings.IndexFunc(output, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }); i >= 0 {
			t.Errorf("the output holds %q", output[i:min(i+8, len(output))])
		}
	}
	var fromJSON, fromYAML map[string]string
	if err := json.Unmarshal(asJSON.Bytes(), &fromJSON); err != nil || !maps.Equal(fromJSON, value) {
		t.Errorf("JSON: %v\n%s", err, asJSON.String())
	}
	if err := yaml.Unmarshal(asYAML.Bytes(), &fromYAML); err != nil || !maps.Equal(fromYAML, value) {
		t.Errorf("YAML: %v\n%s", err, asYAML.String())
	}
}

func TestYAMLKeepsTypesAndOrder(t *testing.T) {
	var b bytes.Buffer
	err := writeYAML(&b, struct {
		Z string         `json:"z"`
		A []int          `json:"a"`
		B bool           `json:"b"`
		N *int           `json:"n"`
		E []string       `json:"e"`
		F float64        `json:"f"`
		M map[string]any `json:"m"`
	}{Z: "x", A: []int{1, 2}, E: []string{}, F: 1.5, M: map[string]any{"k": []any{}}})
	want := "z: x\na:\n  - 1\n  - 2\nb: false\nn: null\ne: []\nf: 1.5\nm:\n  k: []\n"
	if err != nil || b.String() != want {
		t.Errorf("%v\n%s\nwant\n%s", err, b.String(), want)
	}
}

// A name without end stretches no other row, and costs no more than itself.
func TestTableIsBounded(t *testing.T) {
	table := table{titles: []string{"Name", "Labels"}}
	table.add(strings.Repeat("x", 1<<20), "k=v")
	for range 200 {
		table.add("short", "k=v")
	}
	var b bytes.Buffer
	if err := table.write(&b); err != nil {
		t.Fatal(err)
	}
	if limit := 300 * (maxColumn + 20); b.Len() > limit {
		t.Errorf("%d bytes, want at most %d", b.Len(), limit)
	}
}

// Columns that are worth least are left out where there is no room, one by one.
func TestTableLeavesColumnsOut(t *testing.T) {
	for _, tt := range []struct {
		width int
		want  string
	}{
		{0, "ID       Since Why   State  \n"},
		{40, "ID       Since Why   State  \n"},
		{22, "ID       Why   State  \n"},
		{20, "ID       State  \n"},
		{9, "ID    State\n"},
	} {
		table := table{titles: []string{"ID", "Since", "Why", "State"}, width: tt.width}
		table.add("12345678", "now", "so", "pending")
		some := table.leaveOut("Since", "Why")
		var b bytes.Buffer
		if err := table.write(&b); err != nil {
			t.Fatal(err)
		}
		line, _, _ := strings.Cut(b.String(), "\n")
		if strings.TrimSpace(line) != strings.TrimSpace(tt.want) || some != (tt.width > 0 && tt.width < 40) {
			t.Errorf("width %d: %q, %t", tt.width, line, some)
		}
	}
}

// The last column is cut to what is left of the terminal, by columns and not
// by bytes (case T03).
func TestTableFitsTheTerminal(t *testing.T) {
	table := table{titles: []string{"Node Name", "Labels"}, shrink: 1, width: 24}
	table.add("web-1", "env=prod,team=日本日本日本")
	var b bytes.Buffer
	if err := table.write(&b); err != nil {
		t.Fatal(err)
	}
	want := "Node Name Labels\n--------- --------------\nweb-1     env=prod,te...\n\n"
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}
