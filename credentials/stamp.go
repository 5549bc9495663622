package credentials

import "time"

// stamp tells one state of a file from another without reading it: which file a path leads
// to, links followed, and when it was changed. The zero value is a file that is not there.
type stamp struct {
	device, inode uint64
	size          int64
	modified      int64 // nanoseconds of Unix time
	changed       int64 // the same, of the inode: it cannot be set back; 0 where there is none
}

// changedAfter reports whether the file was changed after t, by the system's clock.
func (s stamp) changedAfter(t time.Time) bool {
	return s != stamp{} && time.Unix(0, max(s.modified, s.changed)).After(t)
}
