package devcluster

import (
	"reflect"
	"testing"
	"time"
)

// FuzzRoleYAML: no file makes the reader panic or think for long, and a role that it
// takes is the same after it was written and read again, in YAML and in JSON.
func FuzzRoleYAML(f *testing.F) {
	f.Add([]byte(stagingBot))
	for _, r := range presetRoles() {
		text, err := r.yaml()
		if err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		begun := time.Now()
		all, err := parseRoles(file)
		if took := time.Since(begun); took > 10*time.Second {
			t.Fatalf("%d bytes took %s", len(file), took)
		}
		if err != nil {
			return
		}
		for _, r := range all {
			newJudge(&r.conditions, map[string][]string{"logins": {"root"}}).nodes.match(map[string]string{"env": "prod"})
			text, err := r.yaml()
			if err != nil {
				t.Fatal(err)
			}
			raw, err := r.json()
			if err != nil {
				t.Fatal(err)
			}
			for _, written := range []string{text, string(raw)} {
				if again, err := parseRoles([]byte(written)); err != nil || !reflect.DeepEqual(again, []role{r}) {
					t.Fatalf("%v\n%+v\n%+v\n%s", err, again, r, written)
				}
			}
		}
	})
}
