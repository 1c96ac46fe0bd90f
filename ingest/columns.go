package ingest

import (
	"slices"

	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/internal/event"
)

// Position is where an event stands in the log, and when it was recorded.
type Position struct {
	Topic     string
	Partition int
	Offset    int64
	Seq       uint64 // recorded_seq
}

// eventColumns are rows of the table events in the making.
type eventColumns struct {
	id         [][16]byte
	kind       clickhouse.Dictionary
	subject    [][16]byte
	time       []int64
	class      clickhouse.Dictionary
	writer     clickhouse.Dictionary
	seq        []uint64
	governance [][32]byte
	datasets   clickhouse.Dictionary // some a row
	ends       []uint64              // of datasets
	raw        [][]byte
	digest     [][32]byte
	topic      clickhouse.Dictionary
	partition  []uint32
	offset     []uint64
	recorded   []uint64
}

func (c *eventColumns) add(ev *event.Event, raw []byte, digest, governance [32]byte, at Position) {
	c.id = append(c.id, ev.ID)
	c.kind.Append(string(ev.Type))
	c.subject = append(c.subject, ev.Subject)
	c.time = append(c.time, int64(ev.Time))
	if ev.Request != nil {
		c.class.Append(ev.Request.RetentionClass)
	} else {
		c.class.Append("")
	}
	c.writer.Append(ev.Writer)
	c.seq = append(c.seq, ev.Seq)
	c.governance = append(c.governance, governance)
	c.addDatasets(ev)
	c.raw = append(c.raw, raw)
	c.digest = append(c.digest, digest)
	c.topic.Append(at.Topic)
	c.partition = append(c.partition, uint32(at.Partition))
	c.offset = append(c.offset, uint64(at.Offset))
	c.recorded = append(c.recorded, at.Seq)
}

// addDatasets names the datasets of a call, each once, and '*' where the event
// says that there may be others.
func (c *eventColumns) addDatasets(ev *event.Event) {
	if r := ev.Request; r != nil && ev.Type != event.RequestAdjusted {
		for i := range r.Sources {
			s := &r.Sources[i]
			if !slices.ContainsFunc(r.Sources[:i], func(o event.Source) bool { return o.Name == s.Name && o.Namespace == s.Namespace }) {
				c.datasets.Append(s.Namespace + "|" + s.Name)
			}
		}
		if ev.Type == event.RequestRecovered || r.Coverage == "partial" {
			c.datasets.Append("*")
		}
	}
	c.ends = append(c.ends, uint64(c.datasets.Len()))
}

func (c *eventColumns) reset() {
	c.id, c.subject, c.time, c.seq = c.id[:0], c.subject[:0], c.time[:0], c.seq[:0]
	clear(c.raw) // they hold the log's memory
	c.governance, c.raw, c.digest = c.governance[:0], c.raw[:0], c.digest[:0]
	c.partition, c.offset, c.recorded, c.ends = c.partition[:0], c.offset[:0], c.recorded[:0], c.ends[:0]
	for _, d := range []*clickhouse.Dictionary{&c.kind, &c.class, &c.writer, &c.topic, &c.datasets} {
		d.Reset()
	}
}

func (c *eventColumns) columns() []clickhouse.Column {
	return []clickhouse.Column{
		{Name: "event_id", Data: c.id}, {Name: "type", Data: &c.kind}, {Name: "subject", Data: c.subject}, {Name: "time", Data: c.time},
		{Name: "retention_class", Data: &c.class}, {Name: "writer", Data: &c.writer}, {Name: "seq", Data: c.seq}, {Name: "governance", Data: c.governance},
		{Name: "datasets", Data: clickhouse.Array{Ends: c.ends, Values: &c.datasets}},
		{Name: "raw", Data: c.raw}, {Name: "digest", Data: c.digest}, {Name: "topic", Data: &c.topic}, {Name: "partition", Data: c.partition},
		{Name: "offset", Data: c.offset}, {Name: "recorded_seq", Data: c.recorded},
	}
}

// chargeColumns are rows of the table charges in the making.
type chargeColumns struct {
	id, event                                               [][16]byte
	attempt                                                 []uint8
	class                                                   clickhouse.Dictionary
	restatement                                             []uint32
	sign                                                    []int8
	time                                                    []int64
	period                                                  []uint32
	retention, businessUnit, team, project                  clickhouse.Dictionary
	user                                                    []string
	application, useCase, provider, endpoint, region, model clickhouse.Dictionary
	tier, workload, source                                  clickhouse.Dictionary
	calls                                                   []int8
	quantity, rate                                          clickhouse.NullInt64
	price                                                   clickhouse.Dictionary
	cost                                                    clickhouse.Decimals
	status, book                                            clickhouse.Dictionary
	governance                                              [][32]byte
	derivation                                              []uint16
	recorded                                                []uint64
}

