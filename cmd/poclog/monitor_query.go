package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/monitor"
	"github.com/poclog/poclog/monitor/query"
)

// parseMoment reads a time: as in RFC 3339, a date, or how long ago ("24h", "7d"). Empty is the
// zero time.
func parseMoment(flag, text string, now time.Time) (time.Time, error) {
	if t, ok := parseStamp(text); ok || text == "" {
		return t, nil
	}
	d, err := parseSpan(text)
	if err != nil {
		return time.Time{}, usagef("--%s %.40q: want a time as in RFC 3339, a date, or how long ago, such as 24h or 7d", flag, text)
	}
	return now.Add(-d).UTC().Truncate(time.Second), nil
}

// parseStamp reads a time as in RFC 3339, or a date.
func parseStamp(text string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

// parseSpan reads a duration, also of days.
func parseSpan(text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		return time.Duration(n) * 24 * time.Hour, err
	}
	d, err := time.ParseDuration(text)
	if err == nil && d < 0 {
		err = fmt.Errorf("%s is negative", d)
	}
	return d, err
}

// A listFlags says which proofs to list, and how.
type listFlags struct {
	monitorFlags
	place, since, until, realm string
	level                      uint32
	unproven, asJSON, asCSV    bool
}

func (f *listFlags) register(c *cobra.Command) {
	f.monitorFlags.register(c)
	c.Flags().StringVar(&f.place, "place", "", "proofs of this place: provider, provider/region or provider/zone")
	f.registerSpan(c, "proofs appraised")
	c.Flags().StringVar(&f.realm, "realm", "", "proofs of this realm: production or lab (default: any)")
	c.Flags().Uint32Var(&f.level, "level", 0, "proofs of at least this level")
	c.Flags().BoolVar(&f.unproven, "unproven", false, "also by places that only hints and level 0 claim")
	f.registerForm(c)
}

func (f *listFlags) registerSpan(c *cobra.Command, what string) {
	c.Flags().StringVar(&f.since, "since", "", what+" at this time or later: RFC 3339, a date, or how long ago (24h, 7d)")
	c.Flags().StringVar(&f.until, "until", "", what+" before this time")
}

func (f *listFlags) registerForm(c *cobra.Command) {
	c.Flags().BoolVar(&f.asJSON, "json", false, "print JSON")
	c.Flags().BoolVar(&f.asCSV, "csv", false, "print CSV")
}

// span reads --since and --until, and refuses two forms at once.
func (f *listFlags) span(now time.Time) (since, until time.Time, err error) {
	if f.asJSON && f.asCSV {
		return since, until, usagef("--json and --csv: want one form")
	}
	if since, err = parseMoment("since", f.since, now); err != nil {
		return since, until, err
	}
	if until, err = parseMoment("until", f.until, now); err != nil {
		return since, until, err
	}
	if f.since != "" && f.until != "" && !since.Before(until) {
		return since, until, usagef("--since %s is not before --until %s", f.since, f.until)
	}
	return since, until, nil
}

// filters reads the flags: what the folder is asked for, and what is picked of it.
func (f *listFlags) filters() (monitor.Filter, query.Filter, error) {
	var m monitor.Filter
	var a query.Filter
	var err error
	if a.Place, err = query.ParsePlace(f.place); err != nil {
		return m, a, usagef("--place: %w", err)
	}
	if f.realm != "" && f.realm != string(poclog.Production) && f.realm != string(poclog.Lab) {
		return m, a, usagef("--realm %.40q: want production or lab", f.realm)
	}
	if a.Since, a.Until, err = f.span(time.Now()); err != nil {
		return m, a, err
	}
	a.Realm, a.Level, a.Unproven = poclog.Realm(f.realm), f.level, f.unproven
	m = monitor.Filter{Kind: monitor.KindProof, Realm: a.Realm, MinLevel: f.level, Since: a.Since, Until: a.Until}
	return m, a, nil
}

// span of time as a terminal shows it: the end without what it has in common with the beginning.
func shortSpan(from, to time.Time) string {
	const day, minute = "2006-01-02", "15:04"
	s := from.UTC().Format(day + " " + minute)
	switch {
	case from.Truncate(time.Minute).Equal(to.Truncate(time.Minute)):
		return s
	case from.UTC().Format(day) == to.UTC().Format(day):
		return s + "–" + to.UTC().Format(minute)
	case from.UTC().Year() == to.UTC().Year():
		return s + "–" + to.UTC().Format("01-02 "+minute)
	}
	return s + "–" + to.UTC().Format(day+" "+minute)
}

// shortPlace is a place as a terminal shows it: a zone's name has its region's.
func shortPlace(p query.Place) string {
	if p.Zone != "" && strings.HasPrefix(p.Zone, p.Region) {
		return p.Provider + "/" + p.Zone
	}
	return p.String()
}

// resolve finds the identity that somebody asks about. That no entry names it is an answer; what
// names none or several is wrong usage.
func resolve(ctx context.Context, m *monitor.Monitor, text string) (poclog.Identity, error) {
	id, err := query.Resolve(m.Records(ctx, monitor.Filter{Kind: monitor.KindProof}), text)
	switch {
	case errors.Is(err, query.ErrUnclear):
		return "", usagef("%w", err)
	case err != nil && !errors.Is(err, query.ErrUnnamed):
		return "", undecided(err)
	}
	return id, err
}

// subjectOf reads what alerts are about: "", "log:<origin>", or an identity, also in a short form.
func subjectOf(ctx context.Context, m *monitor.Monitor, text string) (poclog.Identity, error) {
	if text == "" || strings.HasPrefix(text, "log:") {
		return poclog.Identity(text), nil
	}
	return resolve(ctx, m, text)
}

// placeTexts are places as records name them, on a terminal as short as placeCell's.
func placeTexts(places []string, full bool) []string {
	if full {
		return places
	}
	short := make([]string, len(places))
	for i, p := range places {
		parts := append(strings.SplitN(p, "/", 3), "", "")
		short[i] = shortPlace(query.Place{Provider: parts[0], Region: parts[1], Zone: parts[2]})
	}
	return short
}

// placeCell says where, and how far that is proven.
func placeCell(p query.Place, hint string, full bool) string {
	text := shortPlace(p)
	if full {
		text = p.String()
	}
	switch {
	case text == "" && hint == "":
		return "unproven"
	case hint == "":
		return text
	case text == "":
		return "unproven (" + hint + "?)"
	}
	return text + " (" + hint + "?)"
}

func refText(r monitor.EntryRef) string { return fmt.Sprintf("%s#%d", r.Origin, r.Index) }
