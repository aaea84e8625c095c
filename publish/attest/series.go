package attest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/internal/pause"
	"github.com/poclog/poclog/publish/disclose"
	"github.com/poclog/poclog/verify/receipt"
)

// Waits after a failure: they double, and vary by a quarter, so that publishers do not return to a
// log all at once.
const (
	firstPause = time.Second
	lastPause  = time.Minute
)

// A Submitter sends bundles: *client.Client.
type Submitter interface {
	Submit(ctx context.Context, s *poclog.Submission) (*client.Submitted, error)
}

// A Series keeps one proof for each window of time, and for each key. State, Log, Every, UserData,
// Make and Tell are required.
//
// A window that is begun is finished: its bundle is kept before it is sent, and sent again until
// the log answers with a receipt, which it does for what it has however often it is asked, or
// refuses it for good. A bundle that gets neither does not hold up the windows after it: it is sent
// again beside them, until its challenge is too old for every policy.
//
// Nothing is sent that the publisher did not agree to: see Ask. Evidence cannot be made for a time
// that is past: windows in which neither this process nor the log ran have no proof, and the next
// one's event counts them.
type Series struct {
	State *State
	Log   Submitter
	Every time.Duration // whole seconds, at least one
	Keep  int           // receipts; 0 keeps all

	// UserData returns the digest of what proofs are to speak for. It is asked at each window: keys
	// change.
	UserData func() (poclog.Digest, error)
	// Make takes evidence under a new challenge for this digest, and returns the bundle.
	Make func(ctx context.Context, userData poclog.Digest) (bundle []byte, err error)
	// Submission wraps a bundle into what is sent; nil sends the bundle alone. It is asked at each
	// sending.
	Submission func(bundle []byte) (*poclog.Submission, error)
	// Terms are the log and the keys that the publisher agrees to. A bundle that was begun under
	// others is put aside.
	Terms Terms
	// Discloses lists what becomes public with a bundle; nil lists nothing.
	Discloses func(bundle []byte) ([]disclose.Fact, error)
	// Ask shows the list to the publisher, and returns an error unless he agrees. It is called for
	// bundles of this process, once for all that disclose the same, and for a found one, of which
	// no record says that anybody agreed. Nil agrees to all but these.
	Ask func(ctx context.Context, list []disclose.Fact, found bool) error
	// Ready says whether this machine could have made what lies in the folder. It is asked before
	// anything of it is sent; nil is yes.
	Ready func(ctx context.Context) error
	// Tell is told of every proof and every failure.
	Tell func(Event)

	Now  func() time.Time                                       // nil is time.Now
	Wait func(ctx context.Context, d time.Duration) (err error) // returns early with the context's error; nil waits by the clock

	agreed map[poclog.Digest]bool // by what was disclosed
}

// maxChallengeAge is the most that any policy lets a challenge have (docs/format.md §6,
// max_challenge_age).
const maxChallengeAge = 24 * time.Hour

// An Event is what became of a window.
type Event struct {
	Window  time.Time
	Receipt string // the receipt's file; "" after a failure
	Verdict *receipt.Verdict
	New     bool          // false: the log had this evidence already, as after a stop between answer and receipt
	Missed  int           // windows before this one that have no proof
	Err     error         // what failed; beside a receipt, what could not be verified of the log's history
	Again   time.Duration // when it will be tried again
}

// A refusedError is the last word on a bundle: it is put aside.
type refusedError struct{ err error }

func (e *refusedError) Error() string { return e.err.Error() }
func (e *refusedError) Unwrap() error { return e.err }

// Run keeps the series until the context ends, and then returns nil. It returns an error where the
// first window cannot be proven for a reason that will not pass by itself (a missing piece, a
// refusal), when the publisher does not agree, and when the log is caught showing two histories.
func (s *Series) Run(ctx context.Context) error {
	if s.Every < time.Second || s.Every%time.Second != 0 {
		return fmt.Errorf("a proof every %s: want whole seconds, at least one", s.Every)
	}
	proven := false
	for pause := firstPause; ; {
		window := s.window(s.now())
		err := s.step(ctx, window)
		if ctx.Err() != nil && !errors.As(err, new(*DeclinedError)) {
			return nil
		}
		again := window.Add(s.Every).Sub(s.now())
		switch {
		case err == nil:
			proven, pause = true, firstPause
		case isSplit(err) || errors.As(err, new(*DeclinedError)) || !proven && isLasting(err):
			return err
		default:
			if !errors.As(err, new(*refusedError)) {
				again = min(again, vary(pause))
				pause = min(2*pause, lastPause)
			}
			s.Tell(Event{Window: window, Err: err, Again: again})
		}
		if s.wait(ctx, again) != nil {
			return nil
		}
	}
}

// Once makes one proof now, after it has finished what an earlier process began.
func (s *Series) Once(ctx context.Context) error {
	return s.step(ctx, s.now().UTC().Truncate(time.Second))
}

func isSplit(err error) bool { return errors.As(err, new(*client.SplitView)) }

// isLasting reports whether waiting does not help.
func isLasting(err error) bool {
	return errors.As(err, new(*MissingError)) || errors.As(err, new(*refusedError)) || errors.As(err, new(*client.HistoryError))
}

func vary(d time.Duration) time.Duration { return d*3/4 + rand.N(d/2) }

func (s *Series) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

func (s *Series) wait(ctx context.Context, d time.Duration) error {
	if s.Wait != nil {
		return s.Wait(ctx, d)
	}
	return pause.For(ctx, d)
}

