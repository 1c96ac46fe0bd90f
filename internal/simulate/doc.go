// Package simulate is an LLM provider of our own making, and the client that
// loads one.
//
// [Provider] speaks the wire formats of OpenAI (chat completions, responses,
// embeddings) and Anthropic (messages), streamed and not, closely enough that
// the providers' own SDKs work unmodified. What it answers is dictated per
// request, by headers or by a [Scenario]: usage, model, tier, length, latency
// and faults. It counts what it served, so that the books of whoever sat in
// front of it can be compared with its own.
//
// [Load] sends calls as fast as asked and reports for each whether it was
// answered, and exact latency quantiles.
//
// Both share a machine with the program under test, so both are a small
// HTTP/1.1 loop over plain connections instead of net/http: they read and
// write what these formats need, and strictness is not their job.
//
// # Dictation
//
// A request dictates its own answer with these headers, all optional:
//
//	Simulate-Usage: in=4808,out=10,cache_read=0,…   see [Usage]
//	Simulate-Omit-Usage: 1                          leave the usage out
//	Simulate-Fault: status=429,retry_after=1        see [Fault]
//	Simulate-Latency: first=20ms,chunk=5ms          before the first byte; before each further content chunk
//	Simulate-Chunks: 50                             content chunks of a stream (default 10)
//	Simulate-Answer-Bytes: 1500                     bytes of text in the answer (default 400)
//	Simulate-Write: 4096                            bytes per write to the connection, wherever events begin or end
//	                                                (default: a write per event of a stream, one per body)
//	Simulate-Tier: flex                             service tier served
//	Simulate-Model: gpt-5-mini-2025-08-07           model served
//	Simulate-Endpoint: primary                      endpoint this request plays at, see below
//	Simulate-Call: 17                               names a call, for a fault's times=
//
// A stream's head tells when it began (Simulate-Began, Unix nanoseconds), so
// that a client with the same clock knows how long its first byte travelled.
//
// A header that cannot be read is answered with 400 and says what is wrong.
//
// # Endpoints
//
// One provider can play several endpoints. A request's endpoint is the value
// of Simulate-Endpoint, else what stands before /v1 in the path
// (/primary/v1/messages is the endpoint "primary"), else the name the listener
// was served under.
//
// # Its own paths
//
//	GET  /__simulate/stats      [Stats] as JSON
//	POST /__simulate/reset      forget all counts and kept requests
//	GET  /__simulate/requests   kept requests as NDJSON ([Request]); ?id= &endpoint= &model= &status= narrow it
//
// They need no key and are not counted.
package simulate
