package sftp_test

import (
	"encoding/binary"
	"maps"
	"testing"
)

// case X08: a server that does not rename over a file that is there loses neither it nor
// the new one, whatever fails.
func TestRenameOver(t *testing.T) {
	const fxpRemove, fxpRename, failure, noSuchFile = 13, 18, 4, 2
	for name, c := range map[string]struct {
		files, want map[string]string
		stuck       bool // the new file keeps its name
	}{
		"over another": {files: map[string]string{"part": "new", "f": "old"}, want: map[string]string{"f": "new"}},
		"to no other":  {files: map[string]string{"part": "new"}, want: map[string]string{"f": "new"}},
		"gone":         {files: map[string]string{"f": "old"}, want: map[string]string{"f": "old"}},
		"stuck":        {files: map[string]string{"part": "new", "f": "old"}, want: map[string]string{"part": "new", "f": "old"}, stuck: true},
	} {
		t.Run(name, func(t *testing.T) {
			files := maps.Clone(c.files)
			rename := func(from, to string) int {
				content, ok := files[from]
				_, taken := files[to]
				switch {
				case !ok:
					return noSuchFile
				case taken, c.stuck && from == "part":
					return failure
				}
				delete(files, from)
				files[to] = content
				return 0
			}
			client := hostile(t, func(kind byte, id uint32, body []byte) []byte {
				take := func() string {
					n := binary.BigEndian.Uint32(body)
					s := string(body[4 : 4+n])
					body = body[4+n:]
					return s
				}
				code := 0
				switch kind {
				case fxpRemove:
					delete(files, take())
				case fxpRename:
					from := take()
					code = rename(from, take())
				}
				return pkt(fxpStatus, id, code, "", "")
			})
			err := client.Rename(deadline(t), "part", "f")
			if !maps.Equal(files, c.want) || (err == nil) != (c.want["f"] == "new") {
				t.Errorf("%v, there is %q", err, files)
			}
		})
	}
}
