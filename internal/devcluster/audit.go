package devcluster

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// The audit log: one line of JSON for whatever somebody did or was kept from doing.
const (
	auditFile = "audit.log"
	// auditOld ends the name of the log's former half.
	auditOld = ".1"
	// maxAudit is what one of the two halves holds.
	maxAudit = 16 << 20
	// maxAuditText bounds each text, in bytes: it is others who say it.
	maxAuditText = 1 << 10
	// maxAuditTexts bounds a list of texts.
	maxAuditTexts = 32
	// auditTime is RFC 3339 with milliseconds.
	auditTime = "2006-01-02T15:04:05.000Z07:00"
)

// Events in the audit log. Others are named in auditedCalls.
const (
	eventLogin        = "user.login"
	eventDenied       = "access.denied"
	eventSessionStart = "session.start"
	eventSessionEnd   = "session.end"
	eventCert         = "cert.create"
)

// auditEvent is a line of the log; no secret is in it.
type auditEvent struct {
	Time    string `json:"time"`
	Event   string `json:"event"`
	Cluster string `json:"cluster"`
	User    string `json:"user,omitempty"`
	Success bool   `json:"success"`
	Method  string `json:"method,omitempty"` // of a login or certificate: password, otp, …
	// Connector is that of a login in the browser.
	Connector  string   `json:"connector,omitempty"`
	Call       string   `json:"call,omitempty"` // /SERVICE/METHOD
	RemoteAddr string   `json:"remote_addr,omitempty"`
	Node       string   `json:"node,omitempty"`
	NodeID     string   `json:"node_id,omitempty"`
	Login      string   `json:"login,omitempty"`
	SessionID  string   `json:"session_id,omitempty"`
	Kind       string   `json:"kind,omitempty"`     // of a session: shell, exec or sftp
	Terminal   bool     `json:"terminal,omitempty"` // of a session: it has one
	ExitStatus *int     `json:"exit_status,omitempty"`
	BytesSent  *int64   `json:"bytes_sent,omitempty"` // what a session has put out
	Seconds    *float64 `json:"seconds,omitempty"`    // how long it was
	RequestID  string   `json:"request_id,omitempty"`
	Roles      []string `json:"roles,omitempty"`
	State      string   `json:"state,omitempty"`
	Route      string   `json:"route,omitempty"`   // cluster that certificates lead to
	Expires    string   `json:"expires,omitempty"` // of certificates
	Error      string   `json:"error,omitempty"`
}

// bound cuts what others have said.
func (e *auditEvent) bound() {
	for _, text := range []*string{
		&e.User, &e.Method, &e.Connector, &e.Call, &e.RemoteAddr, &e.Node, &e.Login, &e.RequestID, &e.State, &e.Route, &e.Error,
	} {
		*text = cutText(*text)
	}
	e.Roles = append([]string(nil), e.Roles[:min(len(e.Roles), maxAuditTexts)]...)
	for i := range e.Roles {
		e.Roles[i] = cutText(e.Roles[i])
	}
}

// cutText keeps whole characters.
func cutText(s string) string {
	if len(s) <= maxAuditText {
		return s
	}
	end := maxAuditText - len("…")
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}

// line is the event as it is written: nothing in it moves the cursor of a terminal or
// turns text around.
func (e *auditEvent) line() ([]byte, error) {
	var raw bytes.Buffer
	enc := json.NewEncoder(&raw)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		return nil, err
	}
	out := make([]byte, 0, raw.Len())
	for _, r := range raw.String() {
		switch {
		case r == '\n', r < utf8.RuneSelf && r != 0x7f, r >= utf8.RuneSelf && unicode.IsPrint(r):
			out = utf8.AppendRune(out, r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			out = appendEscape(appendEscape(out, high), low)
		default:
			out = appendEscape(out, r)
		}
	}
	return out, nil
}

// appendEscape adds a character as JSON can spell it.
func appendEscape(out []byte, r rune) []byte {
	digits := strconv.FormatUint(0x10000|uint64(r), 16) // with the zeros
	return append(append(out, `\u`...), digits[1:]...)
}

// auditLog is the file. Its methods may be called from many goroutines, and do nothing on
// nil.
type auditLog struct {
	path string
	max  int64
	log  *slog.Logger

	mu   sync.Mutex
	file *os.File // nil once closed
	size int64
}

// openAudit opens the log below dir. A line that a crash has torn is taken away.
func openAudit(dir string, log *slog.Logger) (*auditLog, error) {
	a := &auditLog{path: filepath.Join(dir, auditFile), max: maxAudit, log: log}
	return a, a.open()
}

func (a *auditLog) open() error {
	size, err := mendAudit(a.path)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(a.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	a.file, a.size = file, size
	return nil
}

// mendAudit takes away a last line that has no end, and returns the size.
func mendAudit(path string) (size int64, err error) {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if size, err = wholeLines(file); err == nil {
		err = file.Truncate(size)
	}
	return size, errors.Join(err, file.Close())
}

// wholeLines is where the last line of a file ends that has an end.
func wholeLines(file *os.File) (int64, error) {
	end, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, err
	}
	buf := make([]byte, 64<<10)
	for end > 0 {
		start := max(0, end-int64(len(buf)))
		part := buf[:end-start]
		if _, err := file.ReadAt(part, start); err != nil {
			return 0, err
		}
		if i := bytes.LastIndexByte(part, '\n'); i >= 0 {
			return start + int64(i) + 1, nil
		}
		end = start
	}
	return 0, nil
}

// write adds an event. What goes wrong is for the other log: nobody's work stops for it.
func (a *auditLog) write(now time.Time, e auditEvent) {
	if a == nil {
		return
	}
	e.Time = now.UTC().Format(auditTime)
	e.bound()
	line, err := e.line()
	if err == nil {
		err = a.append(line)
	}
	if err != nil {
		a.log.Error("audit log", "event", e.Event, "reason", err)
	}
}

// append writes a line in one piece; of one that fails nothing stays.
func (a *auditLog) append(line []byte) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.file == nil {
		return os.ErrClosed
	}
	var rotated error
	if a.size+int64(len(line)) > a.max {
		if rotated = a.rotate(); a.file == nil {
			return rotated
		}
	}
	if _, err := a.file.Write(line); err != nil {
		return errors.Join(err, os.Truncate(a.path, a.size), rotated)
	}
	a.size += int64(len(line))
	return rotated
}

// rotate begins a new half and forgets the one before the last. Where the old one cannot be
// moved it goes on: too much is better than nothing.
func (a *auditLog) rotate() error {
	err := a.file.Close()
	a.file = nil
	if err == nil {
		err = os.Rename(a.path, a.path+auditOld)
	}
	return errors.Join(err, a.open())
}

func (a *auditLog) close() error {
	if a == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.file == nil {
		return nil
	}
	file := a.file
	a.file = nil
	return file.Close()
}

// AuditLog is the path of the audit log: a JSON object on each line. At 16 MiB it is moved
// to the same name with ".1", which replaces the one before.
func (c *Cluster) AuditLog() string { return filepath.Join(c.state.dir, auditFile) }

// note adds an event of this cluster to the audit log.
func (c *Cluster) note(e auditEvent) {
	e.Cluster = c.settings.Name
	c.audit.write(c.now(), e)
}
