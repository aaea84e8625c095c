package notify

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/monitor"
	"github.com/poclog/poclog/monitor/query"
	"github.com/poclog/poclog/verify/rule"
)

// Rules of the watch list.
const (
	RuleWatched = "watched"
	RuleOverdue = "proof-overdue"
)

// Limits of a watch list.
const (
	MaxWatchFile = 4 << 20 // bytes
	maxWatched   = 1 << 16
	minEvery     = time.Minute
	watchBatch   = 256 // alerts that are kept at once
)

// A Watched is an identity whose owner wants to know every claim about it.
type Watched struct {
	ID    poclog.Identity
	Every time.Duration // a fresh proof is due after the last; 0: none is
	Note  string        // what the owner calls it
}

// ParseWatchFile parses a watch list: an identity a line, then perhaps "every" and a duration, then
// perhaps "#" and a note. Empty lines and lines that begin with "#" are skipped.
//
//	intel:tdx:ppid:00112233445566778899aabbccddeeff every 24h # rack 7, left
func ParseWatchFile(text string) ([]Watched, error) {
	var list []Watched
	for i, line := range strings.Split(text, "\n") {
		entry, note, _ := strings.Cut(line, "#")
		fields := strings.Fields(entry)
		if len(fields) == 0 {
			continue
		}
		w, err := parseWatched(fields)
		if err == nil && len(list) == maxWatched {
			err = fmt.Errorf("more than %d identities", maxWatched)
		}
		if err != nil {
			return nil, fmt.Errorf("watch list, line %d: %w", i+1, err)
		}
		w.Note = strings.TrimSpace(note)
		list = append(list, w)
	}
	return list, nil
}

func parseWatched(fields []string) (w Watched, err error) {
	if w.ID, err = poclog.ParseIdentity(fields[0]); err != nil {
		return w, err
	}
	if len(fields) == 1 {
		return w, nil
	}
	if len(fields) != 3 || fields[1] != "every" {
		return w, fmt.Errorf("%.80q after the identity: want every and a duration", strings.Join(fields[1:], " "))
	}
	if w.Every, err = time.ParseDuration(fields[2]); err != nil || w.Every < minEvery {
		return w, fmt.Errorf("every %.40q: want a duration of at least %s, such as 24h", fields[2], minEvery)
	}
	return w, nil
}

// Ledger is what the watch list reads and writes: a [monitor.Monitor].
type Ledger interface {
	Logs(ctx context.Context) ([]monitor.LogInfo, error)
	Records(ctx context.Context, f monitor.Filter) iter.Seq2[*monitor.Record, error]
	Mark(ctx context.Context, reader, origin string) (uint64, error)
	AddAlertsAndMark(ctx context.Context, alerts []monitor.Alert, reader, origin string, next uint64) (int, error)
	AddAlerts(ctx context.Context, alerts []monitor.Alert) (int, error)
}

// A Watcher tells every claim about the identities of a list, once, and those of which a proof is
// overdue. What was claimed before an identity came on the list is told too. It is not safe for
// concurrent use.
type Watcher struct {
	ledger Ledger
	list   map[poclog.Identity]Watched
	reader string
	last   map[poclog.Identity]proven // of those of which proofs are due; nil before the first look
	upTo   map[string]uint64          // by log: the records that last has
}

// proven is the newest fresh proof of an identity.
type proven struct {
	at    time.Time
	entry monitor.EntryRef
}

// NewWatcher returns one for a list. Of an identity that is listed twice the last counts.
func NewWatcher(ledger Ledger, list []Watched) *Watcher {
	w := &Watcher{ledger: ledger, list: make(map[poclog.Identity]Watched), upTo: make(map[string]uint64), last: make(map[poclog.Identity]proven)}
	for _, e := range list {
		w.list[e.ID] = e
	}
	// Another list reads all records again, and what is known already is not told again: so nothing
	// is missed, whenever an identity came on the list.
	h := sha256.New()
	for _, id := range slices.Sorted(maps.Keys(w.list)) {
		fmt.Fprintln(h, id)
	}
	w.reader = "watch:" + hex.EncodeToString(h.Sum(nil)[:8])
	return w
}

// Look reads the records that are new, and keeps an alert for each claim; then it looks for proofs
// that are overdue. It returns how many alerts are new.
func (w *Watcher) Look(ctx context.Context) (added int, err error) {
	if len(w.list) == 0 {
		return 0, nil
	}
	logs, err := w.ledger.Logs(ctx)
	if err != nil {
		return 0, err
	}
	for _, l := range logs {
		n, err := w.claims(ctx, l)
		added += n
		if err != nil {
			return added, err
		}
		if err := w.proofs(ctx, l); err != nil {
			return added, err
		}
	}
	n, err := w.overdue(ctx, logs)
	return added + n, err
}

