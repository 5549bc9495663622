package archtest

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every page of docs is found from the README, and leads to pages that are there.
func TestDocsAreLinked(t *testing.T) {
	root := filepath.Join("..", "..")
	pages, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil || len(pages) < 20 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	pages = append(pages, filepath.Join(root, "README.md"), filepath.Join(root, "CHANGELOG.md"))
	link := regexp.MustCompile(`\]\(([^):#]+\.md)`)
	linked := make(map[string]bool)
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			to := filepath.Join(filepath.Dir(page), m[1])
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s leads to %s, which is not there", page, m[1])
			}
			if filepath.Base(page) == "README.md" {
				linked[to] = true
			}
		}
	}
	for _, page := range pages {
		if filepath.Base(filepath.Dir(page)) == "docs" && !linked[page] {
			t.Errorf("README.md does not lead to %s", page)
		}
	}
}

// Each security case is named by a test that shows it, and explained.
func TestCasesAreCovered(t *testing.T) {
	root := filepath.Join("..", "..")
	explained, err := os.ReadFile(filepath.Join(root, "docs", "security-cases.md"))
	if err != nil {
		t.Fatal(err)
	}
	id := regexp.MustCompile(`\bcase ([A-Z]\d\d)\b`)
	tested := make(map[string]bool)
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") && !strings.HasSuffix(path, ".txtar") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range id.FindAllSubmatch(text, -1) {
			tested[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	// How many there are; L and T are explained where they are shown, but for some.
	for letter, n := range map[string]int{"F": 26, "K": 17, "L": 30, "N": 23, "P": 8, "S": 25, "T": 5, "X": 13} {
		for i := range n {
			id := fmt.Sprintf("%s%02d", letter, i+1)
			if !tested[id] {
				t.Errorf("no test names case %s", id)
			}
			if letter != "L" && letter != "T" && !strings.Contains(string(explained), "| "+id+" |") {
				t.Errorf("docs/security-cases.md has no row for %s", id)
			}
		}
	}
}
