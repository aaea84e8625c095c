package client_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/internal/realdata"
	"github.com/poclog/poclog/internal/testlog"
	"github.com/poclog/poclog/verify/receipt"
	"github.com/poclog/poclog/verify/tdx"
)

// attest is the TPMS_ATTEST of the samples: the client looks at its bytes only.
var attest = []byte("a TPM's statement")

func bundleOf(t testing.TB, quote []byte, withTPM bool) []byte {
	t.Helper()
	b := new(poclog.Bundle)
	b.Set(poclog.ItemTDXQuote, quote)
	if withTPM {
		b.Set(poclog.ItemTPMQuote, append([]byte{0, byte(len(attest))}, append(slices.Clone(attest), "signature"...)...))
	}
	file, err := b.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// entryOf is an entry for a bundle with a quote, as a log could make it.
func entryOf(t testing.TB, bundle, quote []byte, boot bool) *poclog.Entry {
	t.Helper()
	q, err := tdx.ParseQuote(quote)
	if err != nil {
		t.Fatal(err)
	}
	e := &poclog.Entry{
		Appraisal: 1, Profile: poclog.TDX, Realm: poclog.Production,
		Chassis: []poclog.Identity{"intel:tdx:ppid:1112131415161718191a1b1c1d1e1f20"}, Quote: q.ID(),
		CVM:       poclog.CVM{Technology: "tdx", Measurement: make([]byte, 48), FMSPC: make([]byte, 6), PCEID: make([]byte, 2)},
		Evidence:  poclog.EvidenceDigests{Bundle: poclog.BlobOf(bundle), Policy: poclog.BlobOf([]byte("policy"))},
		Appraised: poclog.UnixTime(1_780_922_561),
	}
	if boot {
		d := poclog.Sum(attest)
		e.Boot, e.TPM = &d, &poclog.TPM{KeyType: "ecc-p256", PCRs: []poclog.PCRBank{{Alg: "sha256", Selected: []uint8{0}}}, PCRDigest: make([]byte, 32)}
	}
	return e
}

// answering is a log whose answer to every submission is the receipt of its last leaf.
func answering(t testing.TB, status int, leaf []byte, store client.CheckpointStore) (*client.Client, *testlog.Log) {
	t.Helper()
	cl, l, _ := answeringAfter(t, status, leaf, store, nil)
	return cl, l
}

// answeringAfter is that log; where before is not nil, it shows that tree until something is
// submitted. It counts submissions.
func answeringAfter(t testing.TB, status int, leaf []byte, store client.CheckpointStore, before *testlog.Log) (*client.Client, *testlog.Log, *atomic.Int32) {
	t.Helper()
	l := logOf("a", 300)
	l.Leaves = append(l.Leaves, leaf)
	n := uint64(len(l.Leaves))
	r := &poclog.Receipt{Entry: leaf, Index: n - 1, Inclusion: l.Inclusion(n-1, n, signed(l))}
	file, err := r.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	tiles := new(testlog.Server)
	tiles.Set(l, signed(l), nil)
	if before != nil {
		tiles.Set(before, signed(before), nil)
	}
	posts := new(atomic.Int32)
	mux := http.NewServeMux()
	mux.Handle("/", tiles)
	mux.HandleFunc("POST /v1/proofs", func(w http.ResponseWriter, _ *http.Request) {
		posts.Add(1)
		tiles.Set(l, signed(l), nil)
		w.WriteHeader(status)
		_, _ = w.Write(file)
	})
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return newClient(t, srv.URL, store), l, posts
}

func TestReceiptsOfOthersEvidenceAreRefused(t *testing.T) {
	v4, v5 := realdata.Quotes()[0], realdata.Quotes()[1]
	mine, whole := bundleOf(t, v4, false), bundleOf(t, v4, true)
	five := bundleOf(t, v5, false)
	sealed := entryOf(t, mine, v4, false)
	sealed.Publishers, sealed.Evidence.Envelope = []poclog.Digest{poclog.Sum([]byte("key"))}, poclog.BlobOf([]byte("envelope"))
	for _, c := range []struct {
		desc   string
		sent   []byte
		status int
		entry  *poclog.Entry
		want   string // part of the error; "" accepts
	}{
		{"a new entry with an envelope that was not sent", mine, 201, sealed, "envelope"},
		{"the entry of another's envelope", mine, 200, sealed, ""},
		{"a new entry for what was sent", mine, 201, entryOf(t, mine, v4, false), ""},
		{"a new entry for another file", mine, 201, entryOf(t, whole, v4, false), "not the one that was sent"},
		{"the entry of the same quote in another bundle", mine, 200, entryOf(t, whole, v4, true), ""},
		{"the entry of the same quotes", whole, 200, entryOf(t, whole, v4, true), ""},
		{"the entry of the same quote of version 5", five, 200, entryOf(t, five, v5, false), ""},
		{"the entry of another quote", mine, 200, entryOf(t, five, v5, false), "another quote"},
		{"the entry of the file, whose parts are not bound to each other", whole, 200, entryOf(t, whole, v4, false), ""},
		{"the entry of the quote without the boot that was sent", whole, 200, entryOf(t, mine, v4, false), "another TPM quote"},
	} {
		leaf, err := c.entry.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		cl, _ := answering(t, c.status, leaf, nil)
		got, err := cl.Submit(t.Context(), &poclog.Submission{Bundle: c.sent})
		if c.want == "" {
			if err != nil || got.New != (c.status == 201) || got.Verdict.Index != 300 {
				t.Errorf("%s: %v", c.desc, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v: want %q", c.desc, err, c.want)
		}
	}
	config, err := (&poclog.Config{Policy: poclog.BlobOf(nil), Software: "x", Time: poclog.UnixTime(1)}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	cl, _ := answering(t, 200, config, nil)
	if _, err := cl.Submit(t.Context(), &poclog.Submission{Bundle: mine}); !errors.Is(err, receipt.ErrNotProof) {
		t.Errorf("the receipt of a config entry: %v", err)
	}
}

// The quotes' lengths are a stranger's words; also in what its submitter sends by mistake.
func TestAnswersToQuotesCutShortAreRefused(t *testing.T) {
	for _, v := range realdata.Quotes()[:2] {
		whole := bundleOf(t, v, false)
		leaf, err := entryOf(t, whole, v, false).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		cl, _ := answering(t, 200, leaf, nil)
		for _, n := range []int{1, 2, 47, 48, 53, 54, 631} {
			if _, err := cl.Submit(t.Context(), &poclog.Submission{Bundle: bundleOf(t, v[:n], false)}); err == nil || !strings.Contains(err.Error(), "another quote") {
				t.Errorf("a quote cut to %d bytes: %v", n, err)
			}
		}
	}
}

func TestASubmittersReceiptMustExtendWhatItSaw(t *testing.T) {
	quote := realdata.Quotes()[0]
	bundle := bundleOf(t, quote, false)
	leaf, err := entryOf(t, bundle, quote, false).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	store := openStore(t, t.TempDir())
	cl, l := answering(t, 201, leaf, store)
	if ok, err := store.Replace(origin, nil, signed(prefix(l, 256))); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if _, err := cl.Submit(t.Context(), &poclog.Submission{Bundle: bundle}); err != nil {
		t.Fatal(err)
	}
	if seen, err := store.Load(origin); err != nil || string(seen) != string(signed(l)) {
		t.Errorf("the receipt's checkpoint is not remembered: %v", err)
	}

	store = openStore(t, t.TempDir())
	if ok, err := store.Replace(origin, nil, signed(logOf("b", 256))); !ok || err != nil {
		t.Fatal(ok, err)
	}
	cl, _, _ = answeringAfter(t, 201, leaf, store, logOf("b", 256)) // it forks with the submission
	got, err := cl.Submit(t.Context(), &poclog.Submission{Bundle: bundle})
	var split *client.SplitView
	if !errors.As(err, &split) || got == nil || len(got.Receipt) == 0 {
		t.Fatalf("%v, receipt %v: want a split view beside the receipt", err, got != nil)
	}
	if _, err := receipt.CheckSplitView(split.Evidence, policy(t)); err != nil {
		t.Errorf("the evidence does not convince: %v", err)
	}
}

// What does not fit with what the client saw before is noticed before anything is published, and
// said with the file's name.
func TestNothingIsPublishedWhereTheHistoryIsInDoubt(t *testing.T) {
	quote := realdata.Quotes()[0]
	bundle := bundleOf(t, quote, false)
	leaf, err := entryOf(t, bundle, quote, false).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	other := logOf("a", 256)
	flipped := bytes.Clone(signed(other))
	flipped[len(origin)+2] ^= 1
	for name, c := range map[string]struct {
		seen  []byte
		doubt client.Doubt
	}{
		"another key":          {testlog.SignRoot(origin, 256, other.Root(256), testlog.Cosigner{Signer: testlog.LogKey("other.test")}), client.DoubtOtherKey},
		"a damaged file":       {flipped, client.DoubtDamaged},
		"a file of rubbish":    {[]byte("rubbish"), client.DoubtDamaged},
		"an endless file":      {bytes.Repeat([]byte("x"), 1<<20), client.DoubtDamaged},
		"a log made anew":      {signed(logOf("b", 900)), client.DoubtUnproven},
		"another history":      {signed(logOf("b", 256)), ""},
		"the same log, longer": {signed(logOf("a", 256)), "none"},
	} {
		t.Run(name, func(t *testing.T) {
			store := openStore(t, t.TempDir())
			if ok, err := store.Replace(origin, nil, c.seen); !ok || err != nil {
				t.Fatal(ok, err)
			}
			cl, _, posts := answeringAfter(t, 201, leaf, store, nil)
			_, err := cl.Submit(t.Context(), &poclog.Submission{Bundle: bundle})
			var h *client.HistoryError
			switch c.doubt {
			case "none":
				if err != nil || posts.Load() != 1 {
					t.Errorf("%v: %d submissions", err, posts.Load())
				}
				return
			case "":
				if !errors.As(err, new(*client.SplitView)) {
					t.Errorf("%v: want a split view", err)
				}
			default:
				if !errors.As(err, &h) || h.Doubt != c.doubt || h.Name != store.Name(origin) || h.Origin != origin || !strings.Contains(err.Error(), h.Name) {
					t.Errorf("%v: %+v", err, h)
				}
			}
			if n := posts.Load(); n != 0 {
				t.Errorf("%d submissions were sent", n)
			}
			if seen, err := store.Load(origin); err == nil && !bytes.Equal(seen, c.seen) {
				t.Error("what was seen is forgotten")
			}
		})
	}
}

// A log that is not well says why in the document of its health, whatever the status.
func TestHealthIsReadAndBounded(t *testing.T) {
	for body, want := range map[string]string{
		`{"v":1,"status":"ok"}`: "ok [] []",
		`{"v":1,"status":"failing","reasons":["the witness w1 does not answer"],"warnings":["slow\u001b[2J"]}`: `failing [the witness w1 does not answer] [slow\u001b[2J]`,
		`{"status":"failing","reasons":[` + strings.Repeat(`"x",`, 999) + `"x"]}`:                              "failing [" + strings.Repeat("x ", 15) + "x] []",
		`[]`:   "",
		`html`: "",
	} {
		for _, status := range []int{200, 503, 404} {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(status)
				_, _ = w.Write([]byte(body))
			}))
			h, err := newClient(t, srv.URL, nil).Health(t.Context())
			srv.Close()
			if wantErr := want == "" || status == 404; wantErr != (err != nil) {
				t.Errorf("%d %.80s: %v", status, body, err)
			} else if err == nil && fmt.Sprintf("%s %v %v", h.Status, h.Reasons, h.Warnings) != want {
				t.Errorf("%.80s: %v", body, h)
			}
		}
	}
}

func TestChallengesAreOfTheNewestCheckpointAndApart(t *testing.T) {
	l := logOf("a", 5)
	s := serve(t, l)
	userData := poclog.Sum([]byte("a key"))
	one, err := s.client.Challenge(t.Context(), poclog.GCETDXvTPM, userData)
	if err != nil {
		t.Fatal(err)
	}
	two, err := s.client.Challenge(t.Context(), poclog.GCETDXvTPM, userData)
	if err != nil {
		t.Fatal(err)
	}
	if string(one.Checkpoint) != string(signed(l)) || one.UserData != userData || one.Profile != poclog.GCETDXvTPM {
		t.Errorf("%+v", one)
	}
	if one.Salt == two.Salt || one.Salt == [32]byte{} {
		t.Error("the salt is no salt")
	}
}

func TestEvidenceIsWhatTheEntryNames(t *testing.T) {
	file := []byte("a bundle")
	answer := file
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/evidence/sha256/"+poclog.Sum(file).String() {
			w.WriteHeader(http.StatusUnavailableForLegalReasons)
			return
		}
		_, _ = w.Write(answer)
	}))
	defer srv.Close()
	c := newClient(t, srv.URL, nil)
	blob := poclog.BlobOf(file)
	for _, b := range []poclog.Blob{blob, {SHA256: blob.SHA256}} {
		if got, err := c.Evidence(t.Context(), b); err != nil || string(got) != string(file) {
			t.Errorf("%v: %q, %v", b, got, err)
		}
	}
	longer, shorter := blob, blob
	longer.Size++
	shorter.Size--
	for _, b := range []poclog.Blob{longer, shorter} {
		if _, err := c.Evidence(t.Context(), b); !errors.Is(err, client.ErrOtherFile) {
			t.Errorf("size %d of %d: %v", b.Size, blob.Size, err)
		}
	}
	for _, other := range [][]byte{[]byte("b bundle"), {}, make([]byte, 10<<20)} {
		answer = other
		if _, err := c.Evidence(t.Context(), blob); !errors.Is(err, client.ErrOtherFile) {
			t.Errorf("an answer of %d other bytes: %v", len(other), err)
		}
	}
	if _, err := c.Evidence(t.Context(), poclog.BlobOf([]byte("withheld"))); client.StatusOf(err) != 451 || client.Temporary(err) {
		t.Errorf("withheld evidence: %v", err)
	}
}

