package sftp

import (
	"encoding/binary"
	"io/fs"
	"time"
)

// Packet types, draft-ietf-secsh-filexfer-02 section 3.
const (
	typeInit     = 1
	typeVersion  = 2
	typeOpen     = 3
	typeClose    = 4
	typeRead     = 5
	typeWrite    = 6
	typeLstat    = 7
	typeFstat    = 8
	typeSetstat  = 9
	typeFsetstat = 10
	typeOpendir  = 11
	typeReaddir  = 12
	typeRemove   = 13
	typeMkdir    = 14
	typeRmdir    = 15
	typeRealpath = 16
	typeStat     = 17
	typeRename   = 18
	typeReadlink = 19
	typeStatus   = 101
	typeHandle   = 102
	typeData     = 103
	typeName     = 104
	typeAttrs    = 105
	typeExtended = 200
	typeReply    = 201
)

// Which attributes are there, section 5.
const (
	hasSize        = 1
	hasOwner       = 2
	hasPermissions = 4
	hasTimes       = 8
	hasExtended    = 1 << 31
)

// Bits of the permissions, as POSIX has them.
const (
	modeType    = 0o170000
	modeDir     = 0o040000
	modeRegular = 0o100000
	modeLink    = 0o120000
	modeSetuid  = 0o4000
	modeSetgid  = 0o2000
	modeSticky  = 0o1000
)

const (
	// maxPacket bounds a packet, without its length.
	maxPacket = 256 << 10
	// maxHandle bounds a handle (section 6.3 says 256 bytes).
	maxHandle = 256
	// maxPath bounds what a server may give as one path or name.
	maxPath = 32 << 10
)

// Attrs is what a server says about a file, or is told to set. A field whose Has is false
// is not known, or left alone.
type Attrs struct {
	HasSize, HasOwner, HasMode, HasTimes bool

	Size     uint64
	UID, GID uint32
	Bits     uint32 // type and permissions as POSIX has them
	Atime    uint32 // seconds since 1970
	Mtime    uint32
}

// IsDir reports whether it is known to be a directory.
func (a Attrs) IsDir() bool { return a.HasMode && a.Bits&modeType == modeDir }

// IsRegular reports whether it is known to be a plain file.
func (a Attrs) IsRegular() bool { return a.HasMode && a.Bits&modeType == modeRegular }

// IsLink reports whether it is known to be a symbolic link.
func (a Attrs) IsLink() bool { return a.HasMode && a.Bits&modeType == modeLink }

// TypeKnown reports whether the server said what kind of file it is.
func (a Attrs) TypeKnown() bool { return a.HasMode && a.Bits&modeType != 0 }

// Mode is the permissions with the three special bits as Go has them, without the type.
func (a Attrs) Mode() fs.FileMode {
	m := fs.FileMode(a.Bits & 0o777)
	if a.Bits&modeSetuid != 0 {
		m |= fs.ModeSetuid
	}
	if a.Bits&modeSetgid != 0 {
		m |= fs.ModeSetgid
	}
	if a.Bits&modeSticky != 0 {
		m |= fs.ModeSticky
	}
	return m
}

// SetMode makes m, permissions and special bits, part of what is to be set.
func (a *Attrs) SetMode(m fs.FileMode) {
	a.HasMode = true
	a.Bits = uint32(m.Perm())
	if m&fs.ModeSetuid != 0 {
		a.Bits |= modeSetuid
	}
	if m&fs.ModeSetgid != 0 {
		a.Bits |= modeSetgid
	}
	if m&fs.ModeSticky != 0 {
		a.Bits |= modeSticky
	}
}

// ModTime is the time of the last change, to the second.
func (a Attrs) ModTime() time.Time { return time.Unix(int64(a.Mtime), 0) }

// SetTimes makes t, as both times, part of what is to be set.
func (a *Attrs) SetTimes(t time.Time) {
	a.HasTimes = true
	a.Mtime = uint32(min(max(t.Unix(), 0), 1<<32-1))
	a.Atime = a.Mtime
}

// packet is a request being written: length, type, id, fields.
type packet []byte

// newPacket leaves the length and the id open: see finish.
func newPacket(kind byte, path string) packet {
	p := make(packet, 9, 9+4+len(path)+48)
	p[4] = kind
	return p.str(path)
}

func (p packet) u32(v uint32) packet { return binary.BigEndian.AppendUint32(p, v) }
func (p packet) u64(v uint64) packet { return binary.BigEndian.AppendUint64(p, v) }
func (p packet) str(s string) packet { return append(p.u32(uint32(len(s))), s...) }

func (p packet) attrs(a Attrs) packet {
	var flags uint32
	at := len(p)
	p = p.u32(0)
	if a.HasSize {
		flags |= hasSize
		p = p.u64(a.Size)
	}
	if a.HasMode {
		flags |= hasPermissions
		p = p.u32(a.Bits)
	}
	if a.HasTimes {
		flags |= hasTimes
		p = p.u32(a.Atime).u32(a.Mtime)
	}
	binary.BigEndian.PutUint32(p[at:], flags)
	return p
}

// finish fills in the length, of which more bytes follow behind p, and the id.
func (p packet) finish(id uint32, more int) {
	binary.BigEndian.PutUint32(p, uint32(len(p)-4+more))
	binary.BigEndian.PutUint32(p[5:], id)
}

// fields is a reply being read. The first thing that is not there makes bad true, and
// everything after it empty.
type fields struct {
	rest []byte
	bad  bool
}

func (f *fields) take(n int) []byte {
	if f.bad || n < 0 || n > len(f.rest) {
		f.bad, f.rest = true, nil
		return nil
	}
	b := f.rest[:n]
	f.rest = f.rest[n:]
	return b
}

func (f *fields) u32() uint32 {
	if b := f.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (f *fields) u64() uint64 {
	if b := f.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// bytes is a string of at most limit bytes.
func (f *fields) bytes(limit int) []byte {
	n := f.u32()
	if n > uint32(limit) {
		f.bad, f.rest = true, nil
		return nil
	}
	return f.take(int(n))
}

func (f *fields) attrs() (a Attrs) {
	flags := f.u32()
	if flags&^(hasSize|hasOwner|hasPermissions|hasTimes|hasExtended) != 0 {
		f.bad = true
		return a
	}
	if a.HasSize = flags&hasSize != 0; a.HasSize {
		a.Size = f.u64()
	}
	if a.HasOwner = flags&hasOwner != 0; a.HasOwner {
		a.UID, a.GID = f.u32(), f.u32()
	}
	if a.HasMode = flags&hasPermissions != 0; a.HasMode {
		a.Bits = f.u32()
	}
	if a.HasTimes = flags&hasTimes != 0; a.HasTimes {
		a.Atime, a.Mtime = f.u32(), f.u32()
	}
	if flags&hasExtended != 0 {
		for n := f.u32(); n > 0 && !f.bad; n-- {
			f.bytes(maxPacket)
			f.bytes(maxPacket)
		}
	}
	if a.Size > 1<<63-1 {
		f.bad = true
	}
	return a
}

// over reports whether everything was there, and nothing else.
func (f *fields) over() bool { return !f.bad && len(f.rest) == 0 }
