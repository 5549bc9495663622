package netsim

import (
	"errors"
	"slices"
	"time"
)

// Slope measures how many round trips run takes with a clock instead of by
// counting: the time it takes over the round-trip time, as a slope between the
// medians at round-trip times low and high. What does not depend on the
// network cancels out. Each of the two is measured runs times, in turns. The
// network is left without delay.
//
// The result is meant for a benchmark. It depends on a quiet machine: the
// difference between high and low should be many times what run takes without
// a network.
func (n *Network) Slope(low, high time.Duration, runs int, run func() error) (trips float64, err error) {
	if high <= low || runs < 1 {
		return 0, errors.New("netsim: Slope needs two round-trip times, the lower one first, and at least one run")
	}
	defer n.SetDelay(0)
	times := make(map[time.Duration][]time.Duration)
	for range runs {
		for _, rtt := range []time.Duration{low, high} {
			n.SetDelay(rtt / 2)
			start := time.Now()
			if err := run(); err != nil {
				return 0, err
			}
			times[rtt] = append(times[rtt], time.Since(start))
		}
	}
	return float64(median(times[high])-median(times[low])) / float64(high-low), nil
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	mid := len(d) / 2
	if len(d)%2 == 1 {
		return d[mid]
	}
	return (d[mid-1] + d[mid]) / 2
}
