package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/seed-087d674e/tsh/api"
)

func namedNode(name string) *api.Node {
	n := &api.Node{Kind: "node", Version: "v2"}
	n.Metadata.Name, n.Metadata.Labels = "id-of-"+name, map[string]string{"env": "<dev>", "a/b": "c"}
	n.Spec.Hostname, n.Spec.Addr = name, "10.0.0.1:3022"
	return n
}

// printed is what a printer makes of a head and what comes later.
func printed(t *testing.T, p *nodePrinter, head, later []*api.Node) string {
	t.Helper()
	var out bytes.Buffer
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	p.app = &app{out: &dataWriter{w: &out}, io: streams{out: null}, ui: &tui{err: io.Discard}}
	if err := p.begin(placed(head)); err != nil {
		t.Fatal(err)
	}
	for _, n := range later {
		if err := p.add(placedNode{node: n}); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.end(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// case T02: in JSON and YAML a list that is printed as it comes is, byte by byte, the list that is
// printed at once.
func TestDataStream(t *testing.T) {
	for n := range 4 {
		nodes := []*api.Node{}
		for i := range n {
			nodes = append(nodes, namedNode(fmt.Sprintf("n\u202e%d", i)))
		}
		for _, format := range []string{formatJSON, formatYAML} {
			var want strings.Builder
			if err := writeData(&want, format, nodes); err != nil {
				t.Fatal(err)
			}
			if got := printed(t, &nodePrinter{format: format}, nodes[:n/2], nodes[n/2:]); got != want.String() {
				t.Errorf("%d as %s:\n%s\nwant\n%s", n, format, got, want.String())
			}
		}
	}
	if got := printed(t, &nodePrinter{format: formatJSON, places: true}, []*api.Node{namedNode("n")}, nil); !json.Valid([]byte(got)) {
		t.Error(got)
	}
}

// Up to a page the table is the one that would be printed at once. After that, names and
// addresses are whole whatever their length, and labels end where the terminal does.
// case T03: what is long, wide or hostile keeps its row.
func TestTableThatGrows(t *testing.T) {
	head := []*api.Node{namedNode("a"), namedNode("web-server")}
	var want strings.Builder
	if err := (&app{}).writeNodes(&want, head, false); err != nil {
		t.Fatal(err)
	}
	if got := printed(t, &nodePrinter{format: formatText}, head, nil); got != want.String() {
		t.Errorf("got\n%s\nwant\n%s", got, want.String())
	}
	later := []*api.Node{namedNode("b"), namedNode("the-longest-name"), namedNode("日本語"), namedNode("x\x1b[2J\ny")}
	later[0].Spec.Addr = "10.100.100.100:3022"
	got := printed(t, &nodePrinter{format: formatText}, head, later)
	rows := strings.Split(strings.TrimPrefix(got, strings.TrimSuffix(want.String(), "\n")), "\n")
	for i, row := range []string{
		"b          10.100.100.100:3022 env=<dev>,a/b=c",
		"the-longest-name 10.0.0.1:3022 env=<dev>,a/b=c",
		"日本語     10.0.0.1:3022 env=<dev>,a/b=c",
		`x\x1b[2J\ny 10.0.0.1:3022 env=<dev>,a/b=c`,
		"", "",
	} {
		if i >= len(rows) || rows[i] != row {
			t.Errorf("row %d is not %q in\n%s", i, row, got)
		}
	}
	p := &nodePrinter{format: formatText}
	printed(t, p, head, nil)
	var out bytes.Buffer
	p.b.Reset(&out)
	p.table.width, p.widths = 40, []int{10, 13, 15}
	for _, name := range []string{"short", "the-longest-name", strings.Repeat("x", 300)} {
		p.pushRow([]string{name, "10.0.0.1:3022", "env=prod,role=db,k=v"})
	}
	_ = p.b.Flush()
	if lines := strings.Split(out.String(), "\n"); lines[0] != "short      10.0.0.1:3022 env=prod,rol..." ||
		lines[1] != "the-longest-name 10.0.0.1:3022 env=pr..." || !strings.HasSuffix(lines[2], "... 10.0.0.1:3022 en...") || len(lines[2]) > 300 {
		t.Errorf("%q", lines)
	}
}

func TestParseOrder(t *testing.T) {
	for in, want := range map[string]nodeOrder{
		"": {by: "name"}, "name": {by: "name"}, "-name": {by: "name", down: true}, "address": {by: "address"}, "-id": {by: "id", down: true},
		"label:env": {by: "label", key: "env"}, "-label:a/b:c": {by: "label", key: "a/b:c", down: true},
	} {
		if got, err := parseOrder(in); err != nil || got != want {
			t.Errorf("%q: %+v, %v", in, got, err)
		}
	}
	for _, in := range []string{"hostname", "name:x", "--name", "label", "label:", "-", "address:1"} {
		if _, err := parseOrder(in); !isUsage(err) {
			t.Errorf("%q: %v", in, err)
		}
	}
}
