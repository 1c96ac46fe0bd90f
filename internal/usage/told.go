package usage

import "slices"

// told is what the objects of one usage say, before it is put into classes.
type told struct {
	n                [fields]int64 // -1 when not told
	tier, speed, geo string
	counters         []Counter
	foreign          bool   // usage.iterations lists work that the totals leave out
	seen             uint32 // fields of the object being read
}

// field is one count of a usage object.
type field int

const (
	input  field = iota
	output       // as told, with or without reasoning
	total
	cached    // read from the cache
	written   // written to the cache, all times to live
	written5m // of these, kept for 5 minutes
	written1h
	hit  // the cache as DeepSeek and Moonshot tell it
	miss // DeepSeek: input that is not a hit
	audioIn
	imageIn
	cachedAudio // of the cached
	cachedImage
	audioOut
	reasoning
	fields
)

// read reads an object, or an array of the objects of a stream.
func (t *told) read(format string, raw []byte) error {
	for i := range t.n {
		t.n[i] = -1
	}
	s := scanner{raw: raw}
	if s.peek() != '[' {
		t.object(format, &s)
	} else {
		s.i++
		for n := 0; s.more(n, ']'); n++ {
			t.seen = 0
			t.object(format, &s)
		}
	}
	if s.peek(); s.err == nil && s.i < len(raw) {
		s.fail("more than one value")
	}
	if s.err != nil {
		return s.err
	}
	for _, n := range t.n {
		if n >= 0 {
			return nil
		}
	}
	return ErrMissing
}

func (t *told) object(format string, s *scanner) {
	switch format {
	case openaiChat, openaiEmbeddings:
		t.chat(s)
	case openaiResponses:
		t.responses(s)
	case anthropicMessages:
		t.messages(s)
	}
}

// count reads a count into its field. A later object of the stream overrides
// an earlier one; twice in one object is ambiguous and refused.
func (t *told) count(s *scanner, f field) {
	if t.seen&(1<<f) != 0 {
		s.fail("count told twice")
		return
	}
	t.seen |= 1 << f
	if n := s.count(); n >= 0 {
		t.n[f] = n
	}
}

func (t *told) text(s *scanner, into *string) {
	if !s.null() {
		*into = string(s.text())
	}
}

// chat reads the usage of OpenAI chat completions and embeddings.
func (t *told) chat(s *scanner) {
	if !s.open('{') {
		return
	}
	for n := 0; s.more(n, '}'); n++ {
		switch string(s.key()) {
		case "prompt_tokens":
			t.count(s, input)
		case "completion_tokens":
			t.count(s, output)
		case "total_tokens":
			t.count(s, total)
		case "prompt_tokens_details":
			t.details(s, audioIn)
		case "completion_tokens_details":
			t.details(s, audioOut)
		case "prompt_cache_hit_tokens", "cached_tokens":
			t.count(s, hit)
		case "prompt_cache_miss_tokens":
			t.count(s, miss)
		default:
			s.skip(1)
		}
	}
}

// responses reads the usage of OpenAI responses.
func (t *told) responses(s *scanner) {
	if !s.open('{') {
		return
	}
	for n := 0; s.more(n, '}'); n++ {
		switch string(s.key()) {
		case "input_tokens":
			t.count(s, input)
		case "output_tokens":
			t.count(s, output)
		case "total_tokens":
			t.count(s, total)
		case "input_tokens_details":
			t.details(s, audioIn)
		case "output_tokens_details":
			t.details(s, audioOut)
		default:
			s.skip(1)
		}
	}
}

// details reads what a total is made of. Audio is the field for audio_tokens,
// which tells input and output apart.
func (t *told) details(s *scanner, audio field) {
	if !s.open('{') {
		return
	}
	for n := 0; s.more(n, '}'); n++ {
		switch key := string(s.key()); {
		case key == "audio_tokens":
			t.count(s, audio)
		case key == "reasoning_tokens" && audio == audioOut:
			t.count(s, reasoning)
		case audio == audioOut:
			s.skip(1)
		case key == "cached_tokens":
			t.count(s, cached)
		case key == "cache_write_tokens":
			t.count(s, written)
		case key == "image_tokens":
			t.count(s, imageIn)
		case key == "cached_tokens_details":
			t.cachedDetails(s)
		default:
			s.skip(1)
		}
	}
}

