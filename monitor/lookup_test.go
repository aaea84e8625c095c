package monitor_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/testlog"
	"github.com/poclog/poclog/monitor"
)

// found lists the entries that a filter picks.
func found(t *testing.T, m *monitor.Monitor, f monitor.Filter) (list []string, err error) {
	t.Helper()
	for r, err := range m.Records(t.Context(), f) {
		if err != nil {
			return nil, err
		}
		list = append(list, fmt.Sprintf("%d of %s", r.Index, r.Origin))
	}
	return list, nil
}

// Records of an identity are the same with and without the index, also where logs have grown since;
// with it, other identities' rows are not read.
func TestAnIndexFindsWhatAScanFinds(t *testing.T) {
	f := newFleet(7, 60, 90, origin, "sister.test")
	f.serve(t)
	m, dir := newMonitor(t, monitor.Config{Clock: func() time.Time { return at(f.tick).Add(time.Minute) }})
	for _, l := range f.logs {
		if _, err := m.AddLog(t.Context(), l.url, testlog.PolicyText(l.origin)); err != nil {
			t.Fatal(err)
		}
	}
	asked := func() map[monitor.Filter][]string {
		all := map[monitor.Filter][]string{{UserData: poclog.Sum([]byte("key"))}: nil, {Identity: "quote:none"}: nil, {UserData: poclog.Sum(nil)}: nil}
		for r, err := range m.Records(t.Context(), monitor.Filter{Kind: monitor.KindProof}) {
			if err != nil {
				t.Fatal(err)
			}
			for _, id := range []poclog.Identity{r.Chip, r.PIID, r.EK, r.AK, r.Instance, r.Quote} {
				if id != "" && (id != r.Quote || r.Index%50 == 0) {
					all[monitor.Filter{Identity: id}] = nil
					all[monitor.Filter{Identity: id, Origin: origin, From: 40, To: 700}] = nil
				}
			}
		}
		for q := range all {
			var err error
			if all[q], err = found(t, m, q); err != nil {
				t.Fatal(err)
			}
		}
		return all
	}
	more := func() {
		for range 12 {
			f.hour(60)
		}
		f.end()
		once(t, m)
	}
	for round := range 3 {
		more()
		want := asked() // by the index of the round before, and a scan of what came since
		if err := m.Index(t.Context()); err != nil {
			t.Fatal(err)
		}
		n := 0
		for q, list := range want {
			got, err := found(t, m, q)
			if err != nil || !slices.Equal(got, list) {
				t.Fatalf("round %d, %+v: %v, %v: want %v", round, q, got, err, list)
			}
			n += len(list)
		}
		if n < 500 || len(want[monitor.Filter{UserData: poclog.Sum([]byte("key"))}]) == 0 || len(want[monitor.Filter{Identity: "quote:none"}]) != 0 {
			t.Errorf("round %d: %d entries of %d questions", round, n, len(want))
		}
	}
	var first *monitor.Record
	for r, err := range m.Records(t.Context(), monitor.Filter{Origin: origin, Kind: monitor.KindProof}) {
		if err != nil {
			t.Fatal(err)
		}
		first = r
		break
	}
	file, err := os.OpenFile(filepath.Join(dir, "records", "1.rows"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteAt([]byte("damage"), 1000*512+100); err != nil {
		t.Fatal(err)
	}
	if _, err := found(t, m, monitor.Filter{Kind: monitor.KindProof}); err == nil {
		t.Fatal("a damaged row is read")
	}
	if list, err := found(t, m, monitor.Filter{Identity: first.Quote}); err != nil || len(list) != 1 {
		t.Errorf("a quote: %v, %v: rows of other identities are read", list, err)
	}
}
