package governance

import "github.com/ledgerline/ledgerline/internal/money"

// findingsFile is findings.yaml: what is unusual enough to be a finding.
type findingsFile struct {
	// The dimensions whose values are watched day by day. Default all but
	// user: users are many and each is a person, so that is decided here.
	Dimensions []text `yaml:"dimensions" oneof:"business_unit|team|project|user|application|use_case|provider|model"`
	// The US dollars that a cost must differ by, such as "25". Default 10.
	FloorUSD at[dollars] `yaml:"floor_usd"`
	// How many percent over or under its estimate a use case may be. Default 20.
	DriftPercent at[int64] `yaml:"drift_percent"`
}

// Detection is what the detectors of unusual costs go by.
type Detection struct {
	Dimensions   []string   // watched day by day
	Floor        money.Pico // of a change; above zero
	DriftPercent int64      // over or under an estimate that is no finding yet
}

// DefaultDetection is what is gone by where findings.yaml does not say otherwise. The floor is 10 dollars.
func DefaultDetection() Detection {
	return Detection{
		Dimensions: []string{"business_unit", "team", "project", "application", "use_case", "provider", "model"},
		Floor:      10_000_000_000_000, DriftPercent: 20,
	}
}

// Detection is what the detectors of unusual costs go by.
func (s *Snapshot) Detection() Detection { return s.detection }

func (s *Snapshot) setDetection(c *checker, f *findingsFile) {
	s.detection = DefaultDetection()
	if f.Dimensions != nil {
		s.detection.Dimensions = plain(f.Dimensions)
	}
	if f.FloorUSD.Mark > 0 {
		if s.detection.Floor = money.Pico(f.FloorUSD.V); s.detection.Floor == 0 {
			c.fail(findingsYAML, f.FloorUSD.Mark, "floor_usd: must be above zero, or every cent is a finding")
		}
	}
	if f.DriftPercent.Mark > 0 {
		if s.detection.DriftPercent = f.DriftPercent.V; s.detection.DriftPercent < 1 || s.detection.DriftPercent > 1000 {
			c.fail(findingsYAML, f.DriftPercent.Mark, "drift_percent: must be from 1 to 1000")
		}
	}
}
