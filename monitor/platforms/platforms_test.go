package platforms_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/internal/testlog"
	"github.com/poclog/poclog/monitor"
	"github.com/poclog/poclog/monitor/platforms"
)

const origin = "log.test/platforms"

var (
	start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	now   = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
)

// A bench is a maker's chips, their bundles in a log whose records are given, and a monitor's
// folder.
type bench struct {
	*monitor.Monitor
	t       *testing.T
	dir     string
	maker   *chip.Maker
	policy  *poclog.Policy
	records []monitor.Record
	bundles map[poclog.Digest][]byte
	fetched int
	down    error // what the log answers instead
	now     time.Time
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, dir: filepath.Join(t.TempDir(), "monitor"), maker: chip.NewMaker("platforms", start), bundles: make(map[poclog.Digest][]byte), now: now}
	if err := monitor.Init(b.dir); err != nil {
		t.Fatal(err)
	}
	var err error
	if b.Monitor, err = monitor.Open(b.dir, monitor.Config{Clock: func() time.Time { return b.now }}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	if _, err := b.AddLog(t.Context(), "http://log.test", "log "+testlog.LogKey(origin).VKey+"\nquorum none\n"); err != nil {
		t.Fatal(err)
	}
	b.policy = &poclog.Policy{V: 1, Realm: poclog.Lab, TCB: []string{"SWHardeningNeeded", "UpToDate"}, Roots: []poclog.Root{{Use: poclog.RootIntelSGX, SHA256: poclog.Sum(b.maker.Root()), Name: "lab"}}}
	return b
}

func (b *bench) Logs(ctx context.Context) ([]monitor.LogInfo, error) {
	logs, err := b.Monitor.Logs(ctx)
	for i := range logs {
		logs[i].Next = uint64(len(b.records))
	}
	return logs, err
}

func (b *bench) Records(_ context.Context, f monitor.Filter) iter.Seq2[*monitor.Record, error] {
	return func(yield func(*monitor.Record, error) bool) {
		for i := f.From; i < f.To; i++ {
			if r := b.records[i]; r.Realm == f.Realm && !yield(&r, nil) {
				return
			}
		}
	}
}

func (b *bench) evidence(_ context.Context, _ string, d poclog.Digest) ([]byte, error) {
	b.fetched++
	if b.down != nil {
		return nil, b.down
	}
	return b.bundles[d], nil
}

// open opens the keeper, as a process does that was started anew.
func (b *bench) open() *platforms.Keeper {
	b.t.Helper()
	k, err := platforms.Open(b.dir, b, b.evidence, b.policy, func() time.Time { return b.now })
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { k.Close() })
	return k
}

func ppid(p *chip.Platform) poclog.Identity {
	return poclog.Identity(fmt.Sprintf("intel:tdx:ppid:%x", p.PPID))
}

// prove logs a proof of a platform at a time with the status that it had.
func (b *bench) prove(p *chip.Platform, at time.Time, status string) {
	b.t.Helper()
	bundle := new(poclog.Bundle)
	bundle.Set(poclog.ItemTDXQuote, p.Quote(chip.TD{ReportData: [64]byte{byte(len(b.records))}}))
	file, err := bundle.Marshal()
	if err != nil {
		b.t.Fatal(err)
	}
	b.bundles[poclog.Sum(file)] = file
	b.records = append(b.records, monitor.Record{
		Origin: origin, Index: uint64(len(b.records)), Kind: monitor.KindProof, Realm: poclog.Lab, Appraised: at, Chip: ppid(p),
		TCB: status, Evaluation: 17, Bundle: poclog.Sum(file),
	})
}

func (b *bench) learn(k *platforms.Keeper, want int) {
	b.t.Helper()
	if n, err := k.Learn(b.t.Context()); err != nil || n != want {
		b.t.Fatalf("%d platforms learned, %v: want %d", n, err, want)
	}
}

// judge judges by what the maker publishes an hour before now.
func (b *bench) judge(k *platforms.Keeper, o chip.CollateralOptions) platforms.Judgement {
	b.t.Helper()
	if o.At.IsZero() {
		o.At = b.now.Add(-time.Hour)
	}
	j, err := k.Judge(b.t.Context(), b.maker.Collateral(o))
	if err != nil {
		b.t.Fatal(err)
	}
	return j
}

func (b *bench) alerts(rule string) (list []*monitor.Alert) {
	b.t.Helper()
	for a, err := range b.Alerts(b.t.Context(), monitor.AlertFilter{Rule: rule}) {
		if err != nil {
			b.t.Fatal(err)
		}
		list = append(list, a)
	}
	return list
}

func (b *bench) want(rule string, n int) {
	b.t.Helper()
	if got := len(b.alerts(rule)); got != n {
		b.t.Errorf("%d alerts %s: want %d", got, rule, n)
	}
}

