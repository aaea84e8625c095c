package tlogpolicy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/poclog/poclog/internal/testlog"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

// A witness with two keys counts once where its keys have a group of their own, and twice where a
// threshold counts them flatly: then one witness alone meets "2".
func TestOneWitnessThatCountsTwiceIsFound(t *testing.T) {
	var lines strings.Builder
	fmt.Fprintf(&lines, "log %s\n", testlog.LogKey("log.test").VKey)
	for _, w := range []string{"w1", "w2", "w3"} {
		keys := []string{testlog.WitnessKey(w).VKey, testlog.MLDSAKey(w).VKey}
		fmt.Fprintf(&lines, "witness %s-a %s\nwitness %s-b %s\n", w, keys[0], w, keys[1])
	}
	grouped := "group w1 any w1-a w1-b\ngroup w2 any w2-a w2-b\n"
	for _, c := range []struct{ groups, want string }{
		{"group q 2 w1-a w1-b w2-a w2-b\nquorum q\n", "q counts w1 as w1-a,w1-b; q counts w2 as w2-a,w2-b"},
		{"group q 3 w1-a w1-b w2-a\nquorum q\n", "q counts w1 as w1-a,w1-b"},
		{"group q any w1-a w1-b w2-a w2-b\nquorum q\n", ""},
		{grouped + "group q 2 w1 w2\nquorum q\n", ""},
		{"group w1 all w1-a w1-b\ngroup q 2 w1 w2-a w3-a\nquorum q\n", "w1 counts w1 as w1-a,w1-b"},
		{"group x any w1-a w2-a\ngroup y any w1-b w3-a\ngroup q 2 x y\nquorum q\n", "q counts w1 as x,y"},
		{"quorum none\n", ""},
	} {
		p, err := tlogpolicy.Parse([]byte(lines.String() + c.groups))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, d := range p.DoubleCounts() {
			got = append(got, fmt.Sprintf("%s counts %s as %s", d.Group, d.KeyName, strings.Join(d.Members, ",")))
		}
		if s := strings.Join(got, "; "); s != c.want {
			t.Errorf("%q: %s, want %s", c.groups, s, c.want)
		}
	}
}