// claims tells what one log claims about the list.
func (w *Watcher) claims(ctx context.Context, l monitor.LogInfo) (added int, err error) {
	from, err := w.ledger.Mark(ctx, w.reader, l.Origin)
	if err != nil || from >= l.Next {
		return 0, err
	}
	var alerts []monitor.Alert
	keep := func(next uint64) error {
		n, err := w.ledger.AddAlertsAndMark(ctx, alerts, w.reader, l.Origin, next)
		added, alerts = added+n, nil
		return err
	}
	for r, err := range w.ledger.Records(ctx, monitor.Filter{Origin: l.Origin, From: from, To: l.Next, Kind: monitor.KindProof}) {
		if err != nil {
			return added, err
		}
		for _, id := range query.IdentitiesOf(r) {
			if e, ok := w.list[id]; ok {
				alerts = append(alerts, claimed(e, r))
			}
		}
		if len(alerts) >= watchBatch {
			if err := keep(r.Index + 1); err != nil {
				return added, err
			}
		}
	}
	return added, keep(l.Next)
}

func (e *Watched) name() string {
	if e.Note == "" {
		return string(e.ID)
	}
	return fmt.Sprintf("%s (%s)", e.ID, e.Note)
}

// claimed is the alert of one claim.
func claimed(e Watched, r *monitor.Record) monitor.Alert {
	where := "no proven place"
	if p := query.Proven(r); !p.IsZero() {
		where = p.String()
	}
	ref := monitor.EntryRef{Origin: r.Origin, Index: r.Index}
	return monitor.Alert{
		Finding: rule.Finding{
			Rule:     RuleWatched,
			Severity: rule.Information,
			Subject:  e.ID,
			Seen: fmt.Sprintf("Entry %d of %s, a %s proof of level %d in the realm %s, appraised %s, claims %s at %s.",
				r.Index, r.Origin, r.Profile, r.Level, r.Realm, r.Appraised.Format(time.RFC3339), e.name(), where),
			Meaning:  "The identity is on the watch list: if its owner does not know of this proof, somebody else has the chip, the key or the VM.",
			Affected: []poclog.Identity{e.ID},
		},
		ID:      monitor.AlertID(RuleWatched, e.ID, []monitor.EntryRef{ref}),
		Entries: []monitor.EntryRef{ref},
	}
}

// proofs brings up to date when the identities of which proofs are due were last proven by one log.
func (w *Watcher) proofs(ctx context.Context, l monitor.LogInfo) error {
	due := slices.ContainsFunc(slices.Collect(maps.Values(w.list)), func(e Watched) bool { return e.Every > 0 })
	if !due || w.upTo[l.Origin] >= l.Next {
		return nil
	}
	f := monitor.Filter{Origin: l.Origin, From: w.upTo[l.Origin], To: l.Next, Kind: monitor.KindProof, MinLevel: poclog.LevelBound}
	for r, err := range w.ledger.Records(ctx, f) {
		if err != nil {
			return err
		}
		if r.Fresh == nil {
			continue
		}
		for _, id := range query.IdentitiesOf(r) {
			if e, ok := w.list[id]; ok && e.Every > 0 && !r.Appraised.Before(w.last[id].at) {
				w.last[id] = proven{r.Appraised, monitor.EntryRef{Origin: r.Origin, Index: r.Index}}
			}
		}
	}
	w.upTo[l.Origin] = l.Next
	return nil
}

// overdue keeps an alert for each identity whose proof is due, once for each gap. Nothing is
// overdue that a log may have and this monitor has not yet seen: what counts is the time at which
// all logs were last seen whole.
func (w *Watcher) overdue(ctx context.Context, logs []monitor.LogInfo) (int, error) {
	var seen time.Time
	for _, l := range logs {
		if l.Removed {
			continue
		}
		if l.Looked.IsZero() || l.Next < l.Size {
			return 0, nil
		}
		if seen.IsZero() || l.Looked.Before(seen) {
			seen = l.Looked
		}
	}
	var alerts []monitor.Alert
	for _, id := range slices.Sorted(maps.Keys(w.list)) {
		e, last := w.list[id], w.last[id]
		if e.Every > 0 && seen.Sub(last.at) > e.Every && !seen.IsZero() {
			alerts = append(alerts, late(e, last))
		}
	}
	if len(alerts) == 0 {
		return 0, nil
	}
	return w.ledger.AddAlerts(ctx, alerts)
}

// late is the alert of a proof that is overdue.
func late(e Watched, last proven) monitor.Alert {
	a := monitor.Alert{
		Finding: rule.Finding{
			Rule:     RuleOverdue,
			Severity: rule.Alert,
			Subject:  e.ID,
			Affected: []poclog.Identity{e.ID},
			Seen:     fmt.Sprintf("No log that is followed has a fresh proof of %s, of which one is due every %s.", e.name(), e.Every),
			Meaning:  "The machine is off, cannot reach a log or does not try, or it is no longer where its proofs said: until a proof comes nobody knows which.",
		},
	}
	if !last.at.IsZero() {
		a.Entries = []monitor.EntryRef{last.entry}
		a.Seen = fmt.Sprintf("The last fresh proof of %s, entry %d of %s, was appraised %s; one is due every %s.",
			e.name(), last.entry.Index, last.entry.Origin, last.at.Format(time.RFC3339), e.Every)
	}
	a.ID = monitor.AlertID(a.Rule, a.Subject, a.Entries)
	return a
}