func TestPlatformsFallOnceForEachIssue(t *testing.T) {
	b := newBench(t)
	k := b.open()
	one, two := b.maker.NewPlatform("one", nil), b.maker.NewPlatform("two", nil)
	for i := range 3 {
		b.prove(one, now.Add(time.Duration(i-10)*time.Hour), "UpToDate")
	}
	b.prove(two, now.Add(-time.Hour), "UpToDate")
	b.learn(k, 2)
	if b.fetched != 2 {
		t.Errorf("%d bundles fetched for two chips", b.fetched)
	}
	if j := b.judge(k, chip.CollateralOptions{}); j.Judged != 6 || j.Fallen != 0 || len(j.Ignored) != 0 {
		t.Errorf("%+v", j) // TCB info and both CRLs, of two platforms
	}
	if j := b.judge(k, chip.CollateralOptions{Status: "OutOfDate", Evaluation: 18, Advisories: []string{"INTEL-SA-00001"}}); j.Fallen != 2 || j.Alerts != 2 {
		t.Errorf("%+v", j)
	}
	b.want(platforms.RuleFell, 2)
	a := b.alerts(platforms.RuleFell)[0]
	if a.Severity != "alert" || !strings.Contains(a.Seen, "was UpToDate by evaluation 17, is OutOfDate by Intel's evaluation 18 (INTEL-SA-00001)") || len(a.Entries) != 1 {
		t.Errorf("%+v", a)
	}
	kept, err := os.ReadFile(filepath.Join(b.dir, a.File))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := poclog.ParseCollateral(kept); err != nil {
		t.Errorf("the collateral that was seen: %v", err)
	}
	// The same again, also to a process that was started anew, is no news; nor is a later issue
	// that says the same.
	for _, k := range []*platforms.Keeper{k, b.open()} {
		b.judge(k, chip.CollateralOptions{Status: "OutOfDate", Evaluation: 18})
		b.judge(k, chip.CollateralOptions{Status: "OutOfDate", Evaluation: 19})
	}
	b.want(platforms.RuleFell, 2)
	// A further fall is news.
	b.judge(k, chip.CollateralOptions{Status: "Revoked", Evaluation: 20})
	b.want(platforms.RuleFell, 4)
	if b.fetched != 2 {
		t.Errorf("%d bundles fetched: judging again asks no log", b.fetched)
	}
}

func TestAnUpdatedPlatformDoesNotFall(t *testing.T) {
	b := newBench(t)
	k := b.open()
	old := b.maker.NewPlatform("host", func(p *chip.Platform) { p.PCESVN = 11 })
	b.prove(old, now.Add(-48*time.Hour), "UpToDate")
	b.learn(k, 1)
	// Its operator updated it: the same chip under a newer certificate.
	updated := b.maker.NewPlatform("host", func(p *chip.Platform) { p.PCESVN = 12 })
	b.prove(updated, now.Add(-time.Hour), "UpToDate")
	b.learn(k, 0)
	revoked := chip.CollateralOptions{Revoked: []*chip.Platform{old}}
	if j := b.judge(k, revoked); j.Fallen != 0 || b.fetched != 2 {
		t.Errorf("%+v after %d bundles: want the newest bundle taken before the platform falls", j, b.fetched)
	}
	if j := b.judge(k, chip.CollateralOptions{Status: "OutOfDate", Evaluation: 18}); j.Fallen != 1 || b.fetched != 2 {
		t.Errorf("%+v after %d bundles", j, b.fetched)
	}
}

func TestAPlatformIsTakenAnewBeforeItFalls(t *testing.T) {
	b := newBench(t)
	k := b.open()
	behind := b.maker.NewPlatform("host", func(p *chip.Platform) { p.PCESVN = 10 }) // reaches no level of what is published
	b.prove(behind, now.Add(-48*time.Hour), "UpToDate")
	b.learn(k, 1)
	b.prove(b.maker.NewPlatform("host", nil), now.Add(-time.Hour), "UpToDate")
	b.learn(k, 0)
	b.down = errors.New("out of reach")
	if j, err := k.Judge(t.Context(), b.maker.Collateral(chip.CollateralOptions{At: now.Add(-time.Hour)})); err == nil || j.Fallen != 0 {
		t.Errorf("%+v, %v: while the log is out of reach nobody knows", j, err)
	}
	b.down = nil
	if j := b.judge(k, chip.CollateralOptions{}); j.Fallen != 0 || b.fetched != 3 {
		t.Errorf("%+v after %d bundles", j, b.fetched)
	}
	b.want(platforms.RuleFell, 0)
}

