package usage

// openai puts totals that include their parts into classes.
func (t *told) openai(embeddings bool) Usage {
	n := &t.n
	u := Usage{Lines: make([]Line, 0, 6), Total: n[total], Reasoning: n[reasoning]}
	if n[input] < 0 && n[hit] >= 0 && n[miss] >= 0 {
		n[input] = n[hit] + n[miss]
	}
	if embeddings && n[input] < 0 && n[output] <= 0 {
		n[input] = n[total] // Voyage tells the total only; an embedding has no output tokens
	}
	if n[hit] >= 0 {
		if n[cached] < 0 {
			n[cached] = n[hit]
		}
		if n[cached] != n[hit] || n[miss] >= 0 && n[hit]+n[miss] != n[input] {
			u.flag("cache hits and misses contradict the input")
		}
	}

	u.Input, u.Output = n[input], n[output]
	if u.Input >= 0 {
		// The parts are cut to what is left of the total: the lines of a usage
		// that contradicts itself are never negative and never exceed it.
		rest := u.Input
		part := func(tokens int64) int64 {
			if tokens > rest {
				u.flag("the parts of the input exceed it")
				tokens = rest
			}
			rest -= max(tokens, 0)
			return tokens
		}
		read := part(n[cached])
		wrote := part(n[written])
		audio := part(uncached(n[audioIn], n[cachedAudio]))
		image := part(uncached(n[imageIn], n[cachedImage]))
		u.line(Input, rest)
		u.line(CacheRead, read)
		u.line(CacheWrite, wrote)
		u.line(InputAudio, audio)
		u.line(InputImage, image)
	} else {
		u.flag("the input total is not told")
	}

	if u.Output >= 0 {
		// Reasoning told beside the output, not inside it: xAI, and Gemini's
		// OpenAI-compatible endpoint. The total proves it.
		if u.Reasoning > 0 && u.Input >= 0 && u.Total == u.Input+u.Output+u.Reasoning {
			u.Output += u.Reasoning
		}
		audio := n[audioOut]
		if audio > u.Output {
			u.flag("the parts of the output exceed it")
			audio = u.Output
		}
		u.line(Output, u.Output-max(audio, 0))
		u.line(OutputAudio, audio)
	} else if !embeddings {
		u.flag("the output total is not told")
	}
	if u.Reasoning > u.Output {
		u.flag("reasoning exceeds the output")
	}
	if u.Total >= 0 && u.Input >= 0 && u.Total != u.Input+max(u.Output, 0) {
		u.flag("the total is not input plus output")
	}
	return u
}

// anthropic puts counts that are disjoint already into classes.
func (t *told) anthropic() Usage {
	n := &t.n
	u := Usage{
		Lines: make([]Line, 0, 6), Counters: t.counters,
		Input: -1, Output: n[output], Total: -1, Reasoning: n[reasoning], Tier: t.tier, Geo: t.geo,
	}
	if t.speed != "" && t.speed != "standard" {
		u.Tier = t.speed
	}
	split := max(n[written5m], 0) + max(n[written1h], 0)
	if n[written] >= 0 && split > n[written] {
		u.flag("the split of the cache writes exceeds them")
	}
	if n[input] >= 0 {
		u.Input = n[input] + max(n[cached], 0) + max(n[written], split)
	} else {
		u.flag("the input total is not told")
	}
	u.line(Input, n[input])
	u.line(CacheRead, n[cached])
	u.line(CacheWrite5m, n[written5m])
	u.line(CacheWrite1h, n[written1h])
	if rest := n[written] - split; rest > 0 || n[written] == 0 && n[written5m] < 0 && n[written1h] < 0 {
		u.line(CacheWrite, rest)
	}
	u.line(Output, n[output])
	if n[output] < 0 {
		u.flag("the output total is not told")
	}
	if u.Reasoning > u.Output {
		u.flag("reasoning exceeds the output")
	}
	if t.foreign {
		u.flag("iterations of other kinds or models are not in the totals")
	}
	return u
}

// line adds a count that was told.
func (u *Usage) line(c Class, tokens int64) {
	if tokens >= 0 {
		u.Lines = append(u.Lines, Line{c, tokens})
	}
}

// flag keeps the first contradiction found.
func (u *Usage) flag(why string) {
	if u.Inconsistent == "" {
		u.Inconsistent = why
	}
}

// uncached takes the cached part out of a count, where both are told.
func uncached(tokens, cached int64) int64 {
	if tokens < 0 {
		return tokens
	}
	return max(tokens-max(cached, 0), 0)
}
