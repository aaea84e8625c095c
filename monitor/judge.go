package monitor

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/verify/receipt"
	"github.com/poclog/poclog/verify/rule"
)

// RuleEvidenceWithheld is that a log does not give what it judged an entry by.
const RuleEvidenceWithheld = "evidence-withheld"

// RuleChallengeUnfounded is that an entry's challenge names a root that its log never had, and
// nothing shows whose doing it is.
const RuleChallengeUnfounded = "challenge-unfounded"

// comparePairs compares what is due. Pairs that cannot be decided now wait, longer each time.
func (r *run) comparePairs(ctx context.Context) error {
	r.cache = leafCache{}
	for {
		due, err := r.m.state.duePairs(ctx, r.m.cfg.Clock())
		if err != nil || len(due) == 0 {
			return err
		}
		if err := r.comparePage(ctx, due); err != nil {
			return err
		}
	}
}

// comparePage compares pairs. What honest operation does, too, is recorded together: a process that
// is killed before compares it again. Whatever is graver, or has to wait, is recorded at once, for
// what follows counts it.
func (r *run) comparePage(ctx context.Context, due []pending) error {
	var judged []*judging
	for _, p := range due {
		j, err := r.decide(p, nil)
		if err == nil && j == nil {
			j, err = r.judgePair(ctx, p)
		}
		if err != nil {
			return errors.Join(err, r.record(ctx, judged))
		}
		judged = append(judged, j)
		if !j.incomplete && !j.grave() {
			continue
		}
		if err := r.record(ctx, judged); err != nil {
			return err
		}
		judged = nil
	}
	return r.record(ctx, judged)
}

// patience is how often a log may be out of order when it is asked for evidence. One that is so
// forever withholds it.
const patience = 5

// judgePair judges a pair, or puts it off where comparing these logs took its turn. An error is one
// that nothing can go on after.
func (r *run) judgePair(ctx context.Context, p pending) (*judging, error) {
	j := &judging{r: r, pair: p, began: r.m.cfg.Clock()}
	between := [2]int{p.a.log(), p.b.log()}
	if !r.opt.Once && r.spent[between] >= r.m.cfg.Turn {
		j.incomplete, j.putOff = true, true
		return j, nil
	}
	net, cancel := r.limited(ctx)
	defer cancel()
	err := j.judge(net)
	r.spent[between] += r.m.cfg.Clock().Sub(j.began)
	if err != nil {
		err = j.postpone(ctx, err)
	}
	return j, err
}

// postpone has a pair wait that could not be compared. It returns errors that nothing can go on
// after.
func (j *judging) postpone(ctx context.Context, err error) error {
	var broken *folderError
	if errors.As(err, &broken) || ctx.Err() != nil {
		return err
	}
	var denied *logError
	if errors.As(err, &denied) {
		a := denied.tail.alertOf(denied.error)
		if a == nil && j.pair.tries >= patience {
			a = denied.tail.withholds(denied.error)
		}
		if a != nil {
			a.Entries, a.ID = j.refs(), AlertID(a.Rule, a.Subject, j.refs())
			j.alerts = append(j.alerts, *a)
		}
	}
	j.r.m.cfg.Logger.Warn("entries cannot be compared now", "entries", j.refs(), "tries", j.pair.tries+1, "error", err)
	j.incomplete = true
	return nil
}

// grave reports whether something was found that honest operation does not do.
func (j *judging) grave() bool {
	return slices.ContainsFunc(j.alerts, func(a Alert) bool { return a.Severity != rule.Information })
}

// record keeps what became of pairs.
func (r *run) record(ctx context.Context, judged []*judging) error {
	if len(judged) == 0 {
		return nil
	}
	return r.m.state.tx(ctx, "record comparisons", func(tx *sql.Tx) error {
		for _, j := range judged {
			if err := j.record(ctx, tx); err != nil {
				return err
			}
		}
		return nil
	})
}

func (j *judging) record(ctx context.Context, tx *sql.Tx) error {
	if j.putOff {
		return waitPair(ctx, tx, j.pair.pair, j.began)
	}
	if err := j.r.addAlerts(ctx, tx, j.alerts); err != nil {
		return err
	}
	for _, p := range j.more {
		if err := j.r.m.state.addPair(tx, p); err != nil {
			return err
		}
	}
	if j.incomplete {
		return postponePair(ctx, tx, j.pair, j.r.m.cfg.Clock())
	}
	return j.r.m.state.dropPair(tx, j.pair.pair)
}

