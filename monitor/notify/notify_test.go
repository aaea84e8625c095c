package notify_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/monitor"
	"github.com/poclog/poclog/monitor/notify"
	"github.com/poclog/poclog/verify/rule"
)

var now = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// A bench is a monitor's folder and a clock that moves only where something waits.
type bench struct {
	*monitor.Monitor
	dir string

	mu    sync.Mutex
	now   time.Time
	waits []time.Duration

	end  context.CancelFunc // is called
	ends time.Time          // then
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{dir: filepath.Join(t.TempDir(), "monitor"), now: now}
	if err := monitor.Init(b.dir); err != nil {
		t.Fatal(err)
	}
	b.open(t)
	return b
}

// open opens the folder again, as a process does that was started anew.
func (b *bench) open(t *testing.T) {
	t.Helper()
	m, err := monitor.Open(b.dir, monitor.Config{Clock: b.clock, Silence: notify.SilencesIn(b.dir).Silencer(b.clock, slog.Default())})
	if err != nil {
		t.Fatal(err)
	}
	b.Monitor = m
	t.Cleanup(func() { m.Close() })
}

func (b *bench) clock() time.Time { b.mu.Lock(); defer b.mu.Unlock(); return b.now }

func (b *bench) wait(ctx context.Context, d time.Duration) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	b.now = b.now.Add(d)
	b.waits = append(b.waits, d)
	if b.end != nil && b.now.After(b.ends) {
		b.end()
	}
	return ctx.Err()
}

func (b *bench) courier(s notify.Sink) *notify.Courier {
	return notify.NewCourier(b, s, notify.Config{Clock: b.clock, Wait: b.wait, Rand: func() float64 { return 1 }})
}

func alert(n int) monitor.Alert {
	return monitor.Alert{
		Finding: rule.Finding{
			Rule:     "ak-on-two-chips",
			Severity: "contradiction",
			Seen:     fmt.Sprintf("Number %d was seen.", n),
			Meaning:  "It may mean <nothing>.",
			Subject:  poclog.Identity(fmt.Sprintf("tpm:ak:%064x", n+1)),
		},
		Entries: []monitor.EntryRef{{Origin: "log.test", Index: uint64(n)}},
	}
}

func (b *bench) raise(t *testing.T, alerts ...monitor.Alert) {
	t.Helper()
	if _, err := b.AddAlerts(t.Context(), alerts); err != nil {
		t.Fatal(err)
	}
}

func (b *bench) list(t *testing.T, f monitor.AlertFilter) (out []*monitor.Alert) {
	t.Helper()
	for a, err := range b.Alerts(t.Context(), f) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, a)
	}
	return out
}

var secret = bytes.Repeat([]byte{7}, 32)

// A receiver checks and counts what a webhook posts. answer says how to answer the n-th request,
// from 0.
type receiver struct {
	t      *testing.T
	mu     sync.Mutex
	bodies map[string][]string // by webhook-id
	times  []int64
	n      int
	answer func(n int, id string, w http.ResponseWriter)
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		r.t.Error(err)
	}
	id, at := req.Header.Get("webhook-id"), req.Header.Get("webhook-timestamp")
	// The specification's own words: HMAC-SHA256 over id.timestamp.payload.
	mac := hmac.New(sha256.New, secret)
	fmt.Fprintf(mac, "%s.%s.%s", id, at, body)
	if want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)); !strings.Contains(" "+req.Header.Get("webhook-signature")+" ", " "+want+" ") {
		r.t.Errorf("signature %q: want %q", req.Header.Get("webhook-signature"), want)
	}
	seconds, err := strconv.ParseInt(at, 10, 64)
	if err != nil || req.Header.Get("Content-Type") != "application/json" || req.Method != http.MethodPost {
		r.t.Errorf("%s, timestamp %q, type %q", req.Method, at, req.Header.Get("Content-Type"))
	}
	r.mu.Lock()
	n := r.n
	r.n++
	r.bodies[id] = append(r.bodies[id], string(body))
	r.times = append(r.times, seconds)
	r.mu.Unlock()
	if r.answer != nil {
		r.answer(n, id, w)
	}
}

func newReceiver(t *testing.T, answer func(n int, id string, w http.ResponseWriter)) (*receiver, string) {
	t.Helper()
	r := &receiver{t: t, bodies: make(map[string][]string), answer: answer}
	srv := httptest.NewServer(r)
	t.Cleanup(srv.Close)
	return r, srv.URL + "/secret-path"
}

