package ingest

import (
	"github.com/ledgerline/ledgerline/internal/clickhouse"
	"github.com/ledgerline/ledgerline/internal/event"
)

// texts are lists of texts in the making, one list a row.
type texts struct {
	ends   []uint64
	values []string
}

func (t *texts) end() { t.ends = append(t.ends, uint64(len(t.values))) }

func (t *texts) reset() {
	clear(t.values)
	t.ends, t.values = t.ends[:0], t.values[:0]
}

func (t *texts) array() clickhouse.Array { return clickhouse.Array{Ends: t.ends, Values: t.values} }

// requestColumns are rows of the table requests in the making.
type requestColumns struct {
	id                                                 [][16]byte
	kind                                               clickhouse.Dictionary
	time                                               []int64
	retention, format, operation                       clickhouse.Dictionary
	stream                                             []bool
	workload, model                                    clickhouse.Dictionary
	bodyBytes                                          []uint64
	bodyDigest, traceID, parentID                      []string
	keyID                                              clickhouse.Dictionary
	clientAddr                                         []string
	businessUnit, team, project                        clickhouse.Dictionary
	user                                               []string
	application, useCase                               clickhouse.Dictionary
	provenance                                         clickhouse.Dictionary // six a row
	provenanceEnds                                     []uint64
	conflict, sources                                  texts
	coverage, rule                                     clickhouse.Dictionary
	why                                                []string
	rejected                                           texts
	governance                                         [][32]byte
	commit                                             clickhouse.Dictionary
	attemptEnds                                        []uint64 // of all that follow
	endpoint, provider, region, requested, servedModel clickhouse.Dictionary
	attemptStatus                                      []uint16
	attemptError                                       clickhouse.Dictionary
	start                                              []int64
	attemptFirstByte, attemptLatency                   []uint64
	providerID                                         []string
	tier, source                                       clickhouse.Dictionary
	chunks                                             []uint32
	attemptBytes                                       []uint64
	status                                             []uint16
	code, finish                                       clickhouse.Dictionary
	served                                             []int8
	latency, firstByte                                 []uint64
	client, upstream                                   clickhouse.Dictionary
	answerBytes                                        []uint64
	answerDigest                                       []string
	input, output, reasoning                           clickhouse.NullUint64
	cost                                               clickhouse.Decimals
	costStatus                                         clickhouse.Dictionary
	derivation                                         []uint16
	restatement                                        []uint32
	recorded                                           []uint64
}