// judging is a pair on its way to alerts.
type judging struct {
	r          *run
	pair       pending
	sides      []*side // one, or two
	alerts     []Alert
	more       []pair // that are to be compared, too
	incomplete bool   // something is missing that may come later
	putOff     bool   // it was not judged: others' turn
	began      time.Time
}

// refs names the pair's entries.
func (j *judging) refs() (list []EntryRef) {
	for i, of := range []ref{j.pair.a, j.pair.b} {
		if t := j.r.tail(of.log()); t != nil && (i == 0 || j.pair.a != j.pair.b) {
			list = append(list, EntryRef{Origin: t.l.origin, Index: of.index()})
		}
	}
	return list
}

func (j *judging) judge(ctx context.Context) error {
	refs := []ref{j.pair.a, j.pair.b}
	if j.pair.a == j.pair.b {
		refs = refs[:1]
	}
	for _, of := range refs {
		s, err := j.r.side(ctx, of)
		if err != nil {
			return err
		}
		s.hasty = j.pair.tries >= patience
		j.sides = append(j.sides, s)
	}
	if len(j.sides) == 1 {
		return j.alone(ctx, j.sides[0])
	}
	return j.compare(ctx, j.sides[0], j.sides[1])
}

// compare runs the rules of two entries: first by what the trees show, and where that is not enough
// or something was found, also by time.
func (j *judging) compare(ctx context.Context, e, f *side) error {
	if e.entry() == nil || f.entry() == nil {
		return nil
	}
	limits := j.r.m.cfg.Limits
	found := limits.Compare(&e.claim, &f.claim)
	grave := slices.ContainsFunc(found, func(f *rule.Finding) bool { return f.Severity != rule.Information })
	if grave || !rule.Before(&e.claim, &f.claim) && !rule.Before(&f.claim, &e.claim) {
		if err := j.time(ctx, e, f); err != nil {
			return err
		}
		found = limits.Compare(&e.claim, &f.claim)
	}
	for _, finding := range found {
		if err := j.raise(ctx, finding); err != nil {
			return err
		}
	}
	return j.nearer(ctx, found)
}

// time fetches the evidence of sides, and finds when it was made.
func (j *judging) time(ctx context.Context, sides ...*side) error {
	for _, s := range sides {
		if err := s.fetchBundle(ctx); err != nil {
			return err
		}
	}
	for i, s := range sides {
		var other *side
		if len(sides) == 2 {
			other = sides[1-i]
		}
		if err := errors.Join(s.bound(ctx, other), s.tighten(ctx)); err != nil {
			return err
		}
	}
	return nil
}

// alone judges one entry: its form, its challenge and its times.
func (j *judging) alone(ctx context.Context, s *side) error {
	if s.malformed != nil {
		return j.malformed(ctx, s)
	}
	if s.entry() == nil {
		return nil
	}
	if err := j.time(ctx, s); err != nil {
		return err
	}
	if err := j.reproduce(ctx, s); err != nil {
		return err
	}
	if s.entry().Fresh != nil && !s.claim.Rooted && j.r.tailOf(s.entry().Fresh.Origin) != nil {
		if err := j.unrooted(ctx, s); err != nil {
			return err
		}
	}
	for _, finding := range rule.Judge(&s.claim) {
		if err := j.raise(ctx, finding); err != nil {
			return err
		}
	}
	return nil
}

// malformed raises what it means that a leaf is not in the form of its kind. One of a later
// specification than this software knows may be in order.
func (j *judging) malformed(ctx context.Context, s *side) error {
	f := rule.NotReproducible(s.tail.l.origin, s.index, nil, "it is malformed: "+oneLine(s.malformed))
	if receipt.OfKnownSpecification(s.leaf) {
		return j.raise(ctx, f)
	}
	a := Alert{
		Finding: rule.Finding{
			Rule:     f.Rule,
			Severity: rule.Alert,
			Seen:     f.Seen,
			Subject:  poclog.Identity("log:" + s.tail.l.origin),
			Meaning:  "It is of a later specification than this software knows, or the log published what nobody appraised.",
		},
		Entries: j.refs(),
	}
	a.ID = idOf(&a)
	j.alerts = append(j.alerts, a)
	return nil
}

