package witness_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/poclog/poclog"
	poclient "github.com/poclog/poclog/client"
	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/internal/lab/gce"
	"github.com/poclog/poclog/log"
	"github.com/poclog/poclog/verify/receipt"
	"github.com/poclog/poclog/verify/tlogpolicy"
	"github.com/poclog/poclog/witness"
)

// An ownLog is a log of ours for a laboratory cloud, whose policy names witnesses.
type ownLog struct {
	dir    string
	cloud  *gce.Cloud
	vm     *gce.VM
	policy *tlogpolicy.Policy
	client *poclient.Client
}

func newOwnLog(t *testing.T) (*ownLog, logKey) {
	t.Helper()
	l := &ownLog{dir: filepath.Join(t.TempDir(), "log"), cloud: gce.New("witness test", time.Now().AddDate(-1, 0, 0))}
	l.cloud.Advance(time.Since(l.cloud.Now))
	h, err := l.cloud.NewHost(l.cloud.Zones[0], 1)
	if err != nil {
		t.Fatal(err)
	}
	if l.vm, err = h.NewVM(0, gce.VMConfig{}); err != nil {
		t.Fatal(err)
	}
	if err := log.Init(l.dir, log.InitOptions{Origin: "log.example/poc", Policy: l.cloud.Policy(nil, "")}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(l.dir, "keys", "ed25519.key"))
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	key := logKey{Signer: signer}
	for _, k := range l.readPolicy(t).Logs() {
		if _, err := note.NewVerifier(k.VKey); err == nil {
			key.vkey = k.VKey
		}
	}
	return l, key
}

