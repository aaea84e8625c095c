package poclog

import (
	"fmt"
	"strings"
	"time"
)

// Words says what a statement says, on a line for people. Texts from outside are quoted.
func (s *Statement) Words() string {
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	switch s.Type {
	case Endorse:
		add("level %d by %q, labelled %q, from %s until %s", s.Level, s.Method, s.Label, stampOf(s.From), stampOf(s.Until))
		if s.Place != nil {
			add("said to stand in %s", s.Place)
		}
	case Revoke:
		what := "all endorsements"
		if s.Of != nil {
			what = "statement " + s.Of.String()
		}
		add("%s since %s, %s", what, stampOf(s.Since), s.Reason)
	case Move:
		add("from %s to %s, between %s and %s", s.Source, s.Target, stampOf(s.From), stampOf(s.Until))
	case Commit:
		add("%d machines at level %d, from %s until %s, root %s", s.Count, s.Level, stampOf(s.From), stampOf(s.Until), s.Root)
	}
	if s.Text != "" {
		add("%q", s.Text)
	}
	if len(parts) == 0 {
		return "without words"
	}
	return strings.Join(parts, ", ")
}

func stampOf(t time.Time) string { return t.UTC().Format(time.RFC3339) }
