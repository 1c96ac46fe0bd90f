package event

import "errors"

// ErrInvalid says that bytes are not an event, or not an intent, of this
// format. The errors that wrap it say what and where, never a value.
var ErrInvalid = errors.New("invalid event")
