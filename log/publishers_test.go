package log_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/collateral"
	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/internal/signer"
	"github.com/poclog/poclog/log"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/profile"
)

// publisherKeys are keys in files.
func publisherKeys(t testing.TB, n int) []*signer.Signer {
	t.Helper()
	list := make([]*signer.Signer, n)
	for i := range list {
		file, _, err := signer.Generate(nil)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "publisher.key")
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		if list[i], err = signer.Open(t.Context(), path, nil); err != nil {
			t.Fatal(err)
		}
	}
	return list
}

// sealed is a submission in an envelope.
func sealed(t testing.TB, sub *poclog.Submission, by ...*signer.Signer) *poclog.Submission {
	t.Helper()
	out := *sub
	var err error
	if out.Envelope, err = signer.Seal(t.Context(), sub, by...); err != nil {
		t.Fatal(err)
	}
	return &out
}

// listing makes a policy admit what a threshold of publishers signed.
func listing(p *poclog.Policy, threshold int, list ...*signer.Signer) *poclog.Policy {
	p.Publishers = &poclog.Publishers{Threshold: threshold}
	for _, s := range list {
		p.Publishers.Keys = append(p.Publishers.Keys, s.Key().String())
	}
	slices.Sort(p.Publishers.Keys)
	return p
}

func initWith(t testing.TB, p *poclog.Policy) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "log")
	if err := log.Init(dir, log.InitOptions{Origin: origin, Policy: p}); err != nil {
		t.Fatal(err)
	}
	return dir
}

// forge changes an envelope.
func forge(t *testing.T, sub *poclog.Submission, change func(*poclog.Envelope)) *poclog.Submission {
	t.Helper()
	v, err := poclog.ParseEnvelope(sub.Envelope)
	if err != nil {
		t.Fatal(err)
	}
	change(v)
	out := *sub
	if out.Envelope, err = v.Marshal(); err != nil {
		t.Fatal(err)
	}
	return &out
}

func TestPublishersAreVerifiedBeforeAnyQuote(t *testing.T) {
	keys, f := publisherKeys(t, 4), newFab()
	cfg := logConfig()
	cfg.Appraise = func(profile.Input) (*verify.Appraisal, error) {
		t.Error("evidence is judged before it is known who publishes it")
		return nil, verify.Failf(verify.Format, "judged")
	}
	l := serve(t, initWith(t, listing(f.policy(), 2, keys[:3]...)), cfg)
	sub := f.submission(t, 1)
	good := sealed(t, sub, keys[0], keys[1])
	other := f.submission(t, 2)
	for name, bad := range map[string]*poclog.Submission{
		"unsigned":             sub,
		"too few":              sealed(t, sub, keys[0]),
		"an unknown key":       sealed(t, sub, keys[0], keys[3]),
		"unknown beside known": sealed(t, sub, keys[0], keys[1], keys[3]),
		"the same key twice":   forge(t, good, func(v *poclog.Envelope) { v.Signatures[1] = v.Signatures[0] }),
		"a bad signature":      forge(t, good, func(v *poclog.Envelope) { v.Signatures[1].Sig[0] ^= 1 }),
		"another's name": forge(t, good, func(v *poclog.Envelope) {
			v.Signatures[0].KeyID, v.Signatures[1].KeyID = v.Signatures[1].KeyID, v.Signatures[0].KeyID
		}),
		"another payload": forge(t, good, func(v *poclog.Envelope) { v.Payload = other.Bundle }),
	} {
		if p := problemOf(t, l, bad); p.Check != string(verify.PublisherSignature) || p.Status != http.StatusUnprocessableEntity {
			t.Errorf("%s: %v", name, p)
		}
	}
	text := string(good.Envelope)
	for name, body := range map[string]string{
		"another payload type": strings.Replace(text, poclog.BundleType, "application/vnd.in-toto+json", 1),
		"no payload type":      strings.Replace(text, poclog.BundleType, "", 1),
		"a member twice":       strings.Replace(text, `{"payloadType"`, `{"payloadType":"application/vnd.poclog.bundle+json","payloadType"`, 1),
		"an unknown member":    strings.Replace(text, `{"payloadType"`, `{"more":1,"payloadType"`, 1),
		"no envelope":          string(sub.Bundle),
		"nothing":              "",
	} {
		if status, check := postRaw(t, l, poclog.EnvelopeType, body); status != http.StatusBadRequest || check != string(verify.Format) {
			t.Errorf("%s: %d by %q", name, status, check)
		}
	}
	if status, _ := postRaw(t, l, poclog.EnvelopeType, strings.Repeat(" ", poclog.MaxEnvelope+1)); status != http.StatusRequestEntityTooLarge {
		t.Errorf("an envelope over the limit: %d", status)
	}
	if status, _ := postRaw(t, l, "application/vnd.dsse+json", text); status != http.StatusUnsupportedMediaType {
		t.Errorf("another media type: %d", status)
	}
}

// postRaw posts a body and returns the status and the check that refused.
func postRaw(t *testing.T, l *testLog, kind, body string) (int, string) {
	t.Helper()
	return postTo(t, l.url+"/v1/proofs", kind, body)
}