func (c *chargeColumns) add(e *Entry, seq uint64) {
	c.id, c.event = append(c.id, e.ID), append(c.event, e.Event)
	c.attempt = append(c.attempt, e.Attempt)
	c.class.Append(e.Class)
	c.restatement, c.sign = append(c.restatement, e.Restatement), append(c.sign, e.Sign)
	c.time, c.period = append(c.time, int64(e.Time)), append(c.period, e.Period)
	c.retention.Append(e.RetentionClass)
	c.businessUnit.Append(e.BusinessUnit)
	c.team.Append(e.Team)
	c.project.Append(e.Project)
	c.user = append(c.user, e.User)
	c.application.Append(e.Application)
	c.useCase.Append(e.UseCase)
	c.provider.Append(e.Provider)
	c.endpoint.Append(e.Endpoint)
	c.region.Append(e.Region)
	c.model.Append(e.Model)
	c.tier.Append(e.Tier)
	c.workload.Append(e.Workload)
	c.source.Append(e.UsageSource)
	c.calls = append(c.calls, e.Calls)
	c.quantity.Values, c.quantity.Null = append(c.quantity.Values, e.Quantity.Value), append(c.quantity.Null, !e.Quantity.Known)
	c.rate.Values, c.rate.Null = append(c.rate.Values, e.Rate.Value), append(c.rate.Null, !e.Rate.Known)
	c.price.Append(e.PriceID)
	c.cost.Pico, c.cost.Null = append(c.cost.Pico, e.Cost.Value), append(c.cost.Null, !e.Cost.Known)
	c.status.Append(e.Status)
	c.book.Append(e.PriceBook)
	c.governance = append(c.governance, e.Governance)
	c.derivation = append(c.derivation, e.Derivation)
	c.recorded = append(c.recorded, seq)
}

func (c *chargeColumns) reset() {
	c.id, c.event, c.attempt = c.id[:0], c.event[:0], c.attempt[:0]
	c.restatement, c.sign, c.time, c.period = c.restatement[:0], c.sign[:0], c.time[:0], c.period[:0]
	clear(c.user)
	c.user, c.calls, c.governance, c.derivation, c.recorded = c.user[:0], c.calls[:0], c.governance[:0], c.derivation[:0], c.recorded[:0]
	for _, n := range []*clickhouse.NullInt64{&c.quantity, &c.rate} {
		n.Values, n.Null = n.Values[:0], n.Null[:0]
	}
	c.cost.Pico, c.cost.Null = c.cost.Pico[:0], c.cost.Null[:0]
	for _, d := range []*clickhouse.Dictionary{
		&c.class, &c.retention, &c.businessUnit, &c.team, &c.project, &c.application, &c.useCase, &c.provider, &c.endpoint, &c.region, &c.model,
		&c.tier, &c.workload, &c.source, &c.price, &c.status, &c.book,
	} {
		d.Reset()
	}
}

func (c *chargeColumns) columns() []clickhouse.Column {
	return []clickhouse.Column{
		{Name: "entry_id", Data: c.id}, {Name: "event_id", Data: c.event}, {Name: "attempt", Data: c.attempt}, {Name: "class", Data: &c.class},
		{Name: "restatement", Data: c.restatement}, {Name: "sign", Data: c.sign}, {Name: "charge_time", Data: c.time}, {Name: "posting_period", Data: c.period},
		{Name: "retention_class", Data: &c.retention}, {Name: "business_unit", Data: &c.businessUnit}, {Name: "team", Data: &c.team},
		{Name: "project", Data: &c.project}, {Name: "user", Data: c.user}, {Name: "application", Data: &c.application}, {Name: "use_case", Data: &c.useCase},
		{Name: "provider", Data: &c.provider}, {Name: "endpoint", Data: &c.endpoint}, {Name: "region", Data: &c.region}, {Name: "model", Data: &c.model},
		{Name: "tier", Data: &c.tier}, {Name: "workload", Data: &c.workload}, {Name: "usage_source", Data: &c.source}, {Name: "calls", Data: c.calls},
		{Name: "quantity", Data: c.quantity}, {Name: "rate", Data: c.rate}, {Name: "price_id", Data: &c.price}, {Name: "cost", Data: c.cost},
		{Name: "cost_status", Data: &c.status}, {Name: "price_book", Data: &c.book}, {Name: "governance", Data: c.governance},
		{Name: "derivation", Data: c.derivation}, {Name: "recorded_seq", Data: c.recorded},
	}
}
