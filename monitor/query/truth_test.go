package query_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/internal/lab/gce"
	"github.com/poclog/poclog/internal/testlog"
	"github.com/poclog/poclog/monitor"
	"github.com/poclog/poclog/monitor/notify"
	"github.com/poclog/poclog/monitor/platforms"
	"github.com/poclog/poclog/monitor/query"
	"github.com/poclog/poclog/monitor/query/querytest"
	"github.com/poclog/poclog/verify/profile"
	"github.com/poclog/poclog/verify/receipt"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err) // the laboratory's own
	}
	return v
}

var truthPolicy = "log " + testlog.LogKey(querytest.Origin).VKey + "\nwitness w " + testlog.WitnessKey("w.test").VKey + "\nquorum w\n"

// A truth is a cloud whose VMs prove to a log, and what really happened.
type truth struct {
	cloud  *gce.Cloud
	log    *testlog.Log
	server testlog.Server
	files  map[string][]byte
	// ran says by zone and hour which instances proved.
	ran map[string]map[time.Time]map[poclog.Identity]bool
	// made says between which times each entry's evidence was made.
	made map[uint64][2]time.Time
}

func (w *truth) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	if name, ok := strings.CutPrefix(r.URL.Path, "/v1/evidence/sha256/"); ok {
		if b := w.files[name]; b != nil {
			_, _ = rw.Write(b)
			return
		}
	}
	w.server.ServeHTTP(rw, r)
}

func (w *truth) checkpoint(at time.Time) []byte {
	return w.log.Checkpoint(uint64(len(w.log.Leaves)), testlog.Cosigner{Signer: testlog.LogKey(querytest.Origin), At: at}, testlog.Cosigner{Signer: testlog.WitnessKey("w.test"), At: at})
}

// prove has a VM answer a challenge of the log now, and logs the proof 5 seconds later.
func (w *truth) prove(vm *gce.VM, policy *poclog.Policy) {
	challenge := &poclog.Challenge{Profile: poclog.GCETDXvTPM, Checkpoint: w.checkpoint(w.cloud.Now), Salt: [32]byte{byte(len(w.log.Leaves))}}
	made := w.cloud.Now
	w.cloud.Advance(5 * time.Second)
	in := profile.Input{
		Bundle: must(must(vm.Prove(challenge)).Marshal()), Collateral: must(w.cloud.Collateral(chip.CollateralOptions{}).Marshal()),
		Policy: must(policy.Marshal()), Appraised: w.cloud.Now, Appraisal: poclog.Appraisal,
	}
	a := must(profile.Appraise(in))
	w.files[poclog.Sum(in.Bundle).String()] = in.Bundle
	w.made[uint64(len(w.log.Leaves))] = [2]time.Time{made, w.cloud.Now}
	w.log = &testlog.Log{Origin: querytest.Origin, Leaves: append(slices.Clone(w.log.Leaves), must(a.Entry.Marshal()))}
	zone, hour := vm.Host.Zone, w.cloud.Now.Truncate(time.Hour)
	if w.ran[zone] == nil {
		w.ran[zone] = make(map[time.Time]map[poclog.Identity]bool)
	}
	if w.ran[zone][hour] == nil {
		w.ran[zone][hour] = make(map[poclog.Identity]bool)
	}
	w.ran[zone][hour][poclog.GCEInstanceIdentity(vm.TPM.Instance.ProjectNumber, vm.TPM.Instance.InstanceID)] = true
}

// newTruth lets VMs of three zones prove, restart, and move to other hosts of their zone, for some
// hours.
func newTruth(t *testing.T, from time.Time, hours int) *truth {
	t.Helper()
	w := &truth{
		cloud: gce.New("ground truth", from.AddDate(0, -1, 0)), log: &testlog.Log{Origin: querytest.Origin, Leaves: [][]byte{{1}}}, files: make(map[string][]byte),
		ran: make(map[string]map[time.Time]map[poclog.Identity]bool), made: make(map[uint64][2]time.Time),
	}
	w.cloud.Advance(from.Sub(w.cloud.Now))
	var hosts []*gce.Host
	var vms []*gce.VM
	for i, zone := range w.cloud.Zones[:3] {
		for range 2 {
			hosts = append(hosts, must(w.cloud.NewHost(zone, 1)))
		}
		for range 2 {
			vms = append(vms, must(hosts[2*i].NewVM(0, gce.VMConfig{})))
		}
	}
	policy := w.cloud.Policy(strings.Split(strings.TrimSpace(truthPolicy), "\n"), "")
	rnd := rand.New(rand.NewPCG(3, 4))
	for range hours {
		for _, vm := range vms {
			switch rnd.IntN(6) {
			case 0, 1, 2:
				w.prove(vm, policy)
			case 3:
				must(0, vm.Reboot())
			case 4:
				other := slices.IndexFunc(hosts, func(h *gce.Host) bool { return h.Zone == vm.Host.Zone && h != vm.Host })
				must(0, vm.Move(hosts[other], 0))
				w.prove(vm, policy)
			}
			w.cloud.Advance(time.Minute)
		}
		w.cloud.Advance(w.cloud.Now.Truncate(time.Hour).Add(time.Hour).Sub(w.cloud.Now))
	}
	w.server.Set(w.log, w.checkpoint(w.cloud.Now), nil)
	return w
}

