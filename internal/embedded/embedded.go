// Package embedded runs Ledgerline's two engines on the user's own machine without an installation: ClickHouse (the pinned
// library libchdb.so) and a Kafka-protocol broker (kfake, with its log on disk). They are the engines that stand behind the
// pipeline when no outside ones are named; the pipeline's code is the same for both.
//
// Each engine is a child process, so that it can be killed and come back alone: the child is watched and started again on the
// same port, and whoever uses it only sees a connection that fails for a moment and retries. A child lives as long as its
// standard input is open; it ends by itself when the parent ends, also by kill -9.
//
// An engine folder (mode 0700) holds:
//
//	owner.lock    flock held by the parent; its text is the parent's process id
//	child.lock    flock held by the child; its text is the child's process id
//	engine.json   ports and credentials, made at the first start, kept since; mode 0600
//	engine.log    what the child wrote to its standard error
//	data/         the engine's own files
//
// The child is the calling program itself, started with a hidden first argument: main calls RunChildIfAsked first. Engines
// listen on loopback only and take only their own random credentials.
package embedded