// A receipt carries the challenge's checkpoint that its entry names: a log that shows another
// bundle's is found out before a receipt is kept.
func TestChallengesAreThoseThatTheirEntriesName(t *testing.T) {
	var file []byte
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(file) }))
	defer srv.Close()
	c := newClient(t, srv.URL, nil)
	named := []byte("log.test\n1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n— log.test AAAAAAAA\n")
	challenge, err := (&poclog.Challenge{Profile: poclog.TDX, Checkpoint: named}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	b := new(poclog.Bundle)
	b.Set(poclog.ItemTDXQuote, []byte("a quote"))
	historical, err := b.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	b.Set(poclog.ItemChallenge, challenge)
	fresh, err := b.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	of := func(served []byte, checkpoint []byte) ([]byte, error) {
		file = served
		e := &poclog.Entry{Evidence: poclog.EvidenceDigests{Bundle: poclog.BlobOf(served)}}
		if checkpoint != nil {
			e.Fresh = &poclog.Fresh{Checkpoint: poclog.Sum(checkpoint)}
		}
		return c.ChallengeOf(t.Context(), e)
	}
	if got, err := of(fresh, named); err != nil || string(got) != string(named) {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := of(historical, nil); err != nil || got != nil {
		t.Errorf("of historical evidence: %q, %v", got, err)
	}
	for name, served := range map[string][]byte{"another challenge": fresh, "no challenge": historical, "no bundle": []byte("rubbish")} {
		if got, err := of(served, []byte("another checkpoint")); err == nil || got != nil {
			t.Errorf("a bundle with %s: %q", name, got)
		}
	}
}

func TestTheAppraisalPolicyMustParse(t *testing.T) {
	p := &poclog.Policy{V: 1, Realm: poclog.Production, Admit: []poclog.Admission{{Profile: poclog.GCETDXvTPM, Level: 2}}, MaxChallengeAge: 600}
	good, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	answer := good
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(answer) }))
	defer srv.Close()
	c := newClient(t, srv.URL, nil)
	file, got, err := c.FetchPolicy(t.Context())
	if err != nil || string(file) != string(good) || got.MaxChallengeAge != 600 {
		t.Errorf("%q, %v", file, err)
	}
	answer = []byte(`{"v":1}`)
	if _, _, err := c.FetchPolicy(t.Context()); err == nil {
		t.Error("what is no policy was taken for one")
	}
}

