package conformance_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/time/rate"

	"github.com/poclog/poclog/witness"
	"github.com/poclog/poclog/witness/conformance"
)

// A bed is a witness that knows a log.
type bed struct {
	dir    string
	w      *witness.Witness
	signer note.Signer
	vkey   string
}

func newBed(t *testing.T, cfg witness.Config) *bed {
	t.Helper()
	b := &bed{dir: filepath.Join(t.TempDir(), "w")}
	if err := witness.Init(b.dir, "witness.example/w1"); err != nil {
		t.Fatal(err)
	}
	skey, vkey, err := note.GenerateKey(rand.Reader, "example.com/log")
	if err != nil {
		t.Fatal(err)
	}
	if b.signer, err = conformance.ParseLogKey(skey); err != nil {
		t.Fatal(err)
	}
	b.vkey = vkey
	b.w = b.open(t, b.dir, cfg)
	return b
}

func (b *bed) open(t *testing.T, dir string, cfg witness.Config) *witness.Witness {
	t.Helper()
	w, err := witness.Open(dir, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	if err := w.AddLog(t.Context(), b.vkey); err != nil {
		t.Fatal(err)
	}
	return w
}

// twin is another witness with the same keys and a memory of its own.
func (b *bed) twin(t *testing.T, cfg witness.Config) *witness.Witness {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "twin")
	if err := witness.Init(dir, "witness.example/w1"); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"ed25519.key", "mldsa44.key"} {
		key, err := os.ReadFile(filepath.Join(b.dir, f))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, f), key, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return b.open(t, dir, cfg)
}

// run runs the suite against a handler and returns the ids of the checks that failed.
func (b *bed) run(t *testing.T, h http.Handler) map[string]string {
	t.Helper()
	srv := httptest.NewServer(h)
	defer srv.Close()
	failed := make(map[string]string)
	for _, r := range conformance.Run(t.Context(), conformance.Target{URL: srv.URL + "/", Log: []note.Signer{b.signer}, Witness: b.w.VKeys()}) {
		if !r.OK && !r.Skipped {
			failed[r.ID] = r.Detail
		}
	}
	return failed
}

// after changes what a handler answers. The change sees the request's path and body.
func after(h http.Handler, change func(path, body string, rec *httptest.ResponseRecorder)) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		change(r.URL.Path, string(body), rec)
		copyAnswer(rw, rec)
	})
}

// before changes what a handler is asked.
func before(h http.Handler, change func(body string) string) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(strings.NewReader(change(string(body))))
		r.ContentLength = -1
		h.ServeHTTP(rw, r)
	})
}

// status answers one status for another.
func status(from, to int) func(http.Handler) http.Handler {
	return func(h http.Handler) http.Handler {
		return after(h, func(_, _ string, rec *httptest.ResponseRecorder) {
			if rec.Code == from {
				rec.Code = to
			}
		})
	}
}

func edit(code int, f func(body string) string) func(http.Handler) http.Handler {
	return func(h http.Handler) http.Handler {
		return after(h, func(path, _ string, rec *httptest.ResponseRecorder) {
			if rec.Code == code && path == "/add-checkpoint" {
				text := f(rec.Body.String())
				rec.Body = bytes.NewBufferString(text)
			}
		})
	}
}

func replace(pattern, with string) func(http.Handler) http.Handler {
	re := regexp.MustCompile(pattern)
	return func(h http.Handler) http.Handler {
		return before(h, func(body string) string { return re.ReplaceAllString(body, with) })
	}
}

