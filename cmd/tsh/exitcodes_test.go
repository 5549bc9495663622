package main

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

// Programs rely on the codes of errors: all there are, and no others, are in the document.
func TestErrorCodesAreDocumented(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "exit-codes.md"))
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\|").FindAllStringSubmatch(string(page), -1) {
		if documented[row[1]] {
			t.Errorf("%s is documented twice", row[1])
		}
		documented[row[1]] = true
	}
	known := map[string]bool{"failed": true, "untrusted_proxy": true} // see describe
	for _, k := range knownErrors() {
		known[k.code] = true
	}
	if got, want := slices.Sorted(maps.Keys(documented)), slices.Sorted(maps.Keys(known)); !slices.Equal(got, want) {
		t.Errorf("documented:\n%q\nwhat there are:\n%q", got, want)
	}
}
