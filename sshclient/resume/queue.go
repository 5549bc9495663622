package resume

// queue is bytes in order, in a ring that grows when it has to.
type queue struct {
	ring  []byte
	start int
	size  int
}

func (q *queue) push(p []byte) {
	if need := q.size + len(p); need > len(q.ring) {
		grown := make([]byte, max(need, 2*len(q.ring), 1<<10))
		q.peek(grown, 0)
		q.ring, q.start = grown, 0
	}
	at := (q.start + q.size) % max(len(q.ring), 1)
	n := copy(q.ring[at:], p)
	copy(q.ring, p[n:])
	q.size += len(p)
}

// peek copies what comes after the first skip bytes.
func (q *queue) peek(p []byte, skip int) int {
	left := min(len(p), q.size-skip)
	if left <= 0 {
		return 0
	}
	at := (q.start + skip) % len(q.ring)
	n := copy(p[:left], q.ring[at:])
	return n + copy(p[n:left], q.ring)
}

// drop takes the first n bytes away.
func (q *queue) drop(n int) {
	q.size -= n
	if q.size == 0 {
		q.start = 0
		return
	}
	q.start = (q.start + n) % len(q.ring)
}
