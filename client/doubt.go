package client

import (
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/note"
)

// A Doubt is why what a client remembers of a log and what the log shows do not fit.
type Doubt string

// The doubts. None is a proof against the log: a [SplitView] is.
const (
	DoubtDamaged  Doubt = "damaged"   // what is remembered cannot be read, or carries a wrong signature
	DoubtOtherKey Doubt = "other-key" // it is signed by none of the policy's keys: the log's key changed, the log was made anew, or the policy is of another log
	DoubtUnproven Doubt = "unproven"  // the log cannot show that its tree and the remembered one are of one history: it was made anew or restored, or serves wrong tiles
)

// A HistoryError says that a client stopped, because it cannot tell whether the log goes on from
// what it showed before.
type HistoryError struct {
	Origin string
	Name   string // of what is remembered, for people: a file
	Doubt  Doubt
	Seen   uint64 // size of the remembered tree; 0 where it cannot be read
	Now    uint64 // size of the tree that the log shows
	Err    error
}

func (e *HistoryError) Error() string {
	switch e.Doubt {
	case DoubtDamaged:
		return fmt.Sprintf("what is remembered of log %q, in %s, is damaged: %s", e.Origin, e.Name, e.Err)
	case DoubtOtherKey:
		return fmt.Sprintf("what is remembered of log %q, in %s, is signed by no key of the policy: %s", e.Origin, e.Name, e.Err)
	}
	return fmt.Sprintf("log %q shows a tree of size %d, and cannot show that it goes on from size %d, which is remembered in %s: %s", e.Origin, e.Now, e.Seen, e.Name, e.Err)
}

// Unwrap returns the cause.
func (e *HistoryError) Unwrap() error { return e.Err }

// ErrDamaged is wrapped by the error of a store that holds something for an origin which cannot be
// a checkpoint.
var ErrDamaged = errors.New("no checkpoint")

// doubt makes a HistoryError of what a store or a log answered; an error that may pass by itself
// stays as it is.
func (c *Client) doubt(seen, now *Checkpoint, err error) error {
	e := &HistoryError{Origin: now.Origin, Name: c.Store.Name(now.Origin), Now: now.Size, Err: err}
	if seen != nil {
		e.Seen = seen.Size
	}
	switch {
	case errors.As(err, new(*SplitView)) || Temporary(err):
		return err
	case seen != nil:
		e.Doubt = DoubtUnproven
	case errors.As(err, new(*note.UnverifiedNoteError)):
		e.Doubt = DoubtOtherKey
	default:
		e.Doubt = DoubtDamaged
	}
	return e
}
