package tlogpolicy_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/poclog/poclog/internal/testlog"
)

// What a policy means is told by witnesses, however their keys are grouped.
func TestPoliciesInWords(t *testing.T) {
	keys := []string{
		"log " + testlog.LogKey(origin).VKey,
		"witness a1 " + testlog.WitnessKey("a.test").VKey, "witness a2 " + testlog.MLDSAKey("a.test").VKey,
		"witness b " + testlog.WitnessKey("b.test").VKey, "witness c " + testlog.WitnessKey("c.test").VKey,
	}
	for _, c := range []struct {
		groups []string
		want   string
	}{
		{nil, "none: the log's signature alone is enough"},
		{[]string{"b"}, "b"},
		{[]string{"q any a1 a2"}, "any 1 of a1, a2"},
		{[]string{"q all a1 a2"}, "all of a1, a2"},
		{[]string{"q any b"}, "b"},
		{[]string{"a any a1 a2", "q 2 a b c"}, "any 2 of a, b, c"},
		{[]string{"either any b c", "q all a1 either"}, "all of a1, (any 1 of b, c)"},
		{[]string{"both all a1 a2", "q all both c"}, "all of (all of a1, a2), c"},
		{[]string{"a any a1 a2", "q any a"}, "a"},
	} {
		lines, quorum := slices.Clone(keys), "none"
		for _, g := range c.groups {
			quorum, _, _ = strings.Cut(g, " ")
			if quorum != g {
				lines = append(lines, "group "+g)
			}
		}
		if got := parse(t, append(lines, "quorum "+quorum)...).QuorumWords(); got != c.want {
			t.Errorf("%q: %q, want %q", c.groups, got, c.want)
		}
	}
}