// window returns the start of the window of a time: windows follow each other without gaps, shifted
// by what this state drew.
func (s *Series) window(at time.Time) time.Time {
	every := int64(s.Every / time.Second)
	phase := int64(s.State.seed) % every
	return time.Unix((at.Unix()-phase)/every*every+phase, 0).UTC()
}

// step finishes what was begun, and proves the window if it has no proof yet.
func (s *Series) step(ctx context.Context, window time.Time) error {
	userData, err := s.UserData()
	if err != nil {
		return err
	}
	pending, err := s.State.pending()
	if err != nil {
		return err
	}
	if len(pending) > 0 && s.Ready != nil {
		if err := s.Ready(ctx); err != nil {
			return err
		}
	}
	name := stem(window, userData)
	old := slices.DeleteFunc(slices.Clone(pending), func(p string) bool { return p == name })
	left, late, err := s.finish(ctx, old)
	if err != nil {
		return err
	}
	if err := s.prove(ctx, name, userData, slices.Contains(pending, name)); err != nil {
		return err
	}
	// The log answers, but not for these: the others are tried too, as far as the window goes.
	for len(left) > 0 {
		begun, _ := windowOf(left[0])
		s.Tell(Event{Window: begun, Err: late})
		if s.Every > 0 && !s.now().Before(window.Add(s.Every)) {
			return nil
		}
		if left, late, err = s.finish(ctx, left[1:]); err != nil {
			return err
		}
	}
	return nil
}

// finish sends bundles again, oldest first, up to one that gets no verdict: it is the first that is
// left, and late says why. An error ends the step.
func (s *Series) finish(ctx context.Context, names []string) (left []string, late, err error) {
	for i, name := range names {
		err := s.resume(ctx, name)
		switch {
		case err == nil:
			continue
		case isSplit(err) || ctx.Err() != nil || errors.As(err, new(*DeclinedError)):
			return nil, nil, err
		case errors.As(err, new(*refusedError)):
		case s.stale(name):
			if rerr := s.State.refuse(name); rerr != nil {
				return nil, nil, rerr
			}
			err = fmt.Errorf("its challenge is too old by now, and it is put aside: %w", err)
		default:
			return names[i:], err, nil
		}
		// Its challenge may have grown too old while the log was out of reach. It is not in the
		// log: the next takes its place.
		begun, _ := windowOf(name)
		s.Tell(Event{Window: begun, Err: err})
	}
	return nil, nil, nil
}

// stale reports whether no policy can admit a bundle any more. One from the future was begun under
// a clock that ran ahead.
func (s *Series) stale(name string) bool {
	begun, _ := windowOf(name)
	return s.now().Sub(begun).Abs() > maxChallengeAge
}

// prove proves a window: by what was begun for it, or anew.
func (s *Series) prove(ctx context.Context, name string, userData poclog.Digest, begun bool) error {
	if begun {
		err := s.resume(ctx, name)
		if !errors.As(err, new(*refusedError)) {
			return err
		}
		window, _ := windowOf(name)
		s.Tell(Event{Window: window, Err: err})
	}
	if s.State.done(name) {
		return nil
	}
	b, err := s.Make(ctx, userData)
	if err != nil {
		return err
	}
	disclosed, err := s.agree(ctx, b)
	if err != nil {
		return err
	}
	if err := s.State.begin(name, b, s.consentTo(b, disclosed)); err != nil {
		return err
	}
	return s.send(ctx, name, b)
}

// resume sends a bundle again, if it was agreed to.
func (s *Series) resume(ctx context.Context, name string) error {
	b, err := s.State.bundle(name)
	if err != nil {
		return err
	}
	err = s.checkConsent(ctx, name, b)
	if errors.As(err, new(*refusedError)) {
		return s.refuse(name, fmt.Errorf("a bundle is put aside unsent: %w", err))
	}
	if err != nil {
		return err
	}
	return s.send(ctx, name, b)
}

// refuse puts a bundle aside for a reason.
func (s *Series) refuse(name string, why error) error {
	if err := s.State.refuse(name); err != nil {
		return err
	}
	return &refusedError{why}
}

// send sends a bundle that is kept, and keeps its receipt.
func (s *Series) send(ctx context.Context, name string, bundle []byte) error {
	sub := &poclog.Submission{Bundle: bundle}
	if s.Submission != nil {
		var err error
		if sub, err = s.Submission(bundle); err != nil {
			return err
		}
	}
	got, err := s.Log.Submit(ctx, sub)
	if got == nil {
		if err == nil || !isRefusal(err) {
			return err
		}
		return s.refuse(name, err)
	}
	window, _ := windowOf(name)
	e := Event{Window: window, Receipt: s.State.path(name, receiptSuffix), Verdict: got.Verdict, New: got.New, Err: err, Missed: s.missed(window)}
	if err := s.State.finish(name, got.Receipt); err != nil {
		return err
	}
	s.Tell(e)
	if isSplit(err) {
		return err
	}
	return s.State.prune(s.Keep, name)
}

// missed counts the windows between the newest before this one that has a receipt, and this one.
func (s *Series) missed(window time.Time) int {
	newest, ok := s.State.newestBefore(window)
	if !ok || s.Every == 0 {
		return 0
	}
	return int(max(0, (window.Sub(newest)-1)/s.Every))
}

// isRefusal reports whether a log judged a bundle and will not have it: other answers, of proxies
// on the way too, may change.
func isRefusal(err error) bool {
	var p *client.Problem
	if !errors.As(err, &p) || p.Temporary() {
		return false
	}
	switch p.Status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		return true
	}
	return p.Check != ""
}