func (t *told) cachedDetails(s *scanner) {
	if !s.open('{') {
		return
	}
	for n := 0; s.more(n, '}'); n++ {
		switch string(s.key()) {
		case "audio_tokens":
			t.count(s, cachedAudio)
		case "image_tokens":
			t.count(s, cachedImage)
		default:
			s.skip(1)
		}
	}
}

// messages reads the usage of Anthropic messages.
func (t *told) messages(s *scanner) {
	if !s.open('{') {
		return
	}
	for n := 0; s.more(n, '}'); n++ {
		switch string(s.key()) {
		case "input_tokens":
			t.count(s, input)
		case "output_tokens":
			t.count(s, output)
		case "cache_read_input_tokens":
			t.count(s, cached)
		case "cache_creation_input_tokens":
			t.count(s, written)
		case "cache_creation":
			t.cacheCreation(s)
		case "output_tokens_details":
			t.thinking(s)
		case "server_tool_use":
			t.serverTools(s)
		case "iterations":
			t.iterations(s)
		case "service_tier":
			t.text(s, &t.tier)
		case "speed":
			t.text(s, &t.speed)
		case "inference_geo":
			t.text(s, &t.geo)
		default:
			s.skip(1)
		}
	}
}

func (t *told) cacheCreation(s *scanner) {
	if !s.open('{') {
		return
	}
	for n := 0; s.more(n, '}'); n++ {
		switch string(s.key()) {
		case "ephemeral_5m_input_tokens":
			t.count(s, written5m)
		case "ephemeral_1h_input_tokens":
			t.count(s, written1h)
		default:
			s.skip(1) // a time to live we do not know stays in CacheWrite
		}
	}
}

func (t *told) thinking(s *scanner) {
	if !s.open('{') {
		return
	}
	for n := 0; s.more(n, '}'); n++ {
		switch string(s.key()) {
		case "thinking_tokens":
			t.count(s, reasoning)
		default:
			s.skip(1)
		}
	}
}

// serverTools reads quantities that are billed but are not tokens, whatever
// their names.
func (t *told) serverTools(s *scanner) {
	if !s.open('{') {
		return
	}
	for n := 0; s.more(n, '}'); n++ {
		name := s.key()
		if c := s.peek(); c != '-' && c-'0' > 9 {
			s.skip(1)
		} else if count := s.count(); count > 0 && s.err == nil {
			t.counter(s, string(name), count)
		}
	}
}

// counter keeps a quantity. Its name will stand where a class stands, so it
// must be a plain word and none of the classes.
func (t *told) counter(s *scanner, name string, count int64) {
	for i := range t.counters {
		if t.counters[i].Name == name {
			t.counters[i].Count = count
			return
		}
	}
	if !word(name) || slices.Contains(classes[:], Class(name)) || len(t.counters) == maxCounters {
		s.fail("counter that cannot be kept")
		return
	}
	t.counters = append(t.counters, Counter{name, count})
}

const maxCounters = 16

// word reports whether s is 1 to 64 of a-z, 0-9 and _.
func word(s string) bool {
	for _, c := range []byte(s) {
		if c != '_' && c-'0' > 9 && c-'a' > 25 {
			return false
		}
	}
	return s != "" && len(s) <= 64
}

// iterations looks for work that is billed but not in the totals: a compaction
// of the context, an advisor, another model that stepped in. Only iterations
// of type "message" are in them.
func (t *told) iterations(s *scanner) {
	if !s.open('[') {
		return
	}
	for n := 0; s.more(n, ']'); n++ {
		if !s.open('{') {
			continue
		}
		kind := ""
		for m := 0; s.more(m, '}'); m++ {
			switch string(s.key()) {
			case "type":
				t.text(s, &kind)
			default:
				s.skip(1)
			}
		}
		t.foreign = t.foreign || kind != "message"
	}
}
