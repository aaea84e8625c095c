package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
)

// printEntry shows a proof for people: what it claims, then each check on a line.
func printEntry(w io.Writer, e *poclog.Entry, notes map[verify.Check]string) {
	meaning := "every required check passed: the VM is bound to its place"
	if e.Level == poclog.LevelChip {
		meaning = "a genuine chip; its place is unproven"
		if !e.Joined() && !e.Profile.ChipOnly() {
			meaning = "a genuine chip; the TPM beside it is not bound to it, and the entry names nothing of it"
		}
	}
	fmt.Fprintf(w, "  level      %d: %s\n", e.Level, meaning)
	fmt.Fprintf(w, "  profile    %s, realm %s\n", e.Profile, e.Realm)
	for _, id := range e.Identities() {
		fmt.Fprintf(w, "  identity   %s\n", id)
	}
	for _, key := range e.Publishers {
		fmt.Fprintf(w, "  publisher  key %s\n", key)
	}
	if e.Place != nil {
		fmt.Fprintf(w, "  place      %s\n", placeText(e))
	}
	for _, x := range e.Endorsements {
		fmt.Fprintf(w, "  endorsed   %s\n", endorsementText(&x))
	}
	fmt.Fprintf(w, "  launch     %x%s\n", e.CVM.Measurement, endorsed(e.CVM.EndorsedBy))
	if t := e.CVM.TCB; t != nil {
		fmt.Fprintf(w, "  platform   %s as of %s, evaluation %d%s\n", t.Status, t.Date.Format("2006-01-02"), t.Evaluation, advisories(t.Advisories))
	}
	fmt.Fprintf(w, "  appraised  %s by policy %.16s…\n", e.Appraised.UTC().Format(time.RFC3339), e.Evidence.Policy.SHA256.String())
	for _, c := range verify.Checks() {
		state := ""
		switch {
		case slices.Contains(e.Checks, string(c)):
			state = "ok"
		case slices.Contains(e.Absent, string(c)):
			state = "absent"
		default:
			continue
		}
		labelled(w, fmt.Sprintf("  %-9s  %-18s ", state, c), notes[c])
	}
}

// placeText is an entry's place and who says so, or "-" where nobody does. Parts that the entry
// does not prove come last, and are called so.
func placeText(e *poclog.Entry) string {
	if e.Place == nil {
		return "-"
	}
	var proven, hints []string
	p := e.ProvenPlace()
	for _, c := range []struct{ said, proven poclog.Claim }{{e.Place.Provider, p.Provider}, {e.Place.Region, p.Region}, {e.Place.Zone, p.Zone}} {
		text := fmt.Sprintf("%s (%s)", c.said.Value, strings.Join(c.said.By, ", "))
		switch {
		case c.proven.Value != "":
			proven = append(proven, text)
		case c.said.Value != "":
			hints = append(hints, text)
		}
	}
	if len(hints) > 0 {
		proven = append(proven, "unproven: "+strings.Join(hints, ", "))
	}
	return strings.Join(proven, ", ")
}

func endorsed(by string) string {
	if by == "" {
		return ", endorsed by nobody"
	}
	return ", endorsed by the " + by
}

func advisories(ids []string) string {
	if len(ids) == 0 {
		return ""
	}
	return " (" + strings.Join(ids, ", ") + ")"
}