func (b *bench) webhook(t *testing.T, url string, transport http.RoundTripper) *notify.Webhook {
	t.Helper()
	w, err := notify.NewWebhook(url, [][]byte{bytes.Repeat([]byte{9}, 24), secret}, "poclog test", b.clock, transport)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestWebhookPostsEachAlertOnceSigned(t *testing.T) {
	b := newBench(t)
	r, url := newReceiver(t, nil)
	b.raise(t, alert(0), alert(1))
	if left, err := b.courier(b.webhook(t, url, nil)).Flush(t.Context()); left != 0 || err != nil {
		t.Fatal(left, err)
	}
	if left, err := b.courier(b.webhook(t, url, nil)).Flush(t.Context()); left != 0 || err != nil {
		t.Fatal(left, err)
	}
	if r.n != 2 || len(r.bodies) != 2 {
		t.Fatalf("%d requests for %d alerts", r.n, len(r.bodies))
	}
	for _, a := range b.list(t, monitor.AlertFilter{}) {
		var got struct {
			Type      string
			Timestamp time.Time
			Data      monitor.Alert
		}
		if err := json.Unmarshal([]byte(r.bodies[a.ID][0]), &got); err != nil || got.Type != "monitor.contradiction" || got.Timestamp != a.Time || got.Data.Seen != a.Seen {
			t.Errorf("%s: %v", r.bodies[a.ID][0], err)
		}
	}
}

// Whatever a server does, each alert arrives in the end, in order where the server as a whole
// failed, with one id and the time of the attempt.
func TestDeliveryOutlivesAFailingServer(t *testing.T) {
	hang := make(chan struct{})
	for name, c := range map[string]struct {
		answer func(n int, id string, w http.ResponseWriter)
		waits  []time.Duration
	}{
		"500 twice": {func(n int, _ string, w http.ResponseWriter) {
			if n < 2 {
				w.WriteHeader(500)
			}
		}, []time.Duration{5 * time.Second, 10 * time.Second}},
		"429 with Retry-After": {func(n int, _ string, w http.ResponseWriter) {
			if n == 0 {
				w.Header().Set("Retry-After", "90")
				w.WriteHeader(429)
			}
		}, []time.Duration{90 * time.Second}},
		"Retry-After beyond an hour": {func(n int, _ string, w http.ResponseWriter) {
			if n == 0 {
				w.Header().Set("Retry-After", "1000000")
				w.WriteHeader(503)
			}
		}, []time.Duration{time.Hour}},
		"gone, and back": {func(n int, _ string, w http.ResponseWriter) {
			if n == 0 {
				w.WriteHeader(410)
			}
		}, []time.Duration{5 * time.Second}},
		"a redirect": {func(n int, _ string, w http.ResponseWriter) {
			if n == 0 {
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(307)
			}
		}, []time.Duration{5 * time.Second}},
		"a broken connection": {func(n int, _ string, w http.ResponseWriter) {
			if n == 0 {
				panic(http.ErrAbortHandler)
			}
		}, []time.Duration{5 * time.Second}},
		"an endless answer": {func(n int, _ string, w http.ResponseWriter) {
			if n == 0 {
				_, _ = w.Write(bytes.Repeat([]byte("x"), 1<<20))
			}
		}, nil},
		"hangs": {func(n int, _ string, w http.ResponseWriter) {
			if n == 0 {
				<-hang
			}
		}, []time.Duration{5 * time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			r, url := newReceiver(t, c.answer)
			// Instead of the 20 seconds of a webhook, which a test need not wait.
			var transport http.RoundTripper
			if name == "hangs" {
				transport = impatient{}
				t.Cleanup(func() { close(hang) })
			}
			b.raise(t, alert(0), alert(1))
			if left, err := b.courier(b.webhook(t, url, transport)).Flush(t.Context()); left != 0 || err != nil {
				t.Fatal(left, err)
			}
			if len(r.bodies) != 2 || len(b.list(t, monitor.AlertFilter{Untaken: "webhook"})) != 0 {
				t.Errorf("%d alerts arrived", len(r.bodies))
			}
			if fmt.Sprint(b.waits) != fmt.Sprint(c.waits) {
				t.Errorf("waits %s: want %s", b.waits, c.waits)
			}
			if last := r.times[len(r.times)-1]; last != b.clock().Unix() {
				t.Errorf("the last attempt is of %d: want %d", last, b.clock().Unix())
			}
		})
	}
}

// impatient gives up a request after a moment.
type impatient struct{}

func (impatient) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(req.Context(), 200*time.Millisecond)
	defer cancel()
	resp, err := http.DefaultTransport.RoundTrip(req.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, err
}

// One alert that a server does not take must not keep the others.
func TestARefusedAlertDoesNotHoldUpOthers(t *testing.T) {
	b := newBench(t)
	bad := monitor.AlertID(alert(0).Rule, alert(0).Subject, alert(0).Entries)
	fixed := false
	r, url := newReceiver(t, func(_ int, id string, w http.ResponseWriter) {
		if id == bad && !fixed {
			w.WriteHeader(422)
		}
	})
	b.raise(t, alert(0), alert(1), alert(2))
	waited := 0
	courier := notify.NewCourier(b, b.webhook(t, url, nil), notify.Config{Clock: b.clock, Rand: func() float64 { return 1 }, Wait: func(ctx context.Context, d time.Duration) error {
		if waited++; waited == 3 {
			fixed = true
		}
		return b.wait(ctx, d)
	}})
	if left, err := courier.Flush(t.Context()); left != 0 || err != nil {
		t.Fatal(left, err)
	}
	if len(r.bodies) != 3 || len(r.bodies[bad]) < 4 {
		t.Errorf("%d alerts, the refused one %d times", len(r.bodies), len(r.bodies[bad]))
	}
	for id, bodies := range r.bodies {
		if id != bad && len(bodies) != 1 {
			t.Errorf("%s: %d times", id, len(bodies))
		}
	}
}

// dying takes alerts and dies before that is recorded.
type dying struct {
	*bench
	dead bool
}

func (d *dying) Taken(context.Context, string, string) error {
	d.dead = true
	return errors.New("killed")
}

func TestKilledCourierTellsAgain(t *testing.T) {
	b := newBench(t)
	r, url := newReceiver(t, nil)
	b.raise(t, alert(0))
	ctx, cancel := context.WithCancel(t.Context())
	d := &dying{bench: b}
	courier := notify.NewCourier(d, b.webhook(t, url, nil), notify.Config{Clock: b.clock, Wait: func(context.Context, time.Duration) error { cancel(); return ctx.Err() }})
	if left, err := courier.Flush(ctx); left != 1 || err == nil || !d.dead {
		t.Fatal(left, err)
	}
	b.open(t)
	if left, err := b.courier(b.webhook(t, url, nil)).Flush(t.Context()); left != 0 || err != nil {
		t.Fatal(left, err)
	}
	for id, bodies := range r.bodies {
		if len(bodies) != 2 || bodies[0] != bodies[1] {
			t.Errorf("%s: %q: want the same twice", id, bodies)
		}
	}
}

func TestErrorsRevealNeitherAddressNorSecret(t *testing.T) {
	b := newBench(t)
	_, url := newReceiver(t, func(_ int, _ string, w http.ResponseWriter) { w.WriteHeader(500) })
	b.raise(t, alert(0))
	var log bytes.Buffer
	for _, url := range []string{url, "http://127.0.0.1:1/secret-path"} {
		c := notify.NewCourier(b, b.webhook(t, url, nil), notify.Config{
			Clock: b.clock, Logger: slog.New(slog.NewTextHandler(&log, nil)), Wait: func(context.Context, time.Duration) error { return errors.New("enough") },
		})
		_, err := c.Flush(t.Context())
		fmt.Fprintln(&log, err)
	}
	if !strings.Contains(log.String(), "500") || strings.Contains(log.String(), "secret-path") {
		t.Errorf("%s", log.String())
	}
	for _, bad := range []string{"http://hooks.example/secret-path", "ftp://hooks.example/secret-path", "https:///secret-path", "http://127.0.0.1.evil.example/secret-path", "%zz/secret-path", ""} {
		if _, err := notify.NewWebhook(bad, [][]byte{secret}, "", b.clock, nil); err == nil || strings.Contains(err.Error(), "secret-path") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := notify.NewWebhook("https://hooks.example/x", nil, "", b.clock, nil); err == nil {
		t.Error("a webhook without secret")
	}
}

func TestSecretsAreTheirOwnersAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	good := "whsec_" + base64.StdEncoding.EncodeToString(secret) + "\n"
	write := func(text string, mode os.FileMode) {
		t.Helper()
		if err := errors.Join(os.RemoveAll(path), os.WriteFile(path, []byte(text), mode), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
	}
	write(good+good, 0o600)
	if got, err := notify.ReadSecrets(path); err != nil || len(got) != 2 || !bytes.Equal(got[0], secret) {
		t.Errorf("%x, %v", got, err)
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o644} {
		write(good, mode)
		if _, err := notify.ReadSecrets(path); err == nil || !strings.Contains(err.Error(), "0600") {
			t.Errorf("mode %#o: %v", mode, err)
		}
	}
	for _, bad := range []string{"", "secret", "whsec_", "whsec_" + base64.StdEncoding.EncodeToString(secret[:23]), "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 65)), strings.Repeat(good, 5)} {
		write(bad, 0o600)
		if _, err := notify.ReadSecrets(path); err == nil || strings.Contains(err.Error(), "BwcH") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestLinesAreWholeEvenAfterAKill(t *testing.T) {
	b := newBench(t)
	path := filepath.Join(b.dir, "alerts.jsonl")
	if err := os.WriteFile(path, []byte(`{"id":"begun`), 0o600); err != nil {
		t.Fatal(err)
	}
	silenced := alert(1)
	if _, err := notify.SilencesIn(b.dir).Add(notify.Silence{Subject: string(silenced.Subject), Reason: "ours", Added: now, Until: now.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	b.raise(t, alert(0), silenced)
	for range 2 {
		l, err := notify.OpenLines(path)
		if err != nil {
			t.Fatal(err)
		}
		if left, err := b.courier(l).Flush(t.Context()); left != 0 || err != nil {
			t.Fatal(left, err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	if len(lines) != 3 {
		t.Fatalf("%q", lines)
	}
	for i, want := range []string{"", "ours (silence"} {
		var a monitor.Alert
		if err := json.Unmarshal([]byte(lines[i+1]), &a); err != nil || !strings.Contains(a.Silenced, want) || (want == "") != (a.Silenced == "") {
			t.Errorf("%s: %v", lines[i+1], err)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}
