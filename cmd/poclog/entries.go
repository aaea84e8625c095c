package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/internal/terminal"
	"github.com/poclog/poclog/monitor/query"
)

// A filter picks entries.
type filter struct {
	identity     string
	place        string
	since, until string

	id     *query.Naming   // nil: any
	found  poclog.Identity // that a short form names
	times  [2]time.Time
	asJSON bool
}

func newLogEntriesCmd() *cobra.Command {
	var f filter
	var lf logFlags
	c := &cobra.Command{
		Use:   "entries URL",
		Short: "List a log's entries, every one proven to be in it",
		Example: "  poclog log entries https://log.example/2026 --identity intel:tdx:ppid:00112233445566778899aabbccddeeff\n" +
			"  poclog log entries https://log.example/2026 --place gce/us-central1-a --since 2026-11-01T00:00:00Z --json",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeLogs,
		RunE: func(cmd *cobra.Command, args []string) error {
			lf.url = args[0]
			return f.run(cmd, &lf)
		},
	}
	c.Flags().StringVar(&lf.policy, "policy", "", "tlog-policy: whose signatures count")
	c.Flags().StringVar(&f.identity, "identity", "", "entries that name this chip, key, instance or quote, whole or by the beginning of its value")
	c.Flags().StringVar(&f.place, "place", "", "entries that claim this place, proven or not: provider, provider/region or provider/zone")
	c.Flags().StringVar(&f.since, "since", "", "entries appraised at this time or later: RFC 3339, a date, or how long ago (24h, 7d)")
	c.Flags().StringVar(&f.until, "until", "", "entries appraised before this time")
	c.Flags().BoolVar(&f.asJSON, "json", false, "print a JSON object a line: index and entry")
	return c
}

func (f *filter) parse() (err error) {
	if f.identity != "" {
		id, err := query.ParseNaming(f.identity)
		if err != nil {
			return usagef("--identity: %w", err)
		}
		f.id = &id
	}
	if f.times[0], err = parseMoment("since", f.since, time.Now()); err == nil {
		f.times[1], err = parseMoment("until", f.until, time.Now())
	}
	return err
}

func (f *filter) run(cmd *cobra.Command, lf *logFlags) error {
	if err := f.parse(); err != nil {
		return err
	}
	cl, err := lf.client(cmd)
	if err != nil {
		return err
	}
	cp, err := cl.Checkpoint(cmd.Context())
	if err != nil {
		return fromLog(err)
	}
	var held []func() error // until it is known that a short form means one identity
	for leaf, err := range cl.Entries(cmd.Context(), cp.Tree, client.Range{To: cp.Size, Progress: progress(cmd, "entries")}) {
		if err != nil {
			return fromLog(err)
		}
		parsed, err := poclog.ParseLeaf(leaf.Entry)
		if err != nil {
			return fmt.Errorf("entry %d: %w", leaf.Index, err)
		}
		if !f.picks(parsed) {
			continue
		}
		if f.id == nil || f.id.Whole != "" {
			if err := f.print(cmd.OutOrStdout(), leaf, parsed); err != nil {
				return err
			}
			continue
		}
		for _, id := range parsed.Proof.Identities() {
			if f.found, err = f.id.One(f.found, id); err != nil {
				return usagef("--identity: %w", err)
			}
		}
		held = append(held, func() error { return f.print(cmd.OutOrStdout(), leaf, parsed) })
	}
	for _, print := range held {
		if err := print(); err != nil {
			return err
		}
	}
	return nil
}

// all reports whether the filter asks for nothing.
func (f *filter) all() bool { return f.id == nil && f.place == "" && f.since == "" && f.until == "" }

func (f *filter) picks(l poclog.Leaf) bool {
	e := l.Proof
	if e == nil {
		return f.all()
	}
	if f.id != nil && !slices.ContainsFunc(e.Identities(), f.id.Names) {
		return false
	}
	if f.since != "" && e.Appraised.Before(f.times[0]) || f.until != "" && !e.Appraised.Before(f.times[1]) {
		return false
	}
	return f.place == "" || claims(e, f.place)
}

// claims reports whether an entry claims a place, authenticated or not: the list shows by whom.
func claims(e *poclog.Entry, place string) bool {
	provider, within, _ := strings.Cut(place, "/")
	p := e.Place
	return p != nil && p.Provider.Value == provider && (within == "" || p.Region.Value == within || p.Zone.Value == within)
}