func TestRedirectsAreBounded(t *testing.T) {
	asked := 0
	mux := http.NewServeMux()
	srv := httptest.NewServer(mux)
	defer srv.Close()
	tiles := new(testlog.Server)
	l := logOf("a", 3)
	tiles.Set(l, signed(l), nil)
	mux.Handle("/moved/", http.StripPrefix("/moved", tiles))
	mux.Handle("/once/", http.RedirectHandler("/moved/checkpoint", http.StatusFound))
	count := func(to string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			asked++
			http.Redirect(w, r, to, http.StatusTemporaryRedirect)
		}
	}
	mux.Handle("/loop/", count("/loop/checkpoint"))
	mux.Handle("/file/", count("file:///etc/passwd"))
	mux.Handle("/post/", count("/moved/v1/proofs"))
	if _, err := newClient(t, srv.URL+"/once", nil).Checkpoint(t.Context()); err != nil {
		t.Errorf("one redirect: %v", err)
	}
	for path, limit := range map[string]int{"/loop": 5, "/file": 1} {
		asked = 0
		if _, err := newClient(t, srv.URL+path, nil).Checkpoint(t.Context()); err == nil || asked > limit {
			t.Errorf("%s: %v after %d requests", path, err, asked)
		}
	}
	asked = 0
	_, err := newClient(t, srv.URL+"/post", nil).Submit(t.Context(), &poclog.Submission{Bundle: []byte("x")})
	if err == nil || !strings.Contains(err.Error(), "submit there if you trust it") || asked != 1 {
		t.Errorf("a redirected submission: %v after %d requests", err, asked)
	}
}