func TestAPlatformThatReachesNoLevelFalls(t *testing.T) {
	b := newBench(t)
	k := b.open()
	b.prove(b.maker.NewPlatform("host", func(p *chip.Platform) { p.PCESVN = 10 }), now.Add(-time.Hour), "UpToDate")
	b.learn(k, 1)
	if j := b.judge(k, chip.CollateralOptions{}); j.Fallen != 1 {
		t.Errorf("%+v", j)
	}
	if a := b.alerts(platforms.RuleFell); len(a) != 1 || !strings.Contains(a[0].Seen, "is no level by") {
		t.Errorf("%+v", a)
	}
}

func TestRevocationsAreToldOnce(t *testing.T) {
	b := newBench(t)
	k := b.open()
	bad, good := b.maker.NewPlatform("bad", nil), b.maker.NewPlatform("good", nil)
	b.prove(bad, now.Add(-time.Hour), "UpToDate")
	b.prove(good, now.Add(-time.Hour), "UpToDate")
	b.learn(k, 2)
	when := now.Add(-time.Hour)
	for range 3 {
		b.judge(k, chip.CollateralOptions{At: when, Revoked: []*chip.Platform{bad}})
	}
	b.want(platforms.RuleRevoked, 1)
	if a := b.alerts(platforms.RuleRevoked)[0]; a.Subject != ppid(bad) || !strings.Contains(a.Seen, "revoked the chip's PCK certificate at 2026-06-01T11:00:00Z") {
		t.Errorf("%+v", a)
	}
	// A CA's end is one alert, which names its chips.
	if j := b.judge(k, chip.CollateralOptions{At: when.Add(time.Minute), RevokeCA: true}); j.Alerts != 1 {
		t.Errorf("%+v", j)
	}
	if a := b.alerts(platforms.RuleRevoked)[1]; len(a.Affected) != 2 || !strings.Contains(a.Seen, "its PCK platform CA") || !strings.Contains(a.Seen, "certified 2 chips") {
		t.Errorf("%+v", a)
	}
}

// What must not make a platform fall.
func TestNearMisses(t *testing.T) {
	other := chip.NewMaker("another maker", start)
	for name, c := range map[string]struct {
		change func(b *bench)
		col    func(b *bench) *poclog.Collateral
		reason string // why something was ignored
	}{
		"hardening that the policy accepts is information": {nil, func(b *bench) *poclog.Collateral {
			return b.maker.Collateral(chip.CollateralOptions{At: now, Status: "SWHardeningNeeded", Evaluation: 18})
		}, ""},
		"expired": {nil, func(b *bench) *poclog.Collateral {
			return b.maker.Collateral(chip.CollateralOptions{At: now.AddDate(0, 0, -31), Status: "Revoked", Evaluation: 18})
		}, "valid from"},
		"of the future": {nil, func(b *bench) *poclog.Collateral {
			return b.maker.Collateral(chip.CollateralOptions{At: now.Add(time.Hour), Status: "Revoked", Evaluation: 18})
		}, "valid from"},
		"a lower evaluation number": {func(b *bench) {
			k := b.open()
			b.judge(k, chip.CollateralOptions{Evaluation: 18})
		}, func(b *bench) *poclog.Collateral {
			return b.maker.Collateral(chip.CollateralOptions{At: now, Status: "Revoked", Evaluation: 17})
		}, "older than what judged before"},
		"an older issue of the same number": {func(b *bench) {
			k := b.open()
			b.judge(k, chip.CollateralOptions{At: now.Add(-time.Minute)})
		}, func(b *bench) *poclog.Collateral {
			return b.maker.Collateral(chip.CollateralOptions{At: now.Add(-time.Hour), Status: "Revoked", Revoked: []*chip.Platform{b.maker.NewPlatform("host", nil)}})
		}, "older than what judged before"},
		"another maker's": {nil, func(b *bench) *poclog.Collateral {
			return other.Collateral(chip.CollateralOptions{At: now, Status: "Revoked", Evaluation: 18, Revoked: []*chip.Platform{b.maker.NewPlatform("host", nil)}, RevokeCA: true})
		}, "not one that the policy lists"},
		"another maker's, which the policy lists too": {func(b *bench) {
			b.policy.Roots = append(b.policy.Roots, poclog.Root{Use: poclog.RootIntelSGX, SHA256: poclog.Sum(other.Root()), Name: "other"})
		}, func(b *bench) *poclog.Collateral {
			return other.Collateral(chip.CollateralOptions{At: now, Status: "Revoked", Evaluation: 18, Revoked: []*chip.Platform{b.maker.NewPlatform("host", nil)}, RevokeCA: true})
		}, ""},
		"another family's": {nil, func(b *bench) *poclog.Collateral {
			return b.maker.Collateral(chip.CollateralOptions{At: now, Status: "Revoked", Evaluation: 18, FMSPC: [6]byte{1, 2, 3}})
		}, ""},
		"a forged status": {nil, func(b *bench) *poclog.Collateral {
			col := b.maker.Collateral(chip.CollateralOptions{At: now, Evaluation: 18})
			it := *col.Get(poclog.TDXTCBInfo)
			it.Body = []byte(strings.Replace(string(it.Body), "UpToDate", "Revoked!", 1))
			return col.With(it)
		}, "not signed"},
		"another realm's": {func(b *bench) { b.policy.Realm = poclog.Production }, func(b *bench) *poclog.Collateral {
			return b.maker.Collateral(chip.CollateralOptions{At: now, Status: "Revoked", Evaluation: 18})
		}, ""},
		"nothing at all": {nil, func(*bench) *poclog.Collateral { return new(poclog.Collateral) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.prove(b.maker.NewPlatform("host", nil), now.Add(-2*time.Hour), "UpToDate")
			if _, err := b.open().Learn(t.Context()); err != nil {
				t.Fatal(err)
			}
			if c.change != nil {
				c.change(b)
			}
			k := b.open()
			if _, err := k.Learn(t.Context()); err != nil {
				t.Fatal(err)
			}
			j, err := k.Judge(t.Context(), c.col(b))
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range append(b.alerts(platforms.RuleFell), b.alerts(platforms.RuleRevoked)...) {
				if a.Severity != "information" {
					t.Errorf("%+v", a)
				}
			}
			if ignored := strings.Join(j.Ignored, "; "); (ignored == "") != (c.reason == "") || !strings.Contains(ignored, c.reason) {
				t.Errorf("ignored: %q: want %q", ignored, c.reason)
			}
		})
	}
}