func (f *filter) print(w io.Writer, leaf client.Leaf, l poclog.Leaf) error {
	if f.asJSON {
		line, err := json.Marshal(map[string]any{"v": 1, "index": leaf.Index, "entry": json.RawMessage(leaf.Entry)})
		if err == nil {
			_, err = fmt.Fprintf(w, "%s\n", line)
		}
		return err
	}
	if width := widthOf(w); width > 0 {
		return printEntry(w, width, leaf, l)
	}
	var err error
	switch {
	case l.Proof != nil:
		_, err = fmt.Fprintf(w, "%8d  %s  level %d  %-16s  %s  %s\n", leaf.Index, l.Proof.Appraised.Format(time.RFC3339), l.Proof.Level, l.Proof.Profile, l.Proof.Chip(), placeText(l.Proof))
	case l.Config != nil:
		_, err = fmt.Fprintf(w, "%8d  %s  config   policy %.16s…  %s\n", leaf.Index, l.Config.Time.Format(time.RFC3339), l.Config.Policy.SHA256.String(), l.Config.Software)
	case l.Statement != nil:
		s := &l.Statement.Envelope.Statement
		_, err = fmt.Fprintf(w, "%8d  %s  %-8s %s  by %s\n", leaf.Index, l.Statement.Time.Format(time.RFC3339), s.Type, cmp.Or(string(s.Subject), "a fleet"), s.Registrar)
	case l.Index != nil:
		_, err = fmt.Fprintf(w, "%8d  index of all entries below %d\n", leaf.Index, l.Index.Size)
	default:
		_, err = fmt.Fprintf(w, "%8d  unknown kind or version, %d bytes\n", leaf.Index, len(leaf.Entry))
	}
	return err
}

// wideEntries is from which width on an entry's line has its profile.
const wideEntries = 100

// printEntry shows an entry on a terminal: what matters, in short forms, and the place last, which
// goes on below.
func printEntry(w io.Writer, width int, leaf client.Leaf, l poclog.Leaf) error {
	label := fmt.Sprintf("%6d  %-16s  ", leaf.Index, "")
	var text string
	const minute = "2006-01-02 15:04"
	switch {
	case l.Proof != nil:
		e := l.Proof
		label = fmt.Sprintf("%6d  %s  level %d  ", leaf.Index, e.Appraised.UTC().Format(minute), e.Level)
		if width >= wideEntries {
			label += fmt.Sprintf("%-16s  ", e.Profile)
		}
		label += fmt.Sprintf("%-14s  ", shortID(e.Chip()))
		text = placeOfEntry(e)
	case l.Config != nil:
		label = fmt.Sprintf("%6d  %s  ", leaf.Index, l.Config.Time.UTC().Format(minute))
		text = fmt.Sprintf("config: policy %.16s…, %s", l.Config.Policy.SHA256.String(), l.Config.Software)
	case l.Statement != nil:
		s := &l.Statement.Envelope.Statement
		label = fmt.Sprintf("%6d  %s  ", leaf.Index, l.Statement.Time.UTC().Format(minute))
		text = fmt.Sprintf("%s by %s of a fleet", s.Type, s.Registrar)
		if s.Subject != "" {
			text = fmt.Sprintf("%s by %s of %s", s.Type, s.Registrar, shortID(s.Subject))
		}
	case l.Index != nil:
		text = fmt.Sprintf("index of all entries below %d", l.Index.Size)
	default:
		text = fmt.Sprintf("unknown kind or version, %d bytes", len(leaf.Entry))
	}
	_, err := fmt.Fprintln(w, terminal.Hang(label, text, width))
	return err
}

// placeOfEntry says where an entry proves its VM to stand, or that it proves no place.
func placeOfEntry(e *poclog.Entry) string {
	shown := func(p poclog.Place) string {
		return shortPlace(query.Place{Provider: p.Provider.Value, Region: p.Region.Value, Zone: p.Zone.Value})
	}
	switch p := e.ProvenPlace(); {
	case p.Provider.Value != "":
		return shown(p)
	case e.Place != nil && e.Place.Provider.Value != "":
		return "unproven (" + shown(*e.Place) + "?)"
	}
	return "unproven"
}