// TestSuiteNoticesEveryDeviation breaks a witness in one way at a time.
func TestSuiteNoticesEveryDeviation(t *testing.T) {
	for _, c := range []struct {
		desc   string
		expect string // a check that must fail
		broken func(http.Handler) http.Handler
	}{
		{"404 is 500", "origin.unknown", status(404, 500)},
		{"403 is 400", "signature.unknown-key", status(403, 400)},
		{"400 is 409", "old.larger-than-checkpoint", status(400, 409)},
		{"400 is 500", "body.old-hex", status(400, 500)},
		{"422 is 400", "proof.empty", status(422, 400)},
		{"422 is 409 as it was before July 2026", "same-size.other-root", status(422, 409)},
		{"409 has no newline", "old.zero", edit(409, strings.TrimSpace)},
		{"409 has a leading zero", "old.zero", edit(409, func(s string) string { return "0" + s })},
		{"the type of 409 is text/plain", "old.unseen-log", func(h http.Handler) http.Handler {
			return after(h, func(_, _ string, rec *httptest.ResponseRecorder) {
				if rec.Code == 409 {
					rec.Header().Set("Content-Type", "text/plain")
				}
			})
		}},
		{"one key does not sign", "first", edit(200, func(s string) string { return strings.SplitAfter(s, "\n")[0] })},
		{"something stands before the cosignatures", "first", edit(200, func(s string) string { return "cosigned:\n" + s })},
		{"the last newline is missing", "first", edit(200, func(s string) string { return strings.TrimSuffix(s, "\n") })},
		{"a cosignature is spoiled", "first", edit(200, func(s string) string { return s[:80] + string(s[80]^1) + s[81:] })},
		{"bodies are limited to 10 kB", "signature.sixteen", func(h http.Handler) http.Handler { return http.MaxBytesHandler(h, 10<<10) }},
		{"leading zeros are accepted", "body.old-leading-zero", replace(`^old 0+(\d)`, "old $1")},
		{"a plus is accepted", "body.old-plus", replace(`^old \+`, "old ")},
		{"spaces are trimmed", "body.old-trailing-space", replace(`^(old \d+) `, "$1")},
		{"carriage returns are accepted", "body.old-carriage-return", replace("\r\n", "\n")},
		{"a proof from 0 is dropped", "old-0.with-proof", replace(`^old 0\n(?:.{44}\n)+\n`, "old 0\n\n")},
		{"signatures of unknown keys are an error", "signature.unknown-ignored", func(h http.Handler) http.Handler {
			return before(h, func(body string) string {
				if strings.Contains(body, "other.example") {
					return ""
				}
				return body
			})
		}},
		{"there is no monitoring API", "monitoring.latest", func(h http.Handler) http.Handler {
			return after(h, func(path, _ string, rec *httptest.ResponseRecorder) {
				if path != "/add-checkpoint" {
					rec.Code = 404
				}
			})
		}},
		{"the monitoring API answers 200 before the first", "monitoring.before-first", func(h http.Handler) http.Handler {
			return after(h, func(path, _ string, rec *httptest.ResponseRecorder) {
				if path != "/add-checkpoint" {
					rec.Code = 200
				}
			})
		}},
		{"the monitoring API is stale", "monitoring.follows", func(h http.Handler) http.Handler {
			first := ""
			return after(h, func(path, _ string, rec *httptest.ResponseRecorder) {
				if path == "/add-checkpoint" || rec.Code != 200 {
					return
				}
				if first == "" {
					first = rec.Body.String()
				}
				rec.Body = bytes.NewBufferString(first)
			})
		}},
		{"the monitoring API leaves the log's signature out", "monitoring.latest", func(h http.Handler) http.Handler {
			return after(h, func(path, _ string, rec *httptest.ResponseRecorder) {
				if path != "/add-checkpoint" {
					text := regexp.MustCompile("(?m)^— example.com/log .*\n").ReplaceAllString(rec.Body.String(), "")
					rec.Body = bytes.NewBufferString(text)
				}
			})
		}},
		{"connections are closed", "http.keep-alive", func(h http.Handler) http.Handler {
			return after(h, func(_, _ string, rec *httptest.ResponseRecorder) { rec.Header().Set("Connection", "close") })
		}},
		{"GET cosigns", "http.get", func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/add-checkpoint" {
					r.Method = http.MethodPost
				}
				h.ServeHTTP(rw, r)
			})
		}},
	} {
		t.Run(c.desc, func(t *testing.T) {
			t.Parallel()
			b := newBed(t, witness.Config{Rate: rate.Inf})
			failed := b.run(t, c.broken(b.w.Handler()))
			if failed[c.expect] == "" {
				t.Errorf("%s has not failed, but %v", c.expect, failed)
			}
		})
	}
}

func TestSuiteNoticesAWrongClock(t *testing.T) {
	for _, off := range []time.Duration{time.Hour, -time.Hour} {
		b := newBed(t, witness.Config{Rate: rate.Inf, Clock: func() time.Time { return time.Now().Add(off) }})
		if failed := b.run(t, b.w.Handler()); failed["first"] == "" {
			t.Errorf("clock off by %v: not noticed: %v", off, failed)
		}
	}
}

// ask lets a handler answer a request whose body is given.
func ask(h http.Handler, r *http.Request, body []byte) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest(r.Method, r.URL.String(), bytes.NewReader(body)))
	return rec
}

func TestSuiteNoticesTimestampsThatGoBackwards(t *testing.T) {
	b := newBed(t, witness.Config{Rate: rate.Inf})
	slow := b.twin(t, witness.Config{Rate: rate.Inf, Clock: func() time.Time { return time.Now().Add(-time.Minute) }}).Handler()
	var n atomic.Int64
	failed := b.run(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		rec, second := ask(b.w.Handler(), r, body), ask(slow, r, body)
		if n.Add(1)%2 == 0 {
			rec = second
		}
		copyAnswer(rw, rec)
	}))
	if !strings.Contains(failed["grow"]+failed["first"]+failed["signature.unknown-ignored"], "a timestamp of") {
		t.Errorf("not noticed: %v", failed)
	}
}