func (c *requestColumns) add(ev *event.Event, d *Derived, governance [32]byte, restatement uint32, seq uint64) {
	r := ev.Request
	c.id = append(c.id, ev.ID)
	c.kind.Append(string(ev.Type))
	c.time = append(c.time, int64(ev.Time))
	c.retention.Append(r.RetentionClass)
	c.format.Append(r.Call.Format)
	c.operation.Append(r.Call.Operation)
	c.stream = append(c.stream, r.Call.Stream)
	c.workload.Append(r.Call.Workload)
	c.model.Append(r.Call.Model)
	c.bodyBytes = append(c.bodyBytes, uint64(r.Call.BodyBytes))
	c.bodyDigest, c.traceID, c.parentID = append(c.bodyDigest, r.Call.BodyDigest), append(c.traceID, r.Call.TraceID), append(c.parentID, r.Call.ParentID)
	c.keyID.Append(r.Caller.KeyID)
	c.clientAddr = append(c.clientAddr, r.Caller.ClientAddr)
	c.businessUnit.Append(d.BusinessUnit)
	c.team.Append(d.Team)
	c.project.Append(d.Project)
	c.user = append(c.user, d.User)
	c.application.Append(d.Application)
	c.useCase.Append(d.UseCase)
	dimensions, derived := r.Attribution.All(), [6]string{d.BusinessUnit, d.Team, d.Project, d.User, d.Application, d.UseCase}
	conflict := false
	for i, v := range dimensions {
		if v.Value == "" && derived[i] != "" {
			c.provenance.Append(string(event.FromHierarchy))
		} else {
			c.provenance.Append(string(v.Provenance))
		}
		conflict = conflict || v.Conflict != ""
	}
	c.provenanceEnds = append(c.provenanceEnds, uint64(c.provenance.Len()))
	if conflict {
		for _, v := range dimensions {
			c.conflict.values = append(c.conflict.values, v.Conflict)
		}
	}
	c.conflict.end()
	for i := range r.Sources {
		s := &r.Sources[i]
		name := s.Namespace + "/" + s.Name
		if s.Version != "" {
			name += "@" + s.Version
		}
		c.sources.values = append(c.sources.values, name)
	}
	c.sources.end()
	c.coverage.Append(r.Coverage)
	c.rule.Append(r.Decision.Rule)
	c.why = append(c.why, r.Decision.Why)
	for _, v := range r.Decision.Rejected {
		c.rejected.values = append(c.rejected.values, v.Endpoint+": "+v.Why)
	}
	c.rejected.end()
	c.governance = append(c.governance, governance)
	c.commit.Append(r.Decision.Commit)
	for i := range r.Attempts {
		a := &r.Attempts[i]
		c.endpoint.Append(a.Endpoint)
		c.provider.Append(a.Provider)
		c.region.Append(a.Region)
		c.requested.Append(a.ModelRequested)
		c.servedModel.Append(a.ModelServed)
		c.attemptStatus = append(c.attemptStatus, uint16(a.Status))
		c.attemptError.Append(a.Error)
		c.start = append(c.start, int64(a.Start))
		c.attemptFirstByte = append(c.attemptFirstByte, since(a.Start, a.FirstByte))
		c.attemptLatency = append(c.attemptLatency, since(a.Start, a.End))
		c.providerID = append(c.providerID, a.ProviderID)
		c.tier.Append(a.Tier)
		c.source.Append(string(a.UsageSource))
		c.chunks = append(c.chunks, uint32(a.Chunks))
		c.attemptBytes = append(c.attemptBytes, uint64(a.Bytes))
	}
	c.attemptEnds = append(c.attemptEnds, uint64(len(c.start)))
	o := &r.Outcome
	c.status = append(c.status, uint16(o.Status))
	c.code.Append(o.Code)
	c.finish.Append(o.Finish)
	c.served = append(c.served, int8(o.Served))
	c.latency, c.firstByte = append(c.latency, uint64(o.Latency)), append(c.firstByte, uint64(o.FirstByte))
	c.client.Append(o.Client)
	c.upstream.Append(o.Upstream)
	c.answerBytes, c.answerDigest = append(c.answerBytes, uint64(o.AnswerBytes)), append(c.answerDigest, o.AnswerDigest)
	appendNull(&c.input, d.Input)
	appendNull(&c.output, d.Output)
	appendNull(&c.reasoning, d.Reasoning)
	c.cost.Pico, c.cost.Null = append(c.cost.Pico, d.Cost.Value), append(c.cost.Null, !d.Cost.Known)
	c.costStatus.Append(d.Status)
	c.derivation, c.restatement, c.recorded = append(c.derivation, Derivation), append(c.restatement, restatement), append(c.recorded, seq)
}

func appendNull(n *clickhouse.NullUint64, a Amount) {
	n.Values, n.Null = append(n.Values, uint64(a.Value)), append(n.Null, !a.Known)
}

// since is the microseconds from start to a later time; 0 when that did not come.
func since(start, later event.Micros) uint64 {
	if later <= start {
		return 0
	}
	return uint64(later - start)
}

func (c *requestColumns) reset() {
	for _, d := range []*clickhouse.Dictionary{
		&c.kind, &c.retention, &c.format, &c.operation, &c.workload, &c.model, &c.keyID, &c.businessUnit, &c.team, &c.project, &c.application, &c.useCase,
		&c.provenance, &c.coverage, &c.rule, &c.commit, &c.endpoint, &c.provider, &c.region, &c.requested, &c.servedModel, &c.attemptError, &c.tier,
		&c.source, &c.code, &c.finish, &c.client, &c.upstream, &c.costStatus,
	} {
		d.Reset()
	}
	for _, s := range []*[]string{&c.bodyDigest, &c.traceID, &c.parentID, &c.clientAddr, &c.user, &c.why, &c.providerID, &c.answerDigest} {
		clear(*s)
		*s = (*s)[:0]
	}
	for _, n := range []*[]uint64{
		&c.bodyBytes, &c.provenanceEnds, &c.attemptEnds, &c.attemptFirstByte, &c.attemptLatency, &c.attemptBytes, &c.latency, &c.firstByte, &c.answerBytes, &c.recorded,
	} {
		*n = (*n)[:0]
	}
	for _, n := range []*clickhouse.NullUint64{&c.input, &c.output, &c.reasoning} {
		n.Values, n.Null = n.Values[:0], n.Null[:0]
	}
	for _, t := range []*texts{&c.conflict, &c.sources, &c.rejected} {
		t.reset()
	}
	c.id, c.governance, c.time, c.start, c.stream = c.id[:0], c.governance[:0], c.time[:0], c.start[:0], c.stream[:0]
	c.attemptStatus, c.status, c.chunks, c.served = c.attemptStatus[:0], c.status[:0], c.chunks[:0], c.served[:0]
	c.cost.Pico, c.cost.Null = c.cost.Pico[:0], c.cost.Null[:0]
	c.derivation, c.restatement = c.derivation[:0], c.restatement[:0]
}

