package anomaly

import (
	"math/rand/v2"
	"slices"
	"testing"
)

const dollar = 1_000_000_000_000

// made is a series in dollars by day.
func made(days int, cost func(day int) int64) *series {
	s := &series{verdicts: make([]verdict, days)}
	for i := range days {
		s.costs = append(s.costs, cost(i)*dollar)
	}
	return s
}

func (s *series) all(from int) (found []int) {
	for i := from; i < len(s.costs); i++ {
		if s.found(i, 10*dollar) != 0 {
			found = append(found, i)
		}
	}
	return found
}

func TestSeries(t *testing.T) {
	weekly := func(day int) int64 { // a working week with empty weekends
		if day%7 >= 5 {
			return 0
		}
		return 100 + int64(day*37%11)
	}
	for _, tt := range []struct {
		name string
		cost func(day int) int64
		want []int // of days 60 to 119
	}{
		{"a working week", weekly, nil},
		{"a spike", func(day int) int64 {
			if day == 100 {
				return 500
			}
			return weekly(day)
		}, []int{100}},
		{"work on a Sunday", func(day int) int64 {
			if day == 104 {
				return 100
			}
			return weekly(day)
		}, []int{104}},
		{"an outage", func(day int) int64 {
			if day == 100 {
				return 0
			}
			return weekly(day)
		}, []int{100}},
		{"below the floor", func(day int) int64 {
			if day == 100 {
				return 10
			}
			return 1
		}, nil},
		{"at the floor", func(day int) int64 {
			if day == 100 {
				return 11
			}
			return 1
		}, []int{100}},
		{"half as much again, once", func(day int) int64 {
			if day == 100 {
				return 150
			}
			return 100
		}, nil},
		{"half as much again, for three days", func(day int) int64 {
			if day >= 100 && day < 103 {
				return 150
			}
			return 100
		}, []int{101, 102}},
		{"half as much again, on the second day after", func(day int) int64 {
			if day == 100 || day == 102 {
				return 150
			}
			return 100
		}, []int{102}},
		{"half as much again, too far apart", func(day int) int64 {
			if day == 100 || day == 103 {
				return 150
			}
			return 100
		}, nil},
		{"up and down is not twice", func(day int) int64 {
			switch day {
			case 100:
				return 150
			case 101:
				return 50
			}
			return 100
		}, nil},
		{"what happened before does not make it usual", func(day int) int64 {
			if day == 72 || day == 79 || day == 86 || day == 100 {
				return 900
			}
			return 100
		}, []int{72, 79, 86, 100}},
		{"a young series with weekends", func(day int) int64 {
			switch {
			case day < 85:
				return 0
			case day == 102:
				return 500
			case day == 96: // a Saturday: less than the one before was
				return 15
			}
			return 30 + weekly(day)
		}, []int{102}},
		{"a new series has no usual for ten days", func(day int) int64 {
			switch {
			case day < 90:
				return 0
			case day == 95:
				return 300
			case day == 101:
				return 1500
			}
			return 100
		}, []int{101}},
	} {
		if got := made(120, tt.cost).all(60); !slices.Equal(got, tt.want) {
			t.Errorf("%s: found on %v, want %v", tt.name, got, tt.want)
		}
	}
}

// After a shift each day is found until half of the last eight weekdays are of the new level.
func TestShift(t *testing.T) {
	s := made(150, func(day int) int64 {
		if day >= 100 {
			return 300
		}
		return 100
	})
	found := s.all(60)
	if len(found) != 28 || found[0] != 100 || found[27] != 127 {
		t.Fatalf("found on %v, want 100 to 127", found)
	}
	for _, day := range found {
		if got := s.began(day, 10*dollar); got != 100 {
			t.Errorf("day %d: began on %d, want 100", day, got)
		}
	}
}

// A day's verdict follows from the days that reach says, whatever lies before.
func TestReach(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	for range 300 {
		s := made(2*reach, func(int) int64 {
			if r.IntN(4) == 0 {
				return 0
			}
			return 100 + r.Int64N(400)
		})
		i := len(s.costs) - 1
		short := &series{costs: s.costs[i-reach:], verdicts: make([]verdict, reach+1)}
		if s.found(i, dollar) != short.found(reach, dollar) || s.found(i, dollar) != 0 && s.began(i, dollar) != short.began(reach, dollar)+i-reach {
			t.Fatalf("of %d days found %d, of %d days %d", len(s.costs), s.found(i, dollar), reach+1, short.found(reach, dollar))
		}
	}
}
