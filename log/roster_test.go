package log

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog/internal/testlog"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

// Whose clocks are off stops a log if, and only if, those who are off in one direction could be the
// quorum: then t1 could be too late, or t2 too early.
func TestClocksOfAQuorum(t *testing.T) {
	const over, under = verify.MaxSkew + 2*time.Second, verify.MaxSkew - 2*time.Second
	for _, c := range []struct {
		quorum string
		off    [3]time.Duration
		stops  bool
	}{
		{"2", [3]time.Duration{0, 0, 0}, false},
		{"2", [3]time.Duration{under, -under, under}, false},
		{"2", [3]time.Duration{over, 0, 0}, false},
		{"2", [3]time.Duration{over, over, 0}, true},
		{"2", [3]time.Duration{-over, 0, -over}, true},
		{"2", [3]time.Duration{-over, 0, over}, false},
		{"any", [3]time.Duration{0, 0, over}, true},
		{"any", [3]time.Duration{0, -over, 0}, true},
		{"all", [3]time.Duration{over, over, under}, false},
		{"all", [3]time.Duration{over, over, over}, true},
	} {
		text, names := "log "+testlog.LogKey("log.test").VKey+"\n", ""
		var by []testlog.Cosigner
		now := time.Now().Truncate(time.Second)
		for i, off := range c.off {
			k := testlog.WitnessKey(fmt.Sprintf("w%d.test", i))
			text += fmt.Sprintf("witness w%d %s http://w%d.test\n", i, k.VKey, i)
			names += fmt.Sprintf(" w%d", i)
			by = append(by, testlog.Cosigner{Signer: k, At: now.Add(off)})
		}
		p, err := tlogpolicy.Parse([]byte(text + "group g " + c.quorum + names + "\nquorum g\n"))
		if err != nil {
			t.Fatal(err)
		}
		v, err := p.OpenLogged((&testlog.Log{Origin: "log.test"}).Checkpoint(0, append(by, testlog.Cosigner{Signer: testlog.LogKey("log.test")})...))
		if err != nil {
			t.Fatal(err)
		}
		r := newRoster(p, slog.New(slog.DiscardHandler), time.Now)
		if err := r.clocks(); err != nil {
			t.Errorf("nothing is known: %v", err)
		}
		r.observe(v, now, now)
		err = r.clocks()
		if (err != nil) != c.stops {
			t.Errorf("%s of %v: %v", c.quorum, c.off, err)
		}
		for i, off := range c.off {
			if named := err != nil && strings.Contains(err.Error(), fmt.Sprintf("w%d (http://w%d.test) is", i, i)); err != nil && named != (off.Abs() > verify.MaxSkew) {
				t.Errorf("%s of %v: %v", c.quorum, c.off, err)
			}
		}
		if want := max(0, -min(c.off[0], c.off[1], c.off[2])); want <= verify.MaxSkew && r.lag() != want {
			t.Errorf("%v: lag %s", c.off, r.lag())
		}
	}
}