func (l *ownLog) readPolicy(t *testing.T) *tlogpolicy.Policy {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(l.dir, "policy.txt"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := tlogpolicy.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// serve starts the log with a quorum: its lines replace "quorum none" for clients and for
// challenges.
func (l *ownLog) serve(t *testing.T, lines string) {
	t.Helper()
	path := filepath.Join(l.dir, "policy.txt")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	whole := strings.Replace(string(text), "quorum none\n", lines, 1)
	if err := os.WriteFile(path, []byte(whole), 0o644); err != nil {
		t.Fatal(err)
	}
	l.policy = l.readPolicy(t)
	p := l.cloud.Policy(slices.DeleteFunc(strings.Split(strings.TrimSpace(whole), "\n"), func(s string) bool { return strings.HasPrefix(s, "#") }), "")
	file, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(l.dir, "appraisal.json"), file, 0o644); err != nil {
		t.Fatal(err)
	}
	svc, err := log.Open(context.Background(), l.dir, log.Config{
		Software: "poclog test", CheckpointInterval: 200 * time.Millisecond, Republish: time.Second, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(svc.Handler())
	t.Cleanup(func() {
		srv.Close()
		if err := svc.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if l.client, err = poclient.New(poclient.Config{URL: srv.URL, Policy: l.policy}); err != nil {
		t.Fatal(err)
	}
}

// prove has the VM answer a challenge, and returns the receipt.
func (l *ownLog) prove(t *testing.T) *poclient.Submitted {
	t.Helper()
	ch, err := l.client.Challenge(t.Context(), poclog.GCETDXvTPM, poclog.Sum(nil))
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.vm.Prove(ch)
	if err != nil {
		t.Fatal(err)
	}
	c := l.cloud.Collateral(chip.CollateralOptions{At: time.Now().AddDate(0, 0, -1)})
	sub := new(poclog.Submission)
	if sub.Bundle, err = b.Marshal(); err != nil {
		t.Fatal(err)
	}
	if sub.Collateral, err = c.Marshal(); err != nil {
		t.Fatal(err)
	}
	got, err := l.client.Submit(t.Context(), sub)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// Our log is cosigned by our witness and by both of others, and the receipt of three of three
// verifies offline.
func TestThreeKindsOfWitnessesCosignOurLog(t *testing.T) {
	l, key := newOwnLog(t)
	lite, liteKeys := startLitewitness(t, key)
	omni, omniKeys := startOmniwitness(t, key)
	dir := filepath.Join(t.TempDir(), "ours")
	if err := witness.Init(dir, "ours.example/w"); err != nil {
		t.Fatal(err)
	}
	w, err := witness.Open(dir, witness.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := w.AddLog(t.Context(), key.vkey); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(w.Handler())
	t.Cleanup(srv.Close)
	l.serve(t, fmt.Sprintf("witness lite %s %s\nwitness omni %s %s\nwitness ours %s %s\ngroup everyone all lite omni ours\nquorum everyone\n",
		liteKeys[0], lite, omniKeys[0], omni, w.VKeys()[0], srv.URL))
	got := l.prove(t)
	v, err := receipt.Check(got.Receipt, l.policy, time.Now(), receipt.Demands{UnsafeRealm: poclog.Lab, MaxAge: time.Minute, MaxCheckpointAge: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(v.Witnesses, []string{"lite", "omni", "ours"}) {
		t.Errorf("cosigned by %v", v.Witnesses)
	}
}

// With three litewitness processes, t1 and t2 under a policy of two of three are exact to the
// second.
func TestTimesOfRealWitnessesAreExact(t *testing.T) {
	l, key := newOwnLog(t)
	lines := ""
	for i := range 3 {
		url, keys := startLitewitness(t, key)
		lines += fmt.Sprintf("witness w%d %s %s\n", i, keys[0], url)
	}
	l.serve(t, lines+"group g 2 w0 w1 w2\nquorum g\n")
	time.Sleep(1500 * time.Millisecond) // so that the challenge's checkpoint is a republished one
	before := time.Now()
	got := l.prove(t)
	after := time.Now()
	v, err := receipt.Check(got.Receipt, l.policy, time.Now(), receipt.Demands{UnsafeRealm: poclog.Lab})
	if err != nil {
		t.Fatal(err)
	}
	r, err := poclog.ParseReceipt(got.Receipt)
	if err != nil {
		t.Fatal(err)
	}
	wantT1, wantT2 := boundsByHand(t, l.policy, r.Challenge)
	if _, second := boundsByHand(t, l.policy, r.Inclusion.Checkpoint); !v.T2.Known || !v.T2.Time.Equal(second) {
		t.Errorf("t2 %+v: the second cosignature is of %s", v.T2, second)
	}
	if !v.T1.Known || !v.T1.Time.Equal(wantT1) {
		t.Errorf("t1 %+v: want %s (and not %s)", v.T1, wantT1, wantT2)
	}
	// The evidence was made between: the clock of this machine agrees to the second.
	if v.T1.Time.After(before.Add(time.Second)) || v.T2.Time.Before(before.Add(-time.Second)) || v.T2.Time.After(after.Add(time.Second)) {
		t.Errorf("made between %s and %s: it was between %s and %s", v.T1.Time, v.T2.Time, before, after)
	}
	none, err := tlogpolicy.Parse([]byte("log " + key.vkey + "\nquorum none\n"))
	if err != nil {
		t.Fatal(err)
	}
	v, err = receipt.Check(got.Receipt, none, time.Now(), receipt.Demands{UnsafeRealm: poclog.Lab})
	if err != nil || v.T1.Known || v.T2.Known || v.Entry.Fresh == nil {
		t.Errorf("without witnesses: %+v, %+v: %v: want an order, and no time", v.T1, v.T2, err)
	}
}

// boundsByHand sorts a checkpoint's cosignature times: with two of three needed, the second from
// either end.
func boundsByHand(t *testing.T, p *tlogpolicy.Policy, checkpoint []byte) (t1, t2 time.Time) {
	t.Helper()
	view, err := p.Open(checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	var times []time.Time
	for _, c := range view.Cosignatures {
		times = append(times, c.Time)
	}
	slices.SortFunc(times, time.Time.Compare)
	return times[len(times)-2], times[1]
}
