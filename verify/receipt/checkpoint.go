package receipt

import (
	"time"

	"github.com/poclog/poclog/verify/tlogpolicy"
)

// A Bound is a time that a quorum of cosignatures proves, or why there is none.
type Bound struct {
	Known bool      `json:"known"`
	Time  time.Time `json:"time,omitzero"`
	Why   string    `json:"why,omitempty"` // where it is not known
}

const noWitnesses = "the policy's quorum names no witness: there is an order, no time"

// NotBefore says when the quorum had signed a checkpoint at the earliest: whatever holds it was
// made after that.
func NotBefore(v *tlogpolicy.View) Bound { return boundOf(v.NotBefore()) }

// NotAfter says by when the quorum had signed a checkpoint: whatever is in its tree was made before
// that.
func NotAfter(v *tlogpolicy.View) Bound { return boundOf(v.NotAfter()) }

func boundOf(t time.Time, ok bool) Bound {
	if !ok {
		return Bound{Why: noWitnesses}
	}
	return Bound{Known: true, Time: t.UTC()}
}

// earliest returns the earlier of two upper bounds: both hold.
func earliest(a, b Bound) Bound {
	if !a.Known || b.Known && b.Time.Before(a.Time) {
		return b
	}
	return a
}
