package tlogpolicy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog/internal/testlog"
)

// A tree is a witness, or a group of at least two trees.
type tree struct {
	witness   string
	threshold int
	members   []*tree
}

// met is the definition of the specification, on names.
func (g *tree) met(by map[string]bool) bool {
	if g.witness != "" {
		return by[g.witness]
	}
	n := 0
	for _, m := range g.members {
		if m.met(by) {
			n++
		}
	}
	return n >= g.threshold
}

// lines writes the groups, members first, and returns the tree's name.
func (g *tree) lines(out *strings.Builder, count *int) string {
	if g.witness != "" {
		return g.witness
	}
	var names []string
	for _, m := range g.members {
		names = append(names, m.lines(out, count))
	}
	*count++
	name := fmt.Sprintf("g%d", *count)
	fmt.Fprintf(out, "group %s %d %s\n", name, g.threshold, strings.Join(names, " "))
	return name
}

// partitions lists the ways to divide names into blocks.
func partitions(names []string) [][][]string {
	if len(names) == 0 {
		return [][][]string{nil}
	}
	var out [][][]string
	for _, rest := range partitions(names[1:]) {
		out = append(out, append([][]string{{names[0]}}, rest...))
		for i := range rest {
			joined := append([][]string(nil), rest...)
			joined[i] = append([]string{names[0]}, rest[i]...)
			out = append(out, joined)
		}
	}
	return out
}

// trees lists every nesting of groups, with every threshold, in which each name stands once.
func trees(names []string) []*tree {
	if len(names) == 1 {
		return []*tree{{witness: names[0]}}
	}
	var out []*tree
	for _, blocks := range partitions(names) {
		if len(blocks) < 2 {
			continue
		}
		choices := [][]*tree{nil}
		for _, block := range blocks {
			var longer [][]*tree
			for _, c := range choices {
				for _, t := range trees(block) {
					longer = append(longer, append(append([]*tree(nil), c...), t))
				}
			}
			choices = longer
		}
		for _, members := range choices {
			for k := 1; k <= len(members); k++ {
				out = append(out, &tree{threshold: k, members: members})
			}
		}
	}
	return out
}

// reference finds both bounds by trying every second, straight from their definitions.
func reference(g *tree, times map[string]int) (before, after int, ok bool) {
	for t := 1; t <= 4; t++ {
		late, early := map[string]bool{}, map[string]bool{}
		for name, at := range times {
			late[name], early[name] = at >= t, at <= t
		}
		if g.met(late) {
			before = t
		}
		if after == 0 && g.met(early) {
			after = t
		}
	}
	return before, after, after != 0
}

// Every nesting of groups over one to four of four witnesses, every threshold, every subset of
// cosigners in every order of times, equal ones included.
func TestEveryPolicyOfFourWitnessesAgreesWithItsDefinition(t *testing.T) {
	names := []string{"w1", "w2", "w3", "w4"}
	base := "log " + testlog.LogKey("log.test").VKey + "\n"
	for _, n := range names {
		base += "witness " + n + " " + testlog.WitnessKey(n+".test").VKey + "\n"
	}
	policies, cases := 0, 0
	for n := 1; n <= len(names); n++ {
		for _, g := range trees(names[:n]) {
			var groups strings.Builder
			quorum := g.lines(&groups, new(int))
			p, err := Parse([]byte(base + groups.String() + "quorum " + quorum + "\n"))
			if err != nil {
				t.Fatalf("%s: %v", groups.String(), err)
			}
			policies++
			for code := range 5 * 5 * 5 * 5 {
				compareWithReference(t, p, g, code, names)
				cases++
			}
			compareSinglePoints(t, p, g, names)
		}
	}
	if policies != 1+2+15+184 {
		t.Errorf("%d policies", policies)
	}
	t.Logf("%d policies, %d cases", policies, cases)
}

// compareWithReference takes the times of the four witnesses from the digits of code in base 5:
// absent, or second 1 to 4.
func compareWithReference(t *testing.T, p *Policy, g *tree, code int, names []string) {
	t.Helper()
	v, times, by := &View{policy: p}, map[string]int{}, map[string]bool{}
	for _, name := range names {
		if second := code % 5; second > 0 {
			times[name], by[name] = second, true
			v.Cosignatures = append(v.Cosignatures, Cosignature{Name: name, Time: time.Unix(int64(second), 0), First: time.Unix(int64(second), 0)})
		}
		code /= 5
	}
	before, after, ok := reference(g, times)
	gotBefore, ok1 := v.NotBefore()
	gotAfter, ok2 := v.NotAfter()
	if ok1 != ok || ok2 != ok || v.Satisfies(p.quorum) != g.met(by) || ok != g.met(by) {
		t.Fatalf("%v under %v: met: %v, %v, %v: want %v", times, p.groups, ok1, ok2, v.Satisfies(p.quorum), ok)
	}
	if ok && (gotBefore.Unix() != int64(before) || gotAfter.Unix() != int64(after)) {
		t.Fatalf("%v under %v: %d to %d: want %d to %d", times, p.groups, gotBefore.Unix(), gotAfter.Unix(), before, after)
	}
}

func compareSinglePoints(t *testing.T, p *Policy, g *tree, names []string) {
	t.Helper()
	var want []string
	for _, without := range names {
		by := map[string]bool{}
		for _, n := range names {
			by[n] = n != without
		}
		if !g.met(by) {
			want = append(want, without+".test")
		}
	}
	if got := p.SinglePointsOfFailure(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("%v: %v: want %v", p.groups, got, want)
	}
}