// TestSuiteNoticesAWitnessWithTwoMemories checks two witnesses of one name and key, which know the
// same until two requests come at once. What each cosigns is consistent, and together they
// contradict.
func TestSuiteNoticesAWitnessWithTwoMemories(t *testing.T) {
	b := newBed(t, witness.Config{Rate: rate.Inf})
	one, other := b.w.Handler(), b.twin(t, witness.Config{Rate: rate.Inf}).Handler()
	var running atomic.Int64
	failed := b.run(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		defer running.Add(-1)
		if running.Add(1) > 1 {
			copyAnswer(rw, ask(other, r, body))
			return
		}
		rec := ask(one, r, body)
		time.Sleep(2 * time.Millisecond)
		ask(other, r, body)
		copyAnswer(rw, rec)
	}))
	if failed["race.two-sizes"] == "" {
		t.Errorf("not noticed: %v", failed)
	}
}

func copyAnswer(rw http.ResponseWriter, rec *httptest.ResponseRecorder) {
	for k, v := range rec.Header() {
		rw.Header()[k] = v
	}
	rw.WriteHeader(rec.Code)
	rw.Write(rec.Body.Bytes())
}

func TestSuiteWaitsForAWitnessThatLimitsItsRate(t *testing.T) {
	b := newBed(t, witness.Config{Rate: 400, Burst: 40})
	if failed := b.run(t, b.w.Handler()); len(failed) > 0 {
		t.Errorf("failed: %v", failed)
	}
}

func TestSuiteRefusesALogThatWasUsed(t *testing.T) {
	b := newBed(t, witness.Config{Rate: rate.Inf})
	if failed := b.run(t, b.w.Handler()); len(failed) > 0 {
		t.Fatalf("the first run failed: %v", failed)
	}
	if failed := b.run(t, b.w.Handler()); len(failed) != 1 || !strings.Contains(failed["setup"], "a log of its own") {
		t.Errorf("the second run: %v", failed)
	}
}

// TestSuiteSurvivesAnyAnswer checks that a server which is no witness at all is reported, and
// nothing worse.
func TestSuiteSurvivesAnyAnswer(t *testing.T) {
	b := newBed(t, witness.Config{Rate: rate.Inf})
	for _, code := range []int{200, 204, 301, 400, 401, 403, 404, 409, 422, 500} {
		for _, body := range []string{"", "x", "0\n", "9000000000000000000\n", "— witness.example/w1 AAAA\n", strings.Repeat("y", 2<<20)} {
			if len(body) > 1<<20 && code != http.StatusOK {
				continue // one is enough, and slow
			}
			failed := b.run(t, http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header().Set("Content-Type", "text/x.tlog.size")
				rw.WriteHeader(code)
				io.WriteString(rw, body)
			}))
			if len(failed) == 0 {
				t.Errorf("status %d with %.20q passes", code, body)
			}
		}
	}
}

// TestSuiteDoesNotFollowASizeThatNobodyCosigned checks a witness that claims a record which would
// make the suite build a huge tree.
func TestSuiteDoesNotFollowASizeThatNobodyCosigned(t *testing.T) {
	b := newBed(t, witness.Config{Rate: rate.Inf})
	var n atomic.Int64
	failed := b.run(t, http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "text/x.tlog.size")
		if n.Add(1) < 5 {
			rw.WriteHeader(http.StatusUnprocessableEntity)
			return
		}
		rw.WriteHeader(http.StatusConflict)
		io.WriteString(rw, "900000000000000\n")
	}))
	if failed["first"] == "" {
		t.Errorf("not noticed: %v", failed)
	}
}

func TestParseLogKeyRefusesWhatIsNone(t *testing.T) {
	for _, text := range []string{"", "PRIVATE+KEY+a+00000000+AQ==", "example.com/log+00000000+AAAA", "PRIVATE+KEY+a+00000000+" + strings.Repeat("A", 44)} {
		if _, err := conformance.ParseLogKey(text); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}

// A recorder stands for a *testing.T.
type recorder struct{ errors []string }

func (r *recorder) Helper()             {}
func (r *recorder) Logf(string, ...any) {}
func (r *recorder) Errorf(format string, args ...any) {
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}

func TestTestReportsWhatFails(t *testing.T) {
	b := newBed(t, witness.Config{Rate: rate.Inf})
	srv := httptest.NewServer(status(403, 401)(b.w.Handler()))
	defer srv.Close()
	var r recorder
	conformance.Test(t.Context(), &r, conformance.Target{URL: srv.URL, Log: []note.Signer{b.signer}, Witness: b.w.VKeys()})
	if len(r.errors) == 0 || !strings.Contains(strings.Join(r.errors, "\n"), "signature.unknown-key: ") {
		t.Errorf("reported %q", r.errors)
	}
}