func postTo(t *testing.T, url, kind, body string) (int, string) {
	t.Helper()
	resp, err := http.Post(url, kind, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var p struct{ Check string }
	if resp.StatusCode >= 400 {
		if err := json.NewDecoder(resp.Body).Decode(&p); err != nil {
			t.Fatal(err)
		}
	}
	return resp.StatusCode, p.Check
}

func TestEntryNamesItsPublishersAndTheLogKeepsTheirEnvelope(t *testing.T) {
	keys, f := publisherKeys(t, 3), newFab()
	dir := initWith(t, listing(f.policy(), 2, keys...))
	l := serve(t, dir, logConfig())
	sub := f.submission(t, 1)
	first := sealed(t, sub, keys[2], keys[0])
	got := submit(t, l, first)
	want := []poclog.Digest{keys[0].Key().Digest, keys[2].Key().Digest}
	slices.SortFunc(want, func(a, b poclog.Digest) int { return bytes.Compare(a[:], b[:]) })
	e := got.Verdict.Entry
	if !got.New || !slices.Equal(e.Publishers, want) || e.Evidence.Envelope != poclog.BlobOf(first.Envelope) {
		t.Errorf("new %v, publishers %s, envelope %v", got.New, e.Publishers, e.Evidence.Envelope)
	}
	if served, err := l.client.Evidence(t.Context(), e.Evidence.Envelope); err != nil || !bytes.Equal(served, first.Envelope) {
		t.Errorf("the envelope is not served: %v", err)
	}
	// With collateral it is the publishers' whole submission that is signed.
	whole := sealed(t, &poclog.Submission{Bundle: f.submission(t, 2).Bundle, Collateral: f.collateral(t, chip.CollateralOptions{At: time.Now().Add(-time.Hour)})}, keys[0], keys[1])
	if got := submit(t, l, whole); !got.New || got.Verdict.Entry.Evidence.Collateral == (poclog.Blob{}) || len(got.Verdict.Entry.Publishers) != 2 {
		t.Errorf("with collateral: %+v", got.Verdict.Entry)
	}
	again := func(when string) {
		for name, s := range map[string]*poclog.Submission{
			"by the same":      first,
			"by others":        sealed(t, sub, keys[1], keys[2]),
			"by nobody":        sub,
			"by a stranger":    sealed(t, sub, publisherKeys(t, 1)...),
			"with a bad sig":   forge(t, first, func(v *poclog.Envelope) { v.Signatures[0].Sig[0] ^= 1 }),
			"and more signers": sealed(t, sub, keys...),
		} {
			if dup := submit(t, l, s); dup.New || dup.Verdict.Index != got.Verdict.Index || !slices.Equal(dup.Verdict.Entry.Publishers, want) {
				t.Errorf("%s, again %s: new %v, entry %d of %s", when, name, dup.New, dup.Verdict.Index, dup.Verdict.Entry.Publishers)
			}
		}
	}
	again("at once")
	if err := l.svc.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	l = serve(t, dir, logConfig())
	again("after a restart")
	if r := l.fsck(t); len(r.Findings) > 0 || r.Proofs != 2 {
		t.Errorf("fsck: %+v", r)
	}
	// An entry whose envelope is another, or lost, is no longer what it says.
	harm(t, dir, e.Evidence.Envelope.SHA256, string(first.Bundle))
	for _, name := range []string{"another", "lost"} {
		if name == "lost" {
			lose(t, dir, e.Evidence.Envelope.SHA256)
		}
		if r := l.fsck(t); len(r.Findings) != 1 || !strings.Contains(r.Findings[0].Detail, "envelope") {
			t.Errorf("%s: fsck: %+v", name, r)
		}
	}
}

func TestOneBundleOfManyPublishersAtOneTimeIsOneEntry(t *testing.T) {
	keys, f := publisherKeys(t, 6), newFab()
	l := serve(t, initWith(t, listing(f.policy(), 1, keys...)), logConfig())
	sub := f.submission(t, 1)
	var mu sync.Mutex
	var wg sync.WaitGroup
	created, seen := 0, make(map[string]bool)
	for _, k := range keys {
		s := sealed(t, sub, k)
		wg.Go(func() {
			got, err := l.client.Submit(t.Context(), s)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if got.New {
				created++
			}
			if len(got.Verdict.Entry.Publishers) == 1 {
				seen[got.Verdict.Entry.Publishers[0].String()] = true
			}
		})
	}
	wg.Wait()
	if created != 1 || len(seen) != 1 {
		t.Errorf("%d entries, of %d publishers", created, len(seen))
	}
}

// A log without publishers says so: an entry that did not name who signed would look as if nobody
// had.
func TestEnvelopeIsRefusedWhereNobodyIsListed(t *testing.T) {
	f := newFab()
	l := serve(t, f.initLog(t), logConfig())
	p := problemOf(t, l, sealed(t, f.submission(t, 1), publisherKeys(t, 1)...))
	if p.Check != string(verify.PublisherSignature) || !strings.Contains(p.Detail, "lists no publishers") {
		t.Errorf("%v", p)
	}
}

// What fetches collateral and asks registries judges more than once: each time with the envelope.
func TestPublishersOfFreshEvidenceWithFetchedCollateral(t *testing.T) {
	keys := publisherKeys(t, 2)
	m := newMarket(t, func(_ *log.Config, p *poclog.Policy, _ *collateral.Config) { listing(p, 1, keys[0]) })
	sub := m.prove(t)
	if p := problemOf(t, m.testLog, sealed(t, sub, keys[1])); p.Check != string(verify.PublisherSignature) {
		t.Errorf("signed by a stranger: %v", p)
	}
	if n := m.server.Asked("/"); n > 0 {
		t.Errorf("the manufacturer was asked %d times for a stranger", n)
	}
	got := submit(t, m.testLog, sealed(t, sub, keys[0]))
	if !got.New || got.Verdict.Entry.Level != poclog.LevelBound || len(got.Verdict.Entry.Publishers) != 1 {
		t.Errorf("%+v", got.Verdict.Entry)
	}
	if r := m.fsck(t); len(r.Findings) > 0 {
		t.Errorf("fsck: %+v", r)
	}
}
