package log_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/internal/httpd"
	"github.com/poclog/poclog/internal/openapi"
	"github.com/poclog/poclog/internal/openapi/openapitest"
	"github.com/poclog/poclog/internal/realdata"
	"github.com/poclog/poclog/log"
	"github.com/poclog/poclog/verify/profile"
	"github.com/poclog/poclog/verify/receipt"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

const origin = "log.test/2026"

// A testLog is a log over real HTTP, with a client.
type testLog struct {
	dir    string
	url    string
	svc    *log.Service
	client *client.Client
	policy *tlogpolicy.Policy
}

func initLog(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "log")
	if err := log.Init(dir, log.InitOptions{Origin: origin, Policy: profile.DefaultPolicy(true)}); err != nil {
		t.Fatal(err)
	}
	return dir
}

func dirSource(t testing.TB, dir string) log.Source {
	t.Helper()
	src, err := log.DirSource(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

func readPolicy(t testing.TB, dir string) *tlogpolicy.Policy {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "policy.txt"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := tlogpolicy.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func serve(t testing.TB, dir string, cfg log.Config) *testLog {
	t.Helper()
	return serveLogging(t, dir, cfg, slog.New(slog.DiscardHandler))
}

func serveLogging(t testing.TB, dir string, cfg log.Config, logger *slog.Logger) *testLog {
	t.Helper()
	cfg.Software, cfg.Logger = "poclog test", logger
	cfg.CheckpointInterval = max(cfg.CheckpointInterval, 100*time.Millisecond)
	svc, err := log.Open(context.Background(), dir, cfg)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(svc.Handler())
	l := &testLog{dir: dir, url: srv.URL, svc: svc, policy: readPolicy(t, dir)}
	if l.client, err = client.New(client.Config{URL: srv.URL, Policy: l.policy, Attempts: 1, HTTP: documented(t)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		srv.Close()
		if err := svc.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return l
}

// documented is a client that holds every answer to the log's OpenAPI document, in tests.
func documented(t testing.TB) *http.Client {
	if _, ok := t.(*testing.T); !ok {
		return http.DefaultClient // a benchmark does not measure this
	}
	return &http.Client{Transport: &openapitest.Transport{T: t, Checker: openapitest.New(t, openapi.Log)}}
}

// quoteSubmission is a real production quote, judged when its chain was valid.
func quoteSubmission(t testing.TB) *poclog.Submission {
	t.Helper()
	b := new(poclog.Bundle)
	b.Set(poclog.ItemTDXQuote, realdata.Quotes()[0])
	file, err := b.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return &poclog.Submission{Bundle: file, Judged: realdata.QuoteTime}
}

func azureSubmission(t testing.TB) *poclog.Submission {
	t.Helper()
	b, c := realdata.Azure(t)
	bundle, err := b.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	collateral, err := c.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return &poclog.Submission{Bundle: bundle, Collateral: collateral, Judged: realdata.AzureTime}
}

func (l *testLog) fsck(t testing.TB) *log.Report {
	t.Helper()
	r, err := log.Fsck(context.Background(), dirSource(t, l.dir), l.policy, profile.Appraise, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRealEvidenceIsLoggedProvenAndCheckedOffline(t *testing.T) {
	l := serve(t, initLog(t), log.Config{})
	for _, sub := range []*poclog.Submission{quoteSubmission(t), azureSubmission(t)} {
		got, err := l.client.Submit(t.Context(), sub)
		if err != nil {
			t.Fatal(err)
		}
		if !got.New || got.Verdict.Entry.Level != poclog.LevelChip {
			t.Errorf("new %v, level %d", got.New, got.Verdict.Entry.Level)
		}
		demands := receipt.Demands{UnsafeLevel0: true}
		if _, err := receipt.Check(got.Receipt, l.policy, time.Now(), demands); err != nil {
			t.Errorf("receipt at level 0: %v", err)
		}
		if _, err := receipt.Check(got.Receipt, l.policy, time.Now(), receipt.Demands{}); err == nil || !strings.HasPrefix(err.Error(), "level: ") {
			t.Errorf("receipt under safe defaults: %v: want a refusal by level", err)
		}
		again, err := l.client.Submit(t.Context(), sub)
		if err != nil {
			t.Fatal(err)
		}
		if again.New || again.Verdict.Index != got.Verdict.Index {
			t.Errorf("the same evidence again: new %v, entry %d: want entry %d", again.New, again.Verdict.Index, got.Verdict.Index)
		}
		moved, err := l.client.Refresh(t.Context(), got.Receipt)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := receipt.Check(moved, l.policy, time.Now(), demands); err != nil {
			t.Errorf("refreshed receipt: %v", err)
		}
	}
	r := l.fsck(t)
	if len(r.Findings) > 0 || r.Proofs != 2 || r.Configs != 1 {
		t.Errorf("fsck: %+v", r)
	}
}

// A part of an entry's evidence, in a bundle of its own, is the entry's.
func TestPartOfAnEntrysEvidenceGetsItsReceipt(t *testing.T) {
	d := newDatacenter(t, func(p *poclog.Policy) {
		p.Admit = append(p.Admit, poclog.Admission{Profile: poclog.TDX, Level: poclog.LevelChip, Historical: true})
	})
	whole := d.prove(t)
	first := submit(t, d.testLog, whole)
	all, err := poclog.ParseBundle(whole.Bundle)
	if err != nil {
		t.Fatal(err)
	}
	b := new(poclog.Bundle)
	b.Set(poclog.ItemTDXQuote, all.Get(poclog.ItemTDXQuote))
	file, err := b.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	part := submit(t, d.testLog, &poclog.Submission{Bundle: file, Judged: first.Verdict.Entry.Appraised})
	if part.New || part.Verdict.Index != first.Verdict.Index {
		t.Errorf("new %v, entry %d: want entry %d", part.New, part.Verdict.Index, first.Verdict.Index)
	}
}

func TestBadInputIsAnsweredInOneLineAndTheLogGoesOn(t *testing.T) {
	l := serve(t, initLog(t), log.Config{})
	good := quoteSubmission(t)
	hundredMB := io.LimitReader(endless{}, 100<<20)
	deep := strings.Repeat("[", 1<<20)
	tampered := bytes.Replace(good.Bundle, []byte(`"tdx-quote":["application/vnd.poclog.tdx-quote","BAAC`), []byte(`"tdx-quote":["application/vnd.poclog.tdx-quote","BAAD`), 1)
	for _, bad := range []struct {
		name, kind string
		body       io.Reader
		status     int
	}{
		{"empty", poclog.BundleType, strings.NewReader(""), 400},
		{"truncated", poclog.BundleType, bytes.NewReader(good.Bundle[:500]), 400},
		{"100 MB", poclog.BundleType, hundredMB, 413},
		{"deep JSON", poclog.BundleType, strings.NewReader(deep[:1<<20-1]), 400},
		{"duplicate keys", poclog.BundleType, strings.NewReader(`{"__cmwc_t":"tag:poclog.dev,2026:bundle","__cmwc_t":"tag:poclog.dev,2026:bundle"}`), 400},
		{"another media type", "text/html", bytes.NewReader(good.Bundle), 415},
		{"another vendor's quoting enclave", poclog.BundleType, bytes.NewReader(tampered), 400},
		{"a submission that is a bundle", poclog.SubmissionType, bytes.NewReader(good.Bundle), 400},
	} {
		resp, err := http.Post(l.url+"/v1/proofs", bad.kind, bad.body)
		if err != nil {
			t.Errorf("%s: %v", bad.name, err)
			continue
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != bad.status || resp.Header.Get("Content-Type") != "application/problem+json" || bytes.Count(b, []byte("\n")) != 1 || len(b) > 1000 {
			t.Errorf("%s: %d %s: want %d and one line", bad.name, resp.StatusCode, b, bad.status)
		}
	}
	if _, err := l.client.Submit(t.Context(), good); err != nil {
		t.Errorf("after bad input: %v", err)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

func TestOnlyTheTreeIsServed(t *testing.T) {
	l := serve(t, initLog(t), log.Config{})
	for path, want := range map[string]int{
		"/checkpoint": 200, "/tile/0/000.p/1": 200, "/tile/entries/000.p/1": 200, "/health": 200, "/metrics": 200, "/v1/policy": 200, "/": 200,
		"/.state/treeState": 404, "/tile/../.state/treeState": 404, "/tile/0/000.p/0": 404, "/tile/0/000.p/256": 404, "/tile/64/000": 404, "/tile/": 404,
		"/keys/ed25519.key": 404, "/v1/evidence/sha256/zz": 404, "/v1/evidence/sha256/" + strings.Repeat("0", 64): 404,
	} {
		resp, err := http.Get(l.url + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("GET %s: %d, want %d", path, resp.StatusCode, want)
		}
	}
}

func TestFloodFromOneAddressIsSlowedDown(t *testing.T) {
	l := serve(t, initLog(t), log.Config{Limits: httpd.Config{Rate: 1}})
	var last *http.Response
	for range 10 {
		resp, err := http.Post(l.url+"/v1/proofs", poclog.BundleType, strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		last = resp
	}
	if last.StatusCode != http.StatusTooManyRequests || last.Header.Get("Retry-After") == "" {
		t.Errorf("the tenth submission of a second: %d, Retry-After %q", last.StatusCode, last.Header.Get("Retry-After"))
	}
}
