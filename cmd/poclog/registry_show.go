package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/terminal"
	"github.com/poclog/poclog/verify/dossier"
	"github.com/poclog/poclog/verify/vouch/registry"
)

// A shownStatement is a statement in JSON; a stable schema.
type shownStatement struct {
	Number    uint64               `json:"number"`
	Time      string               `json:"time"`
	Type      poclog.StatementType `json:"type"`
	Registrar string               `json:"registrar"`
	Serial    uint32               `json:"serial"`
	Says      string               `json:"says"`
	Documents []string             `json:"documents,omitempty"` // digests
}

// showStatements says the standing of an identity, and what was stated of it.
func showStatements(cmd *cobra.Command, a *dossier.Answer, id poclog.Identity, pinned, asJSON bool) error {
	var list []shownStatement
	for i := range a.Entries {
		e := a.Entries[i].Leaf().Statement
		if e == nil || e.Envelope.Statement.Subject != id {
			continue
		}
		s := &e.Envelope.Statement
		one := shownStatement{Number: a.Entries[i].Number, Time: stamp(e.Time), Type: s.Type, Registrar: s.Registrar, Serial: s.Serial, Says: s.Words()}
		for _, d := range s.Documents {
			one.Documents = append(one.Documents, d.SHA256.String())
		}
		list = append(list, one)
	}
	w := cmd.OutOrStdout()
	if asJSON {
		return printJSON(w, map[string]any{"v": 1, "origin": a.Origin, "size": a.Size, "verdict": a.Verdict, "subjects": a.Subjects, "statements": list})
	}
	fmt.Fprintf(w, "%s, in %s up to entry %d\n", id, a.Origin, a.Size)
	if !pinned {
		field(w, "standing", "you pinned no registrar: poclog registry trust")
	}
	for i := range a.Subjects {
		printStandings(w, &a.Subjects[i])
	}
	if len(list) == 0 {
		field(w, "statements", "none")
	}
	for _, s := range list {
		field(w, "entry", "%d, %s: %s by %q, serial %d: %s", s.Number, s.Time, s.Type, s.Registrar, s.Serial, s.Says)
		for _, d := range s.Documents {
			field(w, "", "document %s", d)
		}
	}
	return nil
}

// printStandings says what each pinned registrar says of an identity. The words are theirs.
func printStandings(w io.Writer, s *dossier.Subject) {
	for i := range s.Standings {
		style, text := saysNow(&s.Standings[i])
		marked(w, style, "standing", "%q: %s", s.Standings[i].Registrar, text)
	}
	for _, m := range s.Moves {
		field(w, "move", "%q announced it: from %s to %s", m.Registrar, m.Source, m.Target)
	}
}

func saysNow(s *registry.Standing) (terminal.Style, string) {
	switch {
	case s.Frozen != nil:
		return terminal.Bad, "frozen, under investigation until " + stamp(*s.Frozen)
	case s.Revoked != nil:
		return terminal.Bad, fmt.Sprintf("revoked since %s (%s)", stamp(*s.Revoked), s.Reason)
	case s.Endorsed:
		return terminal.Good, fmt.Sprintf("endorsed at level %d until %s, labelled %q", s.Level, stamp(*s.Until), s.Label)
	}
	return terminal.Bad, "not endorsed now"
}
