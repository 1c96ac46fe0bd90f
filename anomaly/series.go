package anomaly

import (
	"math"
	"slices"
)

// The daily detector compares a day with the days that it should be like. It
// knows no distribution: medians, since costs have long tails and the days
// before may hold anomalies themselves.
const (
	weeks    = 8  // of the same weekday that a day is compared with
	minWeeks = 4  // below: with all days of
	recent   = 28 // days, if there are
	minDays  = 10 // of them; below: with nothing, a series that is new has no usual

	history = 7 * weeks // days before a day that its verdict follows from

	deviant = 3.5 // times the usual deviation (Iglewicz and Hoaglin, How to detect and handle outliers, 1993), which must come twice in
	persist = 3   // days, or else be
	extreme = 7.0 // times

	longest = 28 // days of an unbroken run; one that goes on is said again

	// reach is how many days back from a day what is found on it follows from.
	reach = history + persist - 1 + longest - 1
)

// Values of Finding.Basis.
const (
	Weekday  = "weekday"  // the median of the same weekday in the last eight weeks
	Recent   = "recent"   // the median of the last four weeks, when there are not enough of those
	Estimate = "estimate" // estate.yaml
)

// series is what a value of a dimension cost day by day.
type series struct {
	dimension, value string
	costs            []int64 // pico-dollars
	verdicts         []verdict
}

// verdict is a day against its usual.
type verdict struct {
	made      bool
	basis     string // empty: there is no usual
	days      int    // that the usual was taken from
	reference int    // index of the day whose cost is the usual
	score     float64
	over      bool // the floor
}

// deviates reports whether the day is unusual, up (+1) or down (-1), or not (0).
func (v *verdict) deviates() int {
	switch {
	case !v.over || math.Abs(v.score) < deviant:
		return 0
	case v.score > 0:
		return 1
	}
	return -1
}

// judge compares day i. The usual is the cost of a day that was: of the days
// compared with, the one in the middle (the lower one of two, the latest of
// equal ones), so that it has requests, tokens and models to compare as well.
//
// The usual deviation is 1.4826 times the median absolute deviation (the
// standard deviation, were the costs normal), and at least a tenth of the usual
// and a tenth of the floor, since eight days may happen to be alike. Among days
// of all kinds it is also at least as far as one of them was off to the same
// side: a series that is young may have weekends.
func (s *series) judge(i int, floor int64) *verdict {
	v := &s.verdicts[i]
	if v.made {
		return v
	}
	v.made = true
	first := max(0, i-history) // of its history: what lies before the first cost is none
	for first < i && s.costs[first] == 0 {
		first++
	}
	var days [recent]int
	n := 0
	v.basis = Weekday
	for j := i - 7; j >= first && n < weeks; j -= 7 {
		days[n] = j
		n++
	}
	if n < minWeeks {
		n, v.basis = 0, Recent
		for j := i - 1; j >= first && n < recent; j-- {
			days[n] = j
			n++
		}
		if n < minDays {
			v.basis = ""
			return v
		}
	}
	v.days = n
	compared := days[:n] // the latest first
	slices.SortStableFunc(compared, func(a, b int) int {
		switch {
		case s.costs[a] < s.costs[b]:
			return -1
		case s.costs[a] > s.costs[b]:
			return 1
		}
		return 0
	})
	usual := s.costs[compared[(n-1)/2]]
	for _, j := range compared {
		if s.costs[j] == usual {
			v.reference = j // the latest: the sort keeps the order of equal ones
			break
		}
	}
	var deviations [recent]float64
	for k, j := range compared {
		deviations[k] = math.Abs(float64(s.costs[j] - usual))
	}
	slices.Sort(deviations[:n])
	scale := max(1.4826*deviations[n/2], float64(usual)/10, float64(floor)/10, 1)
	change := s.costs[i] - usual
	if v.basis == Recent && change > 0 {
		scale = max(scale, float64(s.costs[compared[n-1]]-usual))
	} else if v.basis == Recent {
		scale = max(scale, float64(usual-s.costs[compared[0]]))
	}
	v.score = math.Round(float64(change)/scale*100) / 100
	v.over = change >= floor || -change >= floor
	return v
}

// found reports whether day i is a finding, up or down: it deviates extremely, or a second time within three days.
func (s *series) found(i int, floor int64) int {
	v := s.judge(i, floor)
	way := v.deviates()
	if way == 0 || math.Abs(v.score) >= extreme {
		return way
	}
	for j := i - 1; j > i-persist && j >= 0; j-- {
		if s.judge(j, floor).deviates() == way {
			return way
		}
	}
	return 0
}

// began is the first day of the unbroken run of days found that i ends.
func (s *series) began(i int, floor int64) int {
	way := s.found(i, floor)
	first := i
	for first > 0 && i-first+1 < longest && s.found(first-1, floor) == way {
		first--
	}
	return first
}
