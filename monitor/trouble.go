package monitor

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/verify/rule"
)

// Rules of what a log does, beside those of package rule.
const (
	RuleForked    = "log-forked"    // it signed two histories; the split view is kept
	RuleShrunk    = "log-shrunk"    // it shows an old checkpoint, and for longer than a cache does
	RuleStalled   = "log-stalled"   // it shows no fresh checkpoint
	RuleWithholds = "log-withholds" // it does not serve what it signed
	RuleCorrupt   = "log-corrupt"   // it serves something else than it signed
	RuleStale     = "index-stale"   // its index does not go on as its entries do
	RuleWrong     = "index-wrong"   // its index is not of its entries
	RuleNames     = "log-names"     // it has more names of places than there can be
)

// shrunk is a log that shows a checkpoint that is smaller than its last.
type shrunk struct {
	was, is uint64
	signed  []byte
}

func (s *shrunk) Error() string {
	return fmt.Sprintf("the log shows a checkpoint of size %d after one of %d", s.is, s.was)
}

// shrunk judges a checkpoint that is smaller than the last one. Caches serve one for a while.
func (t *tail) shrunk(cp *client.Checkpoint) error {
	if at, ok := cp.View.NotBefore(); ok && t.r.m.cfg.Clock().Sub(at) < t.r.m.cfg.Stalled && !at.After(t.l.looked) {
		return nil
	}
	return &shrunk{was: t.l.checkpoint.Size, is: cp.Size, signed: cp.Signed}
}

// noCheckpoint is an error of fetching a checkpoint: whatever it is, the log has not shown any.
type noCheckpoint struct{ error }

func (e *noCheckpoint) Unwrap() error { return e.error }

// report raises the alerts that a look at the log gives reason for.
func (t *tail) report(ctx context.Context, trouble error) error {
	var alerts []Alert
	if a := t.alertOf(trouble); a != nil {
		var split *client.SplitView
		if errors.As(trouble, &split) && split.Err == nil {
			if err := t.r.m.keep(ctx, a, splitViewsDir, ".split-view.json", split.Evidence); err != nil {
				return err
			}
		}
		alerts = append(alerts, *a)
	}
	if a := t.stalled(trouble); a != nil {
		alerts = append(alerts, *a)
	}
	if t.terms.full() && !t.toldFull {
		alerts, t.toldFull = append(alerts, *t.namesTooMuch()), true
	}
	if len(alerts) == 0 {
		return nil
	}
	return t.raise(ctx, alerts)
}

// alertOf returns the alert for what a log did, or nil for what may be the network's doing.
func (t *tail) alertOf(trouble error) *Alert {
	var split *client.SplitView
	var small *shrunk
	var none *noCheckpoint
	a := t.alert(rule.Alert)
	switch {
	case trouble == nil:
		return nil
	case errors.As(trouble, &split):
		a.Rule, a.Severity = RuleForked, rule.Contradiction
		a.Seen = fmt.Sprintf("%s signed two histories, at sizes %d and %d.", t.l.origin, split.Old.Size, split.New.Size)
		a.Meaning = "Somebody is shown another log than others: the log's operator lies, or lost its state and signed anew."
		a.ID = AlertID(a.Rule, a.Subject, nil)
	case errors.As(trouble, &small):
		a.Rule, a.Checkpoint = RuleShrunk, small.signed
		a.Seen = fmt.Sprintf("%s shows a checkpoint of size %d, and had signed one of size %d.", t.l.origin, small.is, small.was)
		a.Meaning = "Its operator restored a backup or takes entries back, or a cache is stuck."
		a.ID = AlertID(a.Rule, a.Subject, nil, fmt.Sprint(small.was))
	case errors.As(trouble, &none):
		return nil
	case errors.Is(trouble, client.ErrWrongTiles):
		a.Rule = RuleCorrupt
		a.Seen = fmt.Sprintf("%s does not serve the tree that it signed, after entry %d: %s.", t.l.origin, t.l.next, oneLine(trouble))
		a.Meaning = "Its storage or a cache is damaged, or it cannot show the entries that it signed for."
		a.ID = AlertID(a.Rule, a.Subject, t.here())
	case client.StatusOf(trouble) != 0 && !client.Temporary(trouble):
		return t.withholds(trouble)
	default:
		return nil
	}
	return a
}

