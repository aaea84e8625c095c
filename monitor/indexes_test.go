package monitor_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/indexmap"
	"github.com/poclog/poclog/internal/lab/attack"
	"github.com/poclog/poclog/internal/testlog"
	"github.com/poclog/poclog/monitor"
	"github.com/poclog/poclog/verify/dossier"
	"github.com/poclog/poclog/verify/index"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

// An indexed log commits to an index of what it says that its entries are.
type indexed struct {
	*station
	t     *testing.T
	m     *monitor.Monitor
	dir   string
	clock *time.Time
	said  *indexmap.Map               // of the entries as its index has them
	asked func(names []string) []byte // what it answers about names; nil: nothing
}

const indexOrigin = "log.test/indexed"

func newIndexed(t *testing.T) *indexed {
	t.Helper()
	x := &indexed{t: t, station: &station{Station: testlog.NewStation(&testlog.Log{Origin: indexOrigin})}, said: must(indexmap.Open(filepath.Join(t.TempDir(), "said.db"), nil))}
	t.Cleanup(func() { x.said.Close() })
	srv := httptest.NewServer(x)
	t.Cleanup(srv.Close)
	x.url = srv.URL
	x.m, x.dir, x.clock = watcher(t)
	x.follow(t, x.m)
	x.entries(3)
	return x
}

func (x *indexed) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/v1/dossiers" && x.asked != nil {
		_, _ = w.Write(x.asked(r.URL.Query()["name"])) // the client may be gone
		return
	}
	x.Station.ServeHTTP(w, r)
}

// entry is a proof of one chip, which is the n-th of the log.
func (x *indexed) entry(n int) []byte {
	e := &poclog.Entry{
		Appraisal: 1, Profile: poclog.TDX, Level: 2, Realm: poclog.Lab, Chassis: []poclog.Identity{poclog.Identity("intel:tdx:ppid:" + strings.Repeat("ab", 16))},
		Quote: poclog.Identity("quote:" + poclog.Sum(fmt.Appendf(nil, "%d", n)).String()), CVM: poclog.CVM{Technology: "tdx", Measurement: make([]byte, 48), FMSPC: make([]byte, 6), PCEID: make([]byte, 2)},
		Evidence: poclog.EvidenceDigests{Bundle: poclog.BlobOf([]byte("b")), Policy: poclog.BlobOf([]byte("p"))}, Appraised: poclog.UnixTime(attack.Now.Unix()),
	}
	return must(e.Marshal())
}

// add appends leaves, and has the index take what is said of them.
func (x *indexed) add(leaf, said []byte) {
	x.t.Helper()
	x.Add(leaf)
	if err := x.said.Follow(x.t.Context(), uint64(len(x.Log.Leaves))-1, [][]byte{said}); err != nil {
		x.t.Fatal(err)
	}
}

func (x *indexed) entries(n int) {
	for range n {
		leaf := x.entry(len(x.Log.Leaves))
		x.add(leaf, leaf)
	}
}

// commit appends the index entry of the first entries.
func (x *indexed) commit(size uint64) {
	x.t.Helper()
	signed := testlog.Signed(x.Log, int(size), *x.clock)
	leaf := must((&poclog.IndexEntry{Algorithm: index.Algorithm, Size: size, Checkpoint: poclog.Sum(signed), Root: must(x.said.Predict(size))}).Marshal())
	number := x.size()
	x.add(leaf, leaf)
	x.asked = func(names []string) []byte {
		head := testlog.Signed(x.Log, int(number)+1, *x.clock)
		r := poclog.Receipt{Entry: leaf, Index: number, Inclusion: x.Log.Inclusion(number, number+1, head)}
		d := poclog.Dossier{Index: must(r.Marshal()), Checkpoint: signed}
		d.Names, _, _ = x.said.Lookup(names, 0)
		return must(d.Marshal())
	}
}

func (x *indexed) size() uint64 { return uint64(len(x.Log.Leaves)) }

// alerts publishes, has the monitor look, and returns all alerts of a rule.
func (x *indexed) alerts(rule string) []*monitor.Alert {
	x.t.Helper()
	x.Publish(*x.clock)
	once(x.t, x.m)
	return alertsOf(x.t, x.m, monitor.AlertFilter{Rule: rule})
}

// again starts the monitor anew.
func (x *indexed) again() {
	x.t.Helper()
	if err := x.m.Close(); err != nil {
		x.t.Fatal(err)
	}
	x.m = open(x.t, x.dir, monitor.Config{Clock: func() time.Time { return *x.clock }})
}