func TestRetriesStopWithTheirContext(t *testing.T) {
	tries := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		tries++
		w.Header().Set("Retry-After", "1000000")
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer srv.Close()
	ctx, cancel := context.WithCancel(t.Context())
	var waited []time.Duration
	c, err := client.New(client.Config{URL: srv.URL, Policy: policy(t), Wait: func(ctx context.Context, d time.Duration) error {
		waited = append(waited, d)
		if len(waited) == 2 {
			cancel()
		}
		return ctx.Err()
	}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Checkpoint(ctx)
	if !errors.Is(err, context.Canceled) || tries != 2 {
		t.Errorf("%v after %d tries", err, tries)
	}
	if slices.Max(waited) > client.DefaultMaxWait {
		t.Errorf("waited %v: want at most %s each", waited, client.DefaultMaxWait)
	}
}

func TestConsistencyProofsAreThoseOfTheReference(t *testing.T) {
	all := logOf("a", 600)
	s := serve(t, all)
	for _, n := range []int{1, 2, 3, 255, 256, 257, 512, 600} {
		l := prefix(all, n)
		s.Set(l, signed(l), nil)
		tree := client.Tree{Origin: origin, Size: uint64(n), Root: l.Root(uint64(n))}
		for _, m := range []int{1, 2, 100, 255, 256, 257, 600} {
			if m > n {
				continue
			}
			got, err := s.client.ConsistencyProof(t.Context(), uint64(m), tree)
			if err != nil {
				t.Fatalf("%d to %d: %v", m, n, err)
			}
			var proof tlog.TreeProof
			for _, h := range got {
				proof = append(proof, [sha256.Size]byte(h))
			}
			if err := tlog.CheckTree(proof, int64(n), l.Root(uint64(n)), int64(m), all.Root(uint64(m))); err != nil {
				t.Errorf("%d to %d: %v", m, n, err)
			}
		}
	}
	if _, err := s.client.ConsistencyProof(t.Context(), 601, client.Tree{Size: 600}); err == nil {
		t.Error("a tree extends a larger one")
	}
}

func TestConfigurationsThatMeanNothingAreRefused(t *testing.T) {
	if _, err := client.New(client.Config{URL: "https://log.test"}); !errors.Is(err, receipt.ErrNoPolicy) {
		t.Errorf("no policy: %v", err)
	}
	for _, u := range []string{"", "log.test", "ftp://log.test", "https://", "https://log.test/?a", "https://log.test/#a", "http://[::1"} {
		if _, err := client.New(client.Config{URL: u, Policy: policy(t)}); err == nil {
			t.Errorf("URL %q: accepted", u)
		}
	}
	if _, err := client.New(client.Config{URL: "https://log.test", Policy: policy(t), Attempts: -1}); err == nil {
		t.Error("negative attempts: accepted")
	}
}