// A log can withhold a bundle, lose it or give another; it cannot say what a chip is.
func TestWhatALogSaysOfAChipIsChecked(t *testing.T) {
	stranger := chip.NewMaker("stranger", start)
	for name, change := range map[string]func(b *bench){
		"withheld":          func(b *bench) { b.down = &client.Problem{Status: 451} },
		"lost":              func(b *bench) { b.down = &client.Problem{Status: 404} },
		"another file":      func(b *bench) { b.down = client.ErrOtherFile },
		"no bundle":         func(b *bench) { b.bundles[b.records[0].Bundle] = []byte("{}") },
		"another chip's":    func(b *bench) { b.records[0].Chip = "intel:tdx:ppid:" + poclog.Identity(strings.Repeat("1", 32)) },
		"a stranger's chip": func(b *bench) { b.records = nil; b.prove(stranger.NewPlatform("host", nil), now, "UpToDate") },
		"a forged quote": func(b *bench) {
			bundle, err := poclog.ParseBundle(b.bundles[b.records[0].Bundle])
			if err != nil {
				b.t.Fatal(err)
			}
			quote := append([]byte(nil), bundle.Get(poclog.ItemTDXQuote)...)
			quote[48] ^= 1 // TEE_TCB_SVN
			bundle.Set(poclog.ItemTDXQuote, quote)
			if b.bundles[b.records[0].Bundle], err = bundle.Marshal(); err != nil {
				b.t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.prove(b.maker.NewPlatform("host", nil), now.Add(-time.Hour), "UpToDate")
			change(b)
			k := b.open()
			b.learn(k, 1)
			if kept, without, err := k.Counts(t.Context()); err != nil || kept != 1 || without != 1 {
				t.Errorf("%d kept, %d without, %v", kept, without, err)
			}
			if j := b.judge(k, chip.CollateralOptions{Status: "Revoked", Evaluation: 18}); j.Judged != 0 {
				t.Errorf("%+v", j)
			}
			// The next proof of the chip is another chance.
			b.down = nil
			good := b.maker.NewPlatform("host", nil)
			b.prove(good, now, "UpToDate")
			if _, err := k.Learn(t.Context()); err != nil {
				t.Fatal(err)
			}
			if j := b.judge(k, chip.CollateralOptions{Status: "Revoked", Evaluation: 18}); j.Fallen != 1 {
				t.Errorf("%+v after a good proof", j)
			}
		})
	}
}

func TestALogThatIsOutOfReachIsAskedAgain(t *testing.T) {
	b := newBench(t)
	b.prove(b.maker.NewPlatform("host", nil), now.Add(-time.Hour), "UpToDate")
	b.down = &client.Problem{Status: 503}
	k := b.open()
	if n, err := k.Learn(t.Context()); err == nil || n != 0 {
		t.Errorf("%d, %v", n, err)
	}
	b.down = nil
	b.learn(k, 1)
	f, err := k.Families(t.Context())
	if err != nil || len(f) != 1 || f[0] != (platforms.Family{FMSPC: "b0c06f000000", CA: "platform"}) {
		t.Errorf("%+v, %v", f, err)
	}
}
