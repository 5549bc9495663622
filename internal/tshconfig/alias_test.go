package tshconfig

import (
	"slices"
	"strings"
	"testing"
)

func TestAliases(t *testing.T) {
	const program = "/opt/my tools/tsh"
	tests := []struct {
		command string
		args    []string
		want    []string
	}{
		{"tsh login --auth=okta", nil, []string{"tsh", "login", "--auth=okta"}},
		{"tsh login --auth=okta", []string{"--user=a b"}, []string{"tsh", "login", "--auth=okta", "--user=a b"}},
		{"tsh ssh $0@$1", []string{"root", "web"}, []string{"tsh", "ssh", "root@web"}},
		{"tsh ssh $1 $1", []string{"a", "b", "c"}, []string{"tsh", "ssh", "b", "b", "a", "c"}},
		{"$TSH ls", nil, []string{program, "ls"}},
		{`bash -c "$TSH ls | grep $0"`, []string{"web"}, []string{"bash", "-c", program + " ls | grep web"}},
		{`echo 'it''s' "a \"b\" \x" c\ d ""`, nil, []string{"echo", "its", `a "b" \x`, "c d", ""}},
		{"echo $0", []string{"'; rm -rf $1 \""}, []string{"echo", "'; rm -rf $1 \""}},
		{"echo $HOME $TSHX $ $$0", []string{"x"}, []string{"echo", "$HOME", "$TSHX", "$", "$x"}},
		{"echo $10", strings.Split("a,b,c,d,e,f,g,h,i,j,k", ","), []string{"echo", "k", "a", "b", "c", "d", "e", "f", "g", "h", "i", "j"}},
		{"a\tb\n c ", nil, []string{"a", "b", "c"}},
	}
	for _, tt := range tests {
		got, err := Alias{"x", tt.command, "f:1"}.Expand(program, tt.args)
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, %v, want %q", tt.command, got, err, tt.want)
		}
	}
}

func TestAliasesThatCannotBeUsed(t *testing.T) {
	for command, want := range map[string]string{
		"":                 "f:1: alias x: it stands for nothing",
		"  ":               "f:1: alias x: it stands for nothing",
		"tsh 'ssh":         "is not closed",
		`tsh "ssh`:         "is not closed",
		`tsh \`:            "follows the backslash",
		"tsh ssh $0@$2":    "alias x needs at least 3 argument(s), not 1; it stands for: tsh ssh $0@$2 (f:1)",
		"echo $4000000000": "needs at least 4000000001 argument(s)",
	} {
		got, err := Alias{"x", command, "f:1"}.Expand("tsh", []string{"a"})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %q, %v", command, got, err)
		}
	}
}