func (c *requestColumns) columns() []clickhouse.Column {
	attempts := func(values any) clickhouse.Array { return clickhouse.Array{Ends: c.attemptEnds, Values: values} }
	return []clickhouse.Column{
		{Name: "event_id", Data: c.id}, {Name: "type", Data: &c.kind}, {Name: "time", Data: c.time}, {Name: "retention_class", Data: &c.retention},
		{Name: "format", Data: &c.format}, {Name: "operation", Data: &c.operation}, {Name: "stream", Data: c.stream}, {Name: "workload", Data: &c.workload},
		{Name: "model_asked", Data: &c.model}, {Name: "body_bytes", Data: c.bodyBytes}, {Name: "body_digest", Data: c.bodyDigest},
		{Name: "trace_id", Data: c.traceID}, {Name: "parent_id", Data: c.parentID}, {Name: "key_id", Data: &c.keyID}, {Name: "client_addr", Data: c.clientAddr},
		{Name: "business_unit", Data: &c.businessUnit}, {Name: "team", Data: &c.team}, {Name: "project", Data: &c.project}, {Name: "user", Data: c.user},
		{Name: "application", Data: &c.application}, {Name: "use_case", Data: &c.useCase},
		{Name: "provenance", Data: clickhouse.Array{Ends: c.provenanceEnds, Values: &c.provenance}}, {Name: "conflict", Data: c.conflict.array()},
		{Name: "source_datasets", Data: c.sources.array()}, {Name: "coverage", Data: &c.coverage}, {Name: "rule", Data: &c.rule}, {Name: "why", Data: c.why},
		{Name: "rejected", Data: c.rejected.array()}, {Name: "governance", Data: c.governance}, {Name: "git_commit", Data: &c.commit},
		{Name: "attempt_endpoint", Data: attempts(&c.endpoint)}, {Name: "attempt_provider", Data: attempts(&c.provider)},
		{Name: "attempt_region", Data: attempts(&c.region)}, {Name: "attempt_model_requested", Data: attempts(&c.requested)},
		{Name: "attempt_model_served", Data: attempts(&c.servedModel)}, {Name: "attempt_status", Data: attempts(c.attemptStatus)},
		{Name: "attempt_error", Data: attempts(&c.attemptError)}, {Name: "attempt_start", Data: attempts(c.start)},
		{Name: "attempt_first_byte_us", Data: attempts(c.attemptFirstByte)}, {Name: "attempt_latency_us", Data: attempts(c.attemptLatency)},
		{Name: "attempt_provider_id", Data: attempts(c.providerID)}, {Name: "attempt_tier", Data: attempts(&c.tier)},
		{Name: "attempt_usage_source", Data: attempts(&c.source)}, {Name: "attempt_chunks", Data: attempts(c.chunks)}, {Name: "attempt_bytes", Data: attempts(c.attemptBytes)},
		{Name: "status", Data: c.status}, {Name: "code", Data: &c.code}, {Name: "finish", Data: &c.finish}, {Name: "served", Data: c.served},
		{Name: "latency_us", Data: c.latency}, {Name: "first_byte_us", Data: c.firstByte}, {Name: "client", Data: &c.client}, {Name: "upstream", Data: &c.upstream},
		{Name: "answer_bytes", Data: c.answerBytes}, {Name: "answer_digest", Data: c.answerDigest},
		{Name: "input_tokens", Data: c.input}, {Name: "output_tokens", Data: c.output}, {Name: "reasoning_tokens", Data: c.reasoning},
		{Name: "cost", Data: c.cost}, {Name: "cost_status", Data: &c.costStatus},
		{Name: "derivation", Data: c.derivation}, {Name: "restatement", Data: c.restatement}, {Name: "recorded_seq", Data: c.recorded},
	}
}
