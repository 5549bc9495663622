package main

import "unicode/utf8"

// secretLine edits a line that is typed without echo. The terminal is not in
// canonical mode, where the kernel would cut a line at 4095 bytes without a
// word; so the few editing keys are ours.
type secretLine struct {
	buf []byte
}

// Keys of a terminal line.
const (
	keyEOF       = 0x04 // ^D
	keyBackspace = 0x08
	keyKill      = 0x15 // ^U
	keyDelete    = 0x7f
)

// feed takes one typed byte. done is true when the line is complete; err is
// errEndOfInput for ^D on an empty line.
func (l *secretLine) feed(b byte) (done bool, err error) {
	switch b {
	case '\n', '\r':
		return true, nil
	case keyEOF:
		if len(l.buf) == 0 {
			return true, errEndOfInput
		}
		return true, nil
	case keyBackspace, keyDelete:
		_, size := utf8.DecodeLastRune(l.buf)
		l.buf = l.buf[:len(l.buf)-size]
	case keyKill:
		l.buf = l.buf[:0]
	default:
		if len(l.buf) == maxAnswer {
			return true, errAnswerTooLong
		}
		l.buf = append(l.buf, b)
	}
	return false, nil
}