// unrooted looks into a challenge with a root that its log is not known to have had. If the log
// signed it, it signed two histories.
func (j *judging) unrooted(ctx context.Context, s *side) error {
	of, fresh := j.r.tailOf(s.entry().Fresh.Origin), s.entry().Fresh
	if of.l.checkpoint == nil {
		j.incomplete = true // that log was never reached: there is nothing to hold the challenge to
		return nil
	}
	if v, err := of.l.policy.OpenLogged(s.challenge); len(s.challenge) > 0 && err == nil {
		err := of.cl.Consistent(ctx, of.l.checkpoint, checkpointOf(v, s.challenge))
		var split *client.SplitView
		switch {
		case errors.As(err, &split):
			a := of.alertOf(err)
			a.Entries = j.refs()
			j.alerts = append(j.alerts, *a)
			if split.Err == nil {
				return j.keep(ctx, &j.alerts[len(j.alerts)-1], splitViewsDir, ".split-view.json", split.Evidence)
			}
			return nil
		case err != nil:
			return &logError{of, err}
		default:
			return nil // the log grew to it meanwhile
		}
	}
	if j.withheld(s); s.missing != nil && fresh.Size > of.tree.size() {
		return nil
	}
	a := Alert{
		Finding: rule.Finding{
			Rule:       RuleChallengeUnfounded,
			Severity:   rule.Alert,
			Subject:    poclog.Identity("log:" + s.tail.l.origin),
			Implicated: []string{"log:" + s.tail.l.origin},
			Seen: fmt.Sprintf("Entry %d of %s answers a challenge by %s at size %d with a root that this log never had, and does not show its signature.",
				s.index, s.tail.l.origin, fresh.Origin, fresh.Size),
			Meaning: "The log admitted a challenge that nobody signed, or the challenging log signed another history.",
		},
		Entries: j.refs(),
	}
	a.ID = AlertID(a.Rule, a.Subject, a.Entries)
	j.alerts, j.incomplete = append(j.alerts, a), true
	return nil
}

// withheld raises an alert if evidence is missing. The pair waits for it.
func (j *judging) withheld(s *side) {
	if s.missing == nil {
		return
	}
	j.incomplete = true
	log := "log:" + s.tail.l.origin
	a := Alert{
		Finding: rule.Finding{
			Rule:       RuleEvidenceWithheld,
			Severity:   rule.Alert,
			Subject:    poclog.Identity(log),
			Implicated: []string{log},
			Affected:   []poclog.Identity{s.entry().Quote},
			Seen:       fmt.Sprintf("%s does not give what it judged entry %d by: %s.", s.tail.l.origin, s.index, oneLine(s.missing)),
			Meaning:    "It lost the evidence or hides it, so that nobody can repeat the appraisal.",
		},
		Entries: []EntryRef{s.ref()},
	}
	if client.StatusOf(s.missing) == http.StatusUnavailableForLegalReasons {
		a.Implicated, a.Meaning = nil, "It says that the law forbids it, so that nobody can repeat the appraisal."
	}
	a.ID = AlertID(a.Rule, a.Subject, a.Entries)
	j.add(a)
}

// add takes an alert, once.
func (j *judging) add(a Alert) {
	if !slices.ContainsFunc(j.alerts, func(b Alert) bool { return b.ID == a.ID }) {
		j.alerts = append(j.alerts, a)
	}
}

// idOf is the ID of what a rule found. An alert for want of evidence is not the contradiction that
// the same entries turn out to be.
func idOf(a *Alert) string {
	if a.Severity == rule.Alert {
		return AlertID(a.Rule, a.Subject, a.Entries, string(a.Severity))
	}
	return AlertID(a.Rule, a.Subject, a.Entries)
}

// alertOf is the alert of a finding about entries. What a log alone did is about the log, whatever
// identities it named: it could name anybody's.
func alertOf(f *rule.Finding, entries []EntryRef) Alert {
	a := Alert{Finding: *f, Entries: entries}
	if len(f.Implicated) == 1 && strings.HasPrefix(f.Implicated[0], "log:") {
		a.Subject = poclog.Identity(f.Implicated[0])
	}
	a.ID = idOf(&a)
	return a
}

// raise makes an alert of a finding, with a contradiction's file if it is more than information.
func (j *judging) raise(ctx context.Context, f *rule.Finding) error {
	a := alertOf(f, j.refs())
	if f.Severity != rule.Information {
		ok, err := j.r.m.hasRoom(context.WithoutCancel(ctx), &a)
		if err != nil {
			return &folderError{err}
		}
		if !ok {
			return nil
		}
		stands, err := j.prove(ctx, f, &a)
		var denied *logError
		if errors.As(err, &denied) && j.pair.tries >= patience {
			j.incomplete, stands, err = true, true, nil // nobody waits forever for the file
			a = alertOf(f.Unseen(j.origins()...), j.refs())
		}
		if err != nil || !stands {
			return err
		}
	}
	j.alerts = append(j.alerts, a)
	return nil
}