// Right indexes raise nothing, by a monitor that goes on, starts again, or lost what it derived.
func TestRightIndexesAreNoAlert(t *testing.T) {
	x := newIndexed(t)
	path := filepath.Join(x.dir, "indexes", "1.db")
	for _, damage := range []func(){
		func() {}, x.again,
		func() { x.again(); os.Remove(path) },
		func() { x.again(); os.WriteFile(path, bytes.Repeat([]byte("no database "), 1000), 0o600) },
	} {
		damage()
		x.commit(x.size())
		x.entries(2)
		x.commit(x.size() - 1)
		if got := append(x.alerts(monitor.RuleWrong), x.alerts(monitor.RuleStale)...); len(got) > 0 {
			t.Fatalf("%+v", got[0])
		}
		m := must(indexmap.Open(path, nil))
		if at := m.State(); at.Next != x.size() || at.Root != x.said.State().Root {
			t.Errorf("the monitor's map is %+v, the log's %+v", at, x.said.State())
		}
		m.Close()
	}
}

// A log that hides an entry from its index is convicted by what it says of the chip itself, as soon
// as it says it. It is told once.
func TestHiddenEntryIsAContradiction(t *testing.T) {
	x := newIndexed(t)
	x.commit(x.size())
	if got := x.alerts(monitor.RuleWrong); len(got) > 0 {
		t.Fatalf("%+v", got[0])
	}
	hidden := x.size()
	x.add(x.entry(int(hidden)), []byte("nothing"))
	x.entries(1)
	x.commit(x.size())
	answers := x.asked
	x.asked = nil
	got := x.alerts(monitor.RuleWrong)
	if len(got) != 1 || got[0].Severity != "alert" || got[0].File != "" || got[0].Implicated[0] != "log:"+indexOrigin {
		t.Fatalf("while the log does not say what its index has: %+v", got)
	}
	x.asked = answers
	for _, restart := range []bool{false, true, true} {
		*x.clock = x.clock.Add(11 * time.Minute)
		if restart {
			x.again()
		}
		got = x.alerts(monitor.RuleWrong)
	}
	if len(got) != 2 || got[1].Severity != "contradiction" || !slices.Contains(got[1].Entries, monitor.EntryRef{Origin: indexOrigin, Index: hidden}) {
		t.Fatalf("%+v: want one contradiction more", got)
	}
	found, err := dossier.CheckIndexWrong(must(os.ReadFile(filepath.Join(x.dir, got[1].File))), must(tlogpolicy.Parse([]byte(x.Policy))))
	if err != nil || found.Entry != hidden || !found.Omitted {
		t.Errorf("a stranger reads %+v, %v", found, err)
	}
}

// An index entry that nobody can hold to anything is an alert, too.
func TestImpossibleIndexEntriesAreAlerts(t *testing.T) {
	for name, change := range map[string]func(*poclog.IndexEntry){
		"another algorithm": func(e *poclog.IndexEntry) { e.Algorithm = 2 },
		"a size beyond it":  func(e *poclog.IndexEntry) { e.Size = 100 },
		"another root":      func(e *poclog.IndexEntry) { e.Root[0] ^= 1 },
	} {
		t.Run(name, func(t *testing.T) {
			x := newIndexed(t)
			e := &poclog.IndexEntry{Algorithm: index.Algorithm, Size: x.size(), Root: must(x.said.Predict(x.size()))}
			change(e)
			x.Add(must(e.Marshal()))
			if got := x.alerts(monitor.RuleWrong); len(got) != 1 || !strings.Contains(got[0].Seen, "index entry 3") {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestStaleIndexIsAnAlertOnce(t *testing.T) {
	const late = monitor.DefaultStale + time.Minute
	x := newIndexed(t)
	x.commit(x.size())
	if got := x.alerts(monitor.RuleStale); len(got) > 0 {
		t.Fatalf("at first: %+v", got[0])
	}
	*x.clock = x.clock.Add(monitor.DefaultStale - time.Minute)
	if got := x.alerts(monitor.RuleStale); len(got) > 0 {
		t.Fatalf("before it is late: %+v", got[0])
	}
	*x.clock = x.clock.Add(2 * time.Minute)
	for range 2 {
		if got := x.alerts(monitor.RuleStale); len(got) != 1 || !strings.Contains(got[0].Seen, "no index entry since entry 3") {
			t.Fatalf("%+v", got)
		}
	}
	// Index entries that go on, and cover nothing new.
	covered := x.size()
	x.entries(1)
	x.commit(covered)
	if got := x.alerts(monitor.RuleStale); len(got) != 1 {
		t.Fatalf("%+v", got)
	}
	*x.clock = x.clock.Add(late)
	x.commit(covered)
	if got := x.alerts(monitor.RuleStale); len(got) != 2 || !strings.Contains(got[1].Seen, fmt.Sprintf("of the entries below %d. There are others since", covered)) {
		t.Fatalf("%+v", got)
	}
	x.commit(x.size())
	if got := x.alerts(monitor.RuleStale); len(got) != 2 {
		t.Errorf("after it went on: %+v", got)
	}
}
