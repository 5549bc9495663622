package sshconfig

import "testing"

func TestInclude(t *testing.T) {
	const line = "Include config.d/tsh-*.conf"
	for _, tt := range []struct{ before, after string }{
		{"", line + "\n"},
		{"Host *\n  User a", line + "\nHost *\n  User a"},
		{"Host *\r\n  User a\r\n", line + "\r\nHost *\r\n  User a\r\n"},
		{"# mine\n  " + line + "  \nHost *\n", "# mine\n  " + line + "  \nHost *\n"},
		{"Host a\n" + line + "\n", line + "\nHost a\n" + line + "\n"}, // there it counts for one host alone
		{"\xff\x00junk", line + "\n\xff\x00junk"},
	} {
		after := string(AddInclude([]byte(tt.before), line))
		if after != tt.after {
			t.Errorf("%q becomes %q", tt.before, after)
		}
		if again := string(AddInclude([]byte(after), line)); again != after {
			t.Errorf("%q becomes %q the second time", after, again)
		}
	}
	for before, after := range map[string]string{
		line + "\nHost *\n": "Host *\n", "a\n" + line: "a\n", "Host *\n": "Host *\n", "": "", "#" + line + "\n": "#" + line + "\n",
	} {
		if got := string(RemoveInclude([]byte(before), line)); got != after {
			t.Errorf("%q becomes %q", before, got)
		}
	}
}
