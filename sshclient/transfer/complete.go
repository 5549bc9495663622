package transfer

import "context"

// complete reports whether an earlier run has copied the file: same size, same time.
func (s slot) complete(ctx context.Context, of *info) bool {
	var there *info
	if s.dir.root != nil {
		fi, err := s.dir.root.Lstat(s.name)
		if err != nil {
			return false
		}
		there = localInfo(fi)
	} else {
		a, err := s.dir.place.Client.Lstat(ctx, s.dir.place.join(s.dir.path, s.name))
		if err != nil || !a.HasSize || !a.HasTimes {
			return false
		}
		there = remoteInfo(s.name, a)
	}
	return there.regular() && there.size == of.size && there.mtime.Unix() == of.mtime.Unix()
}
