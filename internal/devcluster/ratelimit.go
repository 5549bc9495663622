package devcluster

import (
	"math"
	"sync"
	"time"
)

// Limits of the web API per address; ping and find have none.
const (
	normalPerMinute, normalBurst = 20, 40
	highPerMinute, highBurst     = 120, 480
	// maxBuckets bounds the memory that addresses can take; beyond it the
	// counting starts anew.
	maxBuckets = 10_000
)

// rateLimits is one set of buckets per class of calls.
type rateLimits struct{ normal, high *bucketSet }

func newRateLimits(now func() time.Time) *rateLimits {
	return &rateLimits{
		normal: &bucketSet{now: now, perMinute: normalPerMinute, burst: normalBurst},
		high:   &bucketSet{now: now, perMinute: highPerMinute, burst: highBurst},
	}
}

// bucketSet is a token bucket for each address.
type bucketSet struct {
	now              func() time.Time
	perMinute, burst float64
	mu               sync.Mutex
	buckets          map[string]*bucket
}

type bucket struct {
	tokens float64
	at     time.Time
}

// take uses one token; if there is none it says how long until the next.
func (s *bucketSet) take(key string) (wait time.Duration, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if s.buckets == nil || len(s.buckets) > maxBuckets {
		s.buckets = make(map[string]*bucket)
	}
	b := s.buckets[key]
	if b == nil {
		b = &bucket{tokens: s.burst, at: now}
		s.buckets[key] = b
	}
	if past := now.Sub(b.at); past > 0 {
		b.tokens = math.Min(s.burst, b.tokens+past.Minutes()*s.perMinute)
		b.at = now
	}
	if b.tokens >= 1 {
		b.tokens--
		return 0, true
	}
	return time.Duration((1 - b.tokens) / s.perMinute * float64(time.Minute)), false
}
