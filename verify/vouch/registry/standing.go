package registry

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
)

// lastTime is the greatest time that a file can have: a log can say that it logged a freeze then.
var lastTime = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)

// freezeTime is how long a freeze lasts.
const freezeTime = 14 * 24 * time.Hour

// MaxGap is how many serials a log lets a statement pass over: a few members who may freeze must
// not use up the serials of all.
const MaxGap = 1000

// A History is what a registrar stated of one subject so far, in the log's order. The zero value is
// that of no statements.
type History struct {
	serial uint32
	last   time.Time // when the last of them was logged
	// frozen: a freeze is the last of freeze, thaw and endorse. A freeze after it renews: else a
	// minority could freeze for ever.
	frozen  bool
	endorse []endorsement
	freeze  time.Time // when the freeze was logged, while frozen
	moves   []announcement
	commit  *poclog.Statement
}

type endorsement struct {
	*poclog.Statement
	digest  poclog.Digest
	revoked *poclog.Statement
}

type announcement struct {
	*poclog.Statement
	logged time.Time // zero: nobody but the log says when
}

// Last is when the last statement was logged, or zero.
func (h *History) Last() time.Time { return h.last }

// Serial is the registrar's last on the subject, or 0.
func (h *History) Serial() uint32 { return h.serial }

// Admits refuses a statement that may not come next, whoever signs it: its serial was used, or what
// it revokes or thaws is not there.
func (h *History) Admits(s *poclog.Statement) error {
	switch {
	case s.Serial <= h.serial:
		return verify.Failf(CheckSerial, "serial %d on %s: the registrar's last is %d, want %d or more", s.Serial, subjectOf(s), h.serial, uint64(h.serial)+1)
	case s.Type == poclog.Thaw && !h.frozen:
		return verify.Failf(CheckSubject, "%s is not frozen by %q", s.Subject, s.Registrar)
	case s.Type != poclog.Revoke:
		return nil
	}
	if len(h.revoking(s)) == 0 {
		what := "every endorsement"
		if s.Of != nil {
			what = "statement " + s.Of.String()
		}
		return verify.Failf(CheckSubject, "it revokes %s of %q on %s, and there is none in force", what, s.Registrar, s.Subject)
	}
	return nil
}

func subjectOf(s *poclog.Statement) string {
	if s.Type == poclog.Commit {
		return "commitments"
	}
	return string(s.Subject)
}

// revoking returns which endorsements a revocation is of.
func (h *History) revoking(s *poclog.Statement) (list []int) {
	for i, e := range h.endorse {
		if e.revoked == nil && (s.Of == nil || *s.Of == e.digest) {
			list = append(list, i)
		}
	}
	return list
}

// Add takes a statement that was admitted, and the time at which it was logged. It returns the
// digest of the statement's file.
func (h *History) Add(s *poclog.Statement, logged time.Time) (digest poclog.Digest, err error) {
	file, err := s.Marshal()
	if err != nil {
		return digest, fmt.Errorf("take statement: %w", err)
	}
	digest = poclog.Sum(file)
	h.serial, h.last = s.Serial, logged
	switch s.Type {
	case poclog.Endorse:
		h.endorse, h.frozen = append(h.endorse, endorsement{Statement: s, digest: digest}), false
	case poclog.Revoke:
		for _, i := range h.revoking(s) {
			h.endorse[i].revoked = s
		}
	case poclog.Move:
		h.moves = append(h.moves, announcement{s, logged})
	case poclog.Freeze:
		h.frozen, h.freeze = true, logged
	case poclog.Thaw:
		h.frozen = false
	case poclog.Commit:
		h.commit = s
	}
	return digest, nil
}

// A Stated is a statement where it stands in a log.
type Stated struct {
	Number   uint64
	Logged   time.Time // when it was in the log, at the latest; without a time of witnesses, when the log says that it took it
	Bounded  bool      // Logged is a time of witnesses
	Envelope *poclog.StatementEnvelope
}

// A Standing is what one registrar says of a subject at a time. Its JSON is a stable schema. All
// texts are the registrar's words.
type Standing struct {
	Registrar string     `json:"registrar"`
	Endorsed  bool       `json:"endorsed"` // an endorsement is in force, and the subject is not frozen
	Level     uint32     `json:"level,omitempty"`
	Label     string     `json:"label,omitempty"`
	Until     *time.Time `json:"until,omitempty"`        // of the endorsement
	Revoked   *time.Time `json:"revoked,omitempty"`      // since when the newest endorsement is revoked
	Reason    string     `json:"reason,omitempty"`       // of the revocation
	Frozen    *time.Time `json:"frozen_until,omitempty"` // under investigation until then

	history *History
}

// Of returns what each registrar of the list says of a subject, in the tree of a size and at a
// time, ascending by name. Registrars who said nothing that counts are left out. Statements of
// others, for another log, of another subject, with too few signatures or out of order count for
// nothing.
func (r *Registrars) Of(list []Stated, origin string, subject poclog.Identity, size uint64, now time.Time) []Standing {
	var out []Standing
	for _, name := range r.Names() {
		if h := r.replay(list, origin, name, subject, size); h.serial > 0 {
			out = append(out, h.standing(name, now))
		}
	}
	return out
}

// Commitment returns a registrar's newest commitment in the tree of a size, or nil.
func (r *Registrars) Commitment(list []Stated, origin, name string, size uint64) *poclog.Statement {
	return r.replay(list, origin, name, "", size).commit
}

