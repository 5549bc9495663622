package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/seed-087d674e/tsh/internal/text"
	"github.com/seed-087d674e/tsh/sshclient/transfer"
)

// meter shows how files get on, where stderr is a terminal: a line for each file that
// is done, and below them one for the file that has been under way longest.
type meter struct {
	out     io.Writer
	columns func() int
	now     func() time.Time

	mu     sync.Mutex
	under  []*metered // in the order they began
	files  int
	bytes  int64
	begun  time.Time
	width  int // of what the last line shows now
	over   chan struct{}
	closed sync.WaitGroup
}

type metered struct {
	file  *transfer.File
	begun time.Time
}

// newMeter returns a meter, which is nil, and does nothing, unless it is wanted and
// there is a terminal to show it on.
func (a *app) newMeter(wanted bool) *meter {
	fd := int(a.io.err.Fd())
	if !wanted || !term.IsTerminal(fd) {
		return nil
	}
	m := &meter{out: a.io.err, now: time.Now, begun: time.Now(), over: make(chan struct{})}
	m.columns = func() int {
		columns, _, err := term.GetSize(fd)
		if err != nil || columns <= 0 {
			columns = 80
		}
		return columns
	}
	const often = 100 * time.Millisecond
	m.closed.Go(func() {
		ticker := time.NewTicker(often)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				m.mu.Lock()
				m.draw()
				m.mu.Unlock()
			case <-m.over:
				return
			}
		}
	})
	return m
}

func (m *meter) started(f *transfer.File) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.under = append(m.under, &metered{f, m.now()})
}

func (m *meter) finished(f *transfer.File) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, u := range m.under {
		if u.file == f {
			done := f.Done()
			if m.bytes += done; done >= f.Size { // else it failed
				m.files++
			}
			m.show(m.line(u, true), true)
			m.under = append(m.under[:i], m.under[i+1:]...)
			return
		}
	}
}

// draw shows the last line anew.
func (m *meter) draw() {
	if len(m.under) > 0 {
		m.show(m.line(m.under[0], false), false)
	}
}

// show writes over the last line, and leaves it there if it is final.
func (m *meter) show(line string, final bool) {
	width := text.Width(line)
	if more := m.width - width; more > 0 {
		line += strings.Repeat(" ", more)
	}
	m.width = width
	if final {
		line, m.width = line+"\n", 0
	}
	_, _ = io.WriteString(m.out, "\r"+line) // a terminal that is gone is no reason to stop
}

// aside lets say write a line of its own.
func (m *meter) aside(say func()) {
	if m == nil {
		say()
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.erase()
	say()
}

func (m *meter) erase() {
	if m.width > 0 {
		_, _ = io.WriteString(m.out, "\r"+strings.Repeat(" ", m.width)+"\r")
		m.width = 0
	}
}

// close ends the display, with a sum if there were several files.
func (m *meter) close() {
	if m == nil {
		return
	}
	close(m.over)
	m.closed.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.erase()
	if m.files > 1 {
		took := m.now().Sub(m.begun)
		m.show(text.Cut(fmt.Sprintf("%d files, %s in %s, %s/s", m.files, amount(m.bytes), clock(took), amount(perSecond(m.bytes, took))), m.columns()-1), true)
	}
}

// line is what is known of a file: name, part, bytes, rate, time left or taken.
func (m *meter) line(u *metered, final bool) string {
	done, size, now := u.file.Done(), u.file.Size, m.now()
	took := now.Sub(u.begun)
	rate := perSecond(done-u.file.Kept(), took)
	percent := int64(100)
	if size > 0 && done < size {
		percent = int64(float64(done) / float64(size) * 100)
	}
	left := clock(took)
	if !final {
		left = "--:--"
		if rate > 0 {
			left = clock(time.Duration(float64(max(size-done, 0)) / float64(rate) * float64(time.Second)))
		}
		left += " left"
	}
	columns := m.columns() - 1 // writing into the last one would begin a line
	numbers := fmt.Sprintf(" %3d%% %9s %9s/s %10s", percent, amount(done), amount(rate), left)
	if columns < len(numbers)+10 {
		numbers = fmt.Sprintf(" %3d%%", percent)
	}
	room := max(columns-len(numbers), 1)
	name := text.Cut(text.Line(filepath.Base(u.file.Path)), room)
	return name + strings.Repeat(" ", max(room-text.Width(name), 0)) + numbers
}

func perSecond(bytes int64, took time.Duration) int64 {
	return int64(float64(bytes) / max(took.Seconds(), 0.001))
}

// amount is a number of bytes that is short to read.
func amount(n int64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	f, unit := float64(n)/1024, 0
	for f >= 1000 && unit < 4 {
		f, unit = f/1024, unit+1
	}
	return fmt.Sprintf("%.1f %ciB", f, "KMGTP"[unit])
}

func clock(d time.Duration) string {
	seconds := int64(d.Seconds() + 0.5)
	if seconds >= 100*3600 {
		return "99:59:59"
	}
	if seconds >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", seconds/3600, seconds/60%60, seconds%60)
	}
	return fmt.Sprintf("%02d:%02d", seconds/60, seconds%60)
}