// withholds returns the alert for what a log does not give.
func (t *tail) withholds(trouble error) *Alert {
	a := t.alert(rule.Alert)
	a.Rule = RuleWithholds
	a.Seen = fmt.Sprintf("%s does not serve what it signed, after entry %d: %s.", t.l.origin, t.l.next, oneLine(trouble))
	a.Meaning = "It lost entries that it signed for, or keeps them from this monitor."
	a.ID = AlertID(a.Rule, a.Subject, t.here())
	return a
}

// here names the entry at which the tail stands.
func (t *tail) here() []EntryRef { return []EntryRef{{Origin: t.l.origin, Index: t.l.next}} }

// alert begins an alert that implicates the log. The checkpoint is what it signed last.
func (t *tail) alert(s rule.Severity) *Alert {
	subject := "log:" + t.l.origin
	a := &Alert{Finding: rule.Finding{Severity: s, Subject: poclog.Identity(subject), Implicated: []string{subject}}}
	if t.l.checkpoint != nil {
		a.Checkpoint = t.l.checkpoint.Signed
	}
	return a
}

// stalled returns an alert if the log showed no fresh checkpoint for too long.
func (t *tail) stalled(trouble error) *Alert {
	age := t.began.Sub(t.l.looked) // not by how long this monitor takes to read what the log shows
	if t.busy || t.l.looked.IsZero() || age <= t.r.m.cfg.Stalled {
		return nil
	}
	a := t.alert(rule.Alert)
	a.Rule = RuleStalled
	a.Seen = fmt.Sprintf("%s last showed a fresh checkpoint at %s.", t.l.origin, t.l.looked.UTC().Format("2006-01-02T15:04:05Z"))
	if trouble != nil {
		a.Seen += " Now: " + oneLine(trouble) + "."
	}
	a.Meaning = "It or its witnesses are out of order, or somebody keeps this monitor from seeing what is new."
	a.ID = AlertID(a.Rule, a.Subject, nil, fmt.Sprint(t.l.looked.Unix()))
	return a
}

// namesTooMuch returns the alert for a log with more names than are kept.
func (t *tail) namesTooMuch() *Alert {
	a := t.alert(rule.Alert)
	a.Rule, a.Implicated = RuleNames, nil
	a.Seen = fmt.Sprintf("%s has over %d names of providers, regions, zones, statuses and logs by entry %d.", t.l.origin, maxTerms-1, t.l.next)
	a.Meaning = "It makes them up, or takes them from evidence that does. Further ones are listed as digests; what they contradict is still found."
	a.ID = AlertID(a.Rule, a.Subject, nil)
	return a
}

// oneLine is an error on one line, without a final stop.
func oneLine(err error) string {
	return strings.TrimSuffix(strings.Join(strings.Fields(err.Error()), " "), ".")
}

// addAlerts keeps alerts and counts the new ones that somebody is to be told of.
func (r *run) addAlerts(ctx context.Context, tx *sql.Tx, alerts []Alert) error {
	for i := range alerts {
		a := &alerts[i]
		isNew, err := r.m.addAlert(ctx, tx, a, quotaOf(a, r.m.cfg.Clock()))
		if err != nil {
			return err
		}
		if !isNew {
			continue
		}
		r.m.cfg.Logger.Warn("alert", "rule", a.Rule, "severity", a.Severity, "subject", a.Subject, "seen", a.Seen, "id", a.ID, "silenced", a.Silenced)
		if a.Silenced == "" {
			r.mu.Lock()
			r.out.New[string(a.Severity)]++
			r.mu.Unlock()
		}
	}
	return nil
}
