package monitor

import (
	"net/http/httptest"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/internal/testlog"
	"github.com/poclog/poclog/verify/receipt"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

// The challenge of a later entry shows that an entry was there by then only if it is of this log's
// tree, and the entry is in it. Otherwise a log that shows its witnesses another history could have
// evidence look older than it is.
func TestOnlyCheckpointsOfTheTreeBoundATime(t *testing.T) {
	const origin = "log.test"
	leaf := func(s string) []byte { return []byte(s) }
	log := &testlog.Log{Origin: origin, Leaves: [][]byte{leaf("a"), leaf("b"), leaf("c"), leaf("d")}}
	forked := &testlog.Log{Origin: origin, Leaves: [][]byte{leaf("a"), leaf("b"), leaf("x"), leaf("d")}}
	elsewhere := &testlog.Log{Origin: "other.test", Leaves: log.Leaves}
	served := testlog.NewStation(log)
	srv := httptest.NewServer(served)
	t.Cleanup(srv.Close)
	policy, err := tlogpolicy.Parse([]byte(served.Policy))
	if err != nil {
		t.Fatal(err)
	}
	cl, err := client.New(client.Config{URL: srv.URL, Policy: policy})
	if err != nil {
		t.Fatal(err)
	}
	r := new(run)
	of := &tail{r: r, cl: cl, l: &logState{origin: origin, policy: policy, next: 4}}
	r.logs = []*tail{of}
	for _, l := range log.Leaves {
		of.tree.add(receipt.LeafHash(l))
	}
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	unseen := log.Checkpoint(3, testlog.Cosigner{Signer: testlog.LogKey(origin), At: at})
	for _, c := range []struct {
		name       string
		checkpoint []byte
		want       time.Time
	}{
		{"one that covers it", testlog.Signed(log, 3, at), at},
		{"one that ends before it", testlog.Signed(log, 2, at), time.Time{}},
		{"one of another history", testlog.Signed(forked, 3, at), time.Time{}},
		{"one of another log", testlog.Signed(elsewhere, 3, at), time.Time{}},
		{"one that no witness saw", unseen, time.Time{}},
		{"one that nobody signed", []byte("log.test\n3\nAAAA\n\n"), time.Time{}},
	} {
		b := new(poclog.Bundle)
		b.Set(poclog.ItemChallenge, must(t, (&poclog.Challenge{Profile: poclog.TDX, Checkpoint: c.checkpoint}).Marshal))
		file := must(t, b.Marshal)
		served.Keep(file)
		var later row
		digest := poclog.Sum(file)
		copy(later[offBundle:], digest[:])
		s := &side{tail: of, index: 2}
		if err := s.coverBy(t.Context(), &later); err != nil || !s.claim.T2.Equal(c.want) {
			t.Errorf("%s: there by %v, %v: want %v", c.name, s.claim.T2, err, c.want)
		}
	}
}

func must(t *testing.T, marshal func() ([]byte, error)) []byte {
	t.Helper()
	file, err := marshal()
	if err != nil {
		t.Fatal(err)
	}
	return file
}