// follow runs a monitor over the log once.
func (w *truth) follow(t *testing.T) *monitor.Monitor {
	t.Helper()
	srv := httptest.NewServer(w)
	t.Cleanup(srv.Close)
	dir := filepath.Join(t.TempDir(), "monitor")
	if err := monitor.Init(dir); err != nil {
		t.Fatal(err)
	}
	m, err := monitor.Open(dir, monitor.Config{Clock: func() time.Time { return w.cloud.Now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	if _, err := m.AddLog(t.Context(), srv.URL, truthPolicy); err != nil {
		t.Fatal(err)
	}
	out, err := m.Run(t.Context(), monitor.Options{Once: true})
	if err != nil || len(out.Trouble) > 0 {
		t.Fatalf("%+v, %v", out, err)
	}
	return m
}

// What list cvms answers for a zone and an hour is what the laboratory knows to have happened there
// then, for every zone and hour.
func TestListCVMsEqualsTheGroundTruth(t *testing.T) {
	from, hours := querytest.Start, 8
	w := newTruth(t, from, hours)
	m := w.follow(t)
	rows := 0
	for _, zone := range append(slices.Collect(maps.Keys(w.ran)), "lab-south1-c") {
		q, err := query.ParsePlace("gce/" + zone)
		if err != nil {
			t.Fatal(err)
		}
		for h := -1; h <= hours; h++ {
			since := from.Add(time.Duration(h) * time.Hour)
			f := query.Filter{Place: q, Since: since, Until: since.Add(time.Hour)}
			list, err := query.CVMs(m.Records(t.Context(), monitor.Filter{Kind: monitor.KindProof, Since: f.Since, Until: f.Until}), f, nil)
			if err != nil {
				t.Fatal(err)
			}
			got := make(map[poclog.Identity]bool)
			for _, v := range list {
				got[v.Instance] = true
				rows++
			}
			if want := w.ran[zone][since]; !maps.Equal(got, want) {
				t.Errorf("%s at %s: %v: want %v", zone, since.Format(time.RFC3339), got, want)
			}
		}
	}
	if rows < 20 {
		t.Errorf("%d rows: too little happened", rows)
	}
	for a, err := range m.Alerts(t.Context(), monitor.AlertFilter{}) {
		if err != nil || a.Severity != "information" {
			t.Errorf("%+v, %v", a, err)
		}
	}
}

// Receipts are made for whoever asks, and say when evidence was made.
func TestReceiptsAndIntervalsOfWhatWasRead(t *testing.T) {
	w := newTruth(t, querytest.Start, 2)
	m := w.follow(t)
	p := must(tlogpolicy.Parse([]byte(truthPolicy)))
	for index, made := range w.made {
		e := monitor.EntryRef{Origin: querytest.Origin, Index: index}
		file, err := query.ReceiptOf(t.Context(), m, e)
		if err != nil {
			t.Fatal(err)
		}
		if v, err := receipt.Check(file, p, w.cloud.Now, receipt.Demands{UnsafeRealm: poclog.Lab}); err != nil || v.Index != index {
			t.Errorf("receipt of entry %d: %v", index, err)
		}
		i, err := query.IntervalOf(t.Context(), m, e)
		if err != nil || i.NotBefore == nil || !i.NotBefore.Equal(made[0]) || i.NotAfter == nil || i.NotAfter.Before(made[1]) {
			t.Errorf("entry %d: %+v, %v: made %s", index, i, err, made)
		}
	}
	for _, e := range []monitor.EntryRef{{Origin: querytest.Origin, Index: 1 << 20}, {Origin: "nobody", Index: 1}} {
		if _, err := query.ReceiptOf(t.Context(), m, e); err == nil {
			t.Errorf("a receipt of %+v", e)
		}
	}
	// A log that gives another bundle than it logged gives no receipt, and one that changes an
	// entry is caught.
	clear(w.files)
	if _, err := query.ReceiptOf(t.Context(), m, monitor.EntryRef{Origin: querytest.Origin, Index: 1}); err == nil || !strings.Contains(err.Error(), "bundle") {
		t.Errorf("without bundles: %v", err)
	}
	w.log.Leaves[1] = []byte("another entry")
	w.server.Set(w.log, w.checkpoint(w.cloud.Now), nil)
	if _, err := query.ReceiptOf(t.Context(), m, monitor.EntryRef{Origin: querytest.Origin, Index: 1}); err == nil {
		t.Error("a receipt of another entry")
	}
}

// TestWatchListOverARealLog holds the watch list to real records, marks and restarts.
func TestWatchListOverARealLog(t *testing.T) {
	w := newTruth(t, querytest.Start, 2)
	m := w.follow(t)
	counts := make(map[poclog.Identity]int)
	for r, err := range m.Records(t.Context(), monitor.Filter{Kind: monitor.KindProof}) {
		if err != nil {
			t.Fatal(err)
		}
		counts[r.Chip]++
	}
	chips := slices.Sorted(maps.Keys(counts))
	list := []notify.Watched{{ID: chips[0], Every: time.Hour}}
	look := func(list []notify.Watched, want int) {
		t.Helper()
		if n, err := notify.NewWatcher(m, list).Look(t.Context()); err != nil || n != want {
			t.Errorf("%d new, %v: want %d", n, err, want)
		}
	}
	look(list, counts[chips[0]])
	look(list, 0)
	look(append(list, notify.Watched{ID: chips[1]}), counts[chips[1]])
	w.cloud.Advance(3 * time.Hour)
	w.server.Set(w.log, w.checkpoint(w.cloud.Now), nil)
	if _, err := m.Run(t.Context(), monitor.Options{Once: true}); err != nil {
		t.Fatal(err)
	}
	look(list, 1) // overdue
	look(list, 0)
	for a := range m.Alerts(t.Context(), monitor.AlertFilter{Rule: notify.RuleOverdue}) {
		if !strings.Contains(a.Seen, fmt.Sprint(chips[0])) {
			t.Errorf("%+v", a)
		}
	}
}

// Platforms of a real log fall by what their maker publishes later, and their evidence is asked for
// once.
func TestPlatformsOfARealLogAreJudgedAgain(t *testing.T) {
	w := newTruth(t, querytest.Start, 2)
	m := w.follow(t)
	chips := make(map[poclog.Identity]bool)
	for r, err := range m.Records(t.Context(), monitor.Filter{Kind: monitor.KindProof}) {
		if err != nil {
			t.Fatal(err)
		}
		chips[r.Chip] = true
	}
	fetched := 0
	evidence := func(ctx context.Context, origin string, d poclog.Digest) ([]byte, error) {
		fetched++
		return must(m.Client(ctx, origin)).Evidence(ctx, poclog.Blob{SHA256: d})
	}
	policy := w.cloud.Policy(strings.Split(strings.TrimSpace(truthPolicy), "\n"), "")
	k, err := platforms.Open(t.TempDir(), m, evidence, policy, func() time.Time { return w.cloud.Now })
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	if n, err := k.Learn(t.Context()); err != nil || n != len(chips) || fetched != n {
		t.Fatalf("%d platforms learned of %d, from %d bundles, %v", n, len(chips), fetched, err)
	}
	for _, c := range []struct {
		o    chip.CollateralOptions
		fell int
	}{{chip.CollateralOptions{}, 0}, {chip.CollateralOptions{Status: "OutOfDate", Evaluation: 18}, len(chips)}, {chip.CollateralOptions{Status: "OutOfDate", Evaluation: 19}, 0}} {
		j, err := k.Judge(t.Context(), w.cloud.Collateral(c.o))
		if err != nil || j.Alerts != c.fell || len(j.Ignored) > 0 {
			t.Errorf("%+v: %+v, %v: want %d", c.o, j, err, c.fell)
		}
	}
	for a, err := range m.Alerts(t.Context(), monitor.AlertFilter{Rule: platforms.RuleFell}) {
		if err != nil || !chips[poclog.Identity(a.Subject)] || !strings.Contains(a.Seen, " at gce/lab-") {
			t.Errorf("%+v, %v", a, err)
		}
	}
}