// replay takes the statements of a registrar on a subject in the log's order.
func (r *Registrars) replay(list []Stated, origin, name string, subject poclog.Identity, size uint64) *History {
	h, by := new(History), r.list[name]
	if by == nil {
		return h
	}
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b Stated) int { return cmp.Compare(a.Number, b.Number) })
	for _, x := range list {
		s := &x.Envelope.Statement
		if x.Number >= size || s.Origin != origin || s.Registrar != name || s.Subject != subject {
			continue
		}
		if h.Admits(s) == nil && by.counts(x.Envelope, h.frozen) {
			_, _ = h.Add(s, x.Logged) // it was parsed, so that it can be written
			if n := len(h.moves); s.Type == poclog.Move && !x.Bounded {
				h.moves[n-1].logged = time.Time{}
			}
		}
	}
	return h
}

// inForce returns the newest endorsement whose span a time is in, or nil.
func (h *History) inForce(at time.Time) *endorsement {
	for i := len(h.endorse) - 1; i >= 0; i-- {
		if e := &h.endorse[i]; !at.Before(e.From) && at.Before(e.Until) {
			return e
		}
	}
	return nil
}

func (h *History) standing(name string, now time.Time) Standing {
	s := Standing{Registrar: name, history: h}
	if until := h.freeze.Add(freezeTime); h.frozen && now.Before(until) {
		until = verify.Earlier(until, lastTime)
		s.Frozen = &until
	}
	e := h.inForce(now)
	if e == nil {
		return s
	}
	s.Level, s.Label, s.Until = e.Level, e.Label, &e.Until
	if e.revoked != nil {
		s.Revoked, s.Reason = &e.revoked.Since, e.revoked.Reason
	}
	s.Endorsed = s.Revoked == nil && s.Frozen == nil
	return s
}

// Objects is why the registrar objects to a proof that was made before a time (zero: nobody says
// before when), or nil: it investigates the subject, or it revoked its newest endorsement, or the
// one that was in force, and the proof was not certainly made before. A registrar that never
// endorsed the subject may freeze, too.
func (s *Standing) Objects(t2, now time.Time) error {
	if s.Frozen != nil {
		return fmt.Errorf("%s: under investigation until %s", s.Registrar, verify.Stamp(*s.Frozen))
	}
	h := s.history
	if n := len(h.endorse); n > 0 {
		if err := h.endorse[n-1].stillGood(s.Registrar, t2); err != nil {
			return err
		}
	}
	return h.inForce(heldAt(t2, now)).stillGood(s.Registrar, t2)
}

// stillGood is why an endorsement no longer counts for a proof, or nil.
func (e *endorsement) stillGood(registrar string, t2 time.Time) error {
	switch {
	case e == nil || e.revoked == nil:
		return nil
	case t2.IsZero():
		return fmt.Errorf("%s: revoked since %s, and nothing says when the proof was made", registrar, verify.Stamp(e.revoked.Since))
	case !t2.Add(verify.MaxSkew).Before(e.revoked.Since):
		return fmt.Errorf("%s: revoked since %s, and the proof was not certainly made before", registrar, verify.Stamp(e.revoked.Since))
	}
	return nil
}

// Vouches reports whether the registrar vouches at a level or above for a proof that was made
// before a time; zero: nobody says before when. The error says why not. A proof whose time is
// unknown is held to now.
func (s *Standing) Vouches(level uint32, t2, now time.Time) error {
	if err := s.Objects(t2, now); err != nil {
		return err
	}
	at := heldAt(t2, now)
	e := s.history.inForce(at)
	if e == nil {
		return fmt.Errorf("%s: no endorsement is in force at %s", s.Registrar, verify.Stamp(at))
	}
	if e.Level < level {
		return fmt.Errorf("%s: endorsed at level %d, want %d", s.Registrar, e.Level, level)
	}
	return nil
}

// Since is from when the endorsement that is in force at a time is valid, or zero.
func (s *Standing) Since(at time.Time) time.Time {
	if e := s.history.inForce(at); e != nil {
		return e.From
	}
	return time.Time{}
}

// Ends is until when the subject is endorsed, all endorsements that are not revoked counted; zero:
// it is not.
func (s *Standing) Ends() (until time.Time) {
	for _, e := range s.history.endorse {
		if e.revoked == nil && e.Until.After(until) {
			until = e.Until
		}
	}
	return until
}

// Withdrawn is the revocation of the registrar's newest endorsement, or nil.
func (s *Standing) Withdrawn() *poclog.Statement {
	if n := len(s.history.endorse); n > 0 {
		return s.history.endorse[n-1].revoked
	}
	return nil
}

// Announced returns the moves that the registrar announced, in the log's order.
func (s *Standing) Announced() (list []*poclog.Statement) {
	for _, m := range s.history.moves {
		list = append(list, m.Statement)
	}
	return list
}

// Explains returns the announced move that explains why a machine left one place for another at a
// time, or nil. It was certainly logged before its window, the registrar endorses the machine now,
// and no proof at the old place is later than the window's begin. It changes no rule.
func (s *Standing) Explains(source, target poclog.StatedPlace, moved, lastAtSource time.Time) *poclog.Statement {
	if !s.Endorsed {
		return nil
	}
	for _, m := range s.history.moves {
		if !m.logged.IsZero() && m.logged.Before(m.From) && *m.Source == source && *m.Target == target && !moved.Before(m.From) && moved.Before(m.Until) && !lastAtSource.After(m.From) {
			return m.Statement
		}
	}
	return nil
}

// heldAt is the time at which a proof is held to what a registrar says: by which it was made, or
// now if nobody says so (zero).
func heldAt(t2, now time.Time) time.Time {
	if t2.IsZero() {
		return now
	}
	return t2
}
