package log_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/httpd"
	"github.com/poclog/poclog/internal/realdata"
	"github.com/poclog/poclog/log"
)

func get(t *testing.T, url string) (*http.Response, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

func TestWhatCachesMayKeep(t *testing.T) {
	f := newFab()
	l := serve(t, f.initLog(t), logConfig())
	sub := f.submission(t, 1)
	submit(t, l, sub)
	// Left over from a batch that a crash cut off: another may come to stand there.
	beyond := filepath.Join(l.dir, "tiles", "tile", "0", "000.p", "200")
	if err := os.WriteFile(beyond, make([]byte, 200*32), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path, want string
		status     int
	}{
		{"/checkpoint", "no-cache", 200},
		{"/tile/0/000.p/2", "public, max-age=31536000, immutable", 200},
		{"/tile/entries/000.p/2", "public, max-age=31536000, immutable", 200},
		{"/tile/0/000.p/200", "no-store", 404},
		{"/tile/0/000", "no-store", 404},
		{"/v1/evidence/sha256/" + poclog.Sum(sub.Bundle).String(), "public, max-age=31536000, immutable", 200},
		{"/v1/evidence/sha256/" + strings.Repeat("1", 64), "no-store", 404},
		{"/v1/policy", "no-cache", 200},
		{"/health", "no-store", 200},
	} {
		resp, _ := get(t, l.url+c.path)
		if resp.StatusCode != c.status || resp.Header.Get("Cache-Control") != c.want {
			t.Errorf("%s: %d %q: want %d %q", c.path, resp.StatusCode, resp.Header.Get("Cache-Control"), c.status, c.want)
		}
	}
}

func TestWithheldEvidenceIsAnswered451AndItsEntryStays(t *testing.T) {
	f := newFab()
	l := serve(t, f.initLog(t), logConfig())
	sub := f.submission(t, 1)
	submit(t, l, sub)
	url := l.url + "/v1/evidence/sha256/" + poclog.Sum(sub.Bundle).String()
	list := filepath.Join(l.dir, "withheld.txt")
	write := func(text string) {
		if err := os.WriteFile(list, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("# by order of a court\n" + poclog.Sum(sub.Bundle).String() + "\n")
	if resp, body := get(t, url); resp.StatusCode != http.StatusUnavailableForLegalReasons || strings.Contains(body, "tdx-quote") {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if resp, _ := get(t, l.url+"/tile/entries/000.p/2"); resp.StatusCode != http.StatusOK {
		t.Errorf("the entry: %d", resp.StatusCode)
	}
	closed := func(name string) {
		t.Helper()
		if resp, body := get(t, url); resp.StatusCode != http.StatusInternalServerError || strings.Contains(body, "tdx-quote") {
			t.Errorf("%s: %d %.200s: want nothing published", name, resp.StatusCode, body)
		}
		if resp, body := get(t, l.url+"/health"); resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(body, "what is withheld") {
			t.Errorf("%s: health %d %s", name, resp.StatusCode, body)
		}
	}
	write("not a digest\n")
	closed("with a line that is no digest")
	write("# " + strings.Repeat("a long comment ", 10_000) + "\n" + poclog.Sum(sub.Bundle).String() + "\n")
	if resp, body := get(t, url); resp.StatusCode != http.StatusUnavailableForLegalReasons {
		t.Errorf("after a long comment: %d %.200s", resp.StatusCode, body)
	}
	write(strings.Repeat("0", 100_000) + "\n" + poclog.Sum(sub.Bundle).String() + "\n")
	closed("with a line of 100 kB")
	for name, harm := range map[string]func() error{
		"with a folder":          func() error { return os.Mkdir(list, 0o755) },
		"with a link to nothing": func() error { return os.Symlink(list+".missing", list) },
	} {
		if err := errors.Join(os.Remove(list), harm()); err != nil {
			t.Fatal(err)
		}
		closed(name)
	}
	if err := os.Remove(list); err != nil {
		t.Fatal(err)
	}
	write("")
	if resp, body := get(t, url); resp.StatusCode != http.StatusOK || body != string(sub.Bundle) {
		t.Errorf("no longer withheld: %d", resp.StatusCode)
	}
}

func TestMetricsCountWhatHappened(t *testing.T) {
	f := newFab()
	l := serve(t, f.initLog(t), logConfig())
	submit(t, l, f.submission(t, 1))
	submit(t, l, f.submission(t, 1))
	bad := f.submission(t, 2)
	bad.Bundle[len(bad.Bundle)/2] ^= 1
	problemOf(t, l, bad)
	_, text := get(t, l.url+"/metrics")
	for _, want := range []string{
		"poclog_submissions_total{result=\"new\"} 1\n", "poclog_submissions_total{result=\"duplicate\"} 1\n", "poclog_appraisal_seconds_count 3\n",
		"poclog_tree_size 2\n", "poclog_healthy 1\n", "poclog_refusals_total{check=",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
}

func TestBudgetOfAChipHoldsForNewEntriesOnly(t *testing.T) {
	f := newFab()
	l := serve(t, f.initLog(t), log.Config{Budget: 4, Limits: httpd.Config{Rate: 1000}}) // two at once from one address
	for i := range 2 {
		submit(t, l, f.submission(t, uint64(i)))
	}
	p := problemOf(t, l, f.submission(t, 2))
	if p.Status != http.StatusTooManyRequests || p.RetryAfter == 0 || !strings.Contains(p.Detail, "intel:tdx:p") {
		t.Errorf("%+v: want 429 that names the chip", p)
	}
	if got := submit(t, l, f.submission(t, 0)); got.New {
		t.Error("a duplicate is new")
	}
}

func TestDiskIsSharedByAddresses(t *testing.T) {
	f := newFab()
	size := int64(len(f.submission(t, 0).Bundle))
	l := serve(t, f.initLog(t), log.Config{Evidence: 4 * size, Limits: httpd.Config{Rate: 1000}}) // one address may fill half of it
	for i := range 2 {
		submit(t, l, f.submission(t, uint64(i)))
	}
	if p := problemOf(t, l, f.submission(t, 2)); p.Status != http.StatusTooManyRequests || p.RetryAfter == 0 || !strings.Contains(p.Detail, "bytes of evidence") {
		t.Errorf("%+v: want 429", p)
	}
	if got := submit(t, l, f.submission(t, 0)); got.New {
		t.Error("a duplicate is new")
	}
	if _, text := get(t, l.url+"/metrics"); !strings.Contains(text, `poclog_limited_total{limit="evidence"} 1`) {
		t.Error("not in the metrics")
	}
}

func TestLostEvidenceIsNamedAndRestoredByTheSameBundle(t *testing.T) {
	f := newFab()
	l := serve(t, f.initLog(t), logConfig())
	sub := f.submission(t, 1)
	submit(t, l, sub)
	digest := poclog.Sum(sub.Bundle)
	url := l.url + "/v1/evidence/sha256/" + poclog.Sum(sub.Bundle).String()
	for name, c := range map[string]struct {
		harm   func()
		status int
	}{
		"lost":             {func() { lose(t, l.dir, digest) }, http.StatusNotFound},
		"damaged":          {func() { harm(t, l.dir, digest, "x") }, http.StatusInternalServerError},
		"half of it there": {func() { harm(t, l.dir, digest, string(sub.Bundle[:100])) }, http.StatusInternalServerError},
	} {
		c.harm()
		if resp, _ := get(t, url); resp.StatusCode != c.status {
			t.Errorf("%s: %d: want %d", name, resp.StatusCode, c.status)
		}
		if resp, body := get(t, l.url+"/health"); resp.StatusCode != 200 || !strings.Contains(body, `"status":"degraded"`) || !strings.Contains(body, poclog.Sum(sub.Bundle).String()) {
			t.Errorf("%s: health %d %s", name, resp.StatusCode, body)
		}
		if _, text := get(t, l.url+"/metrics"); !strings.Contains(text, "poclog_lost_files 1\n") {
			t.Errorf("%s: not in the metrics", name)
		}
		if r := l.fsck(t); len(r.Findings) != 1 || !strings.Contains(r.Findings[0].Detail, poclog.Sum(sub.Bundle).String()) {
			t.Errorf("%s: fsck %+v", name, r.Findings)
		}
		if got := submit(t, l, sub); got.New {
			t.Errorf("%s: the same bundle is new", name)
		}
		if resp, body := get(t, url); resp.StatusCode != 200 || body != string(sub.Bundle) {
			t.Errorf("%s, sent again: %d", name, resp.StatusCode)
		}
		if _, body := get(t, l.url+"/health"); !strings.Contains(body, `"status":"ok"`) {
			t.Errorf("%s, sent again: health %s", name, body)
		}
	}
	if r := l.fsck(t); len(r.Findings) > 0 {
		t.Errorf("fsck: %+v", r.Findings)
	}
}

func TestEvidenceThatWasLostWhileNobodyServedIsNamed(t *testing.T) {
	l, subs := stopped(t, 2)
	lose(t, l.dir, poclog.Sum(subs[1].Bundle))
	l = serve(t, l.dir, logConfig())
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		_, body := get(t, l.url+"/health")
		if strings.Contains(body, "bundle "+poclog.Sum(subs[1].Bundle).String()) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("health: %s", body)
		}
	}
}

// Lengths on which go-tdx-guest panics, and others like them.
func TestCraftedQuoteLengthsAreRefused(t *testing.T) {
	l := serve(t, initLog(t), log.Config{UnsafeUnlimited: true})
	const sizeV4, authV4, sizeV5 = 632, 1218, 50
	craft := func(quote []byte, at int, value []byte) []byte {
		q := slices.Clone(quote)
		copy(q[at:], value)
		return q
	}
	var quotes [][]byte
	for _, n := range []uint32{0, 1, 63, 64, 128, 129, 130, 1 << 31, 1<<32 - 1} {
		quotes = append(quotes, craft(realdata.Quotes()[0], sizeV4, binary.LittleEndian.AppendUint32(nil, n)))
		quotes = append(quotes, craft(realdata.Quotes()[1], sizeV5, binary.LittleEndian.AppendUint32(nil, n)))
	}
	quotes = append(quotes, craft(realdata.Quotes()[0], authV4, []byte{0xff, 0xff}), realdata.Quotes()[0][:48], realdata.Quotes()[0][:1300], []byte{4, 0})
	for i, q := range quotes {
		b := new(poclog.Bundle)
		b.Set(poclog.ItemTDXQuote, q)
		file, err := b.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		refused(t, l, fmt.Sprintf("quote %d", i), poclog.BundleType, file)
	}
	if _, err := l.client.Submit(t.Context(), quoteSubmission(t)); err != nil {
		t.Errorf("after bad input: %v", err)
	}
}

// Garbage in any item, beside a good quote.
func TestGarbageInAnyItemIsRefused(t *testing.T) {
	l := serve(t, initLog(t), log.Config{UnsafeUnlimited: true})
	garbage := [][]byte{{0}, bytes.Repeat([]byte{0xff}, 5000), bytes.Repeat([]byte("["), 50_000), []byte("HCLA"), bytes.Repeat([]byte{0x30, 0x82, 0xff, 0xff}, 64)}
	for _, item := range poclog.Items() {
		for i, g := range garbage {
			for _, whole := range []bool{false, true} {
				b := new(poclog.Bundle)
				b.Set(poclog.ItemTDXQuote, realdata.Quotes()[0])
				for _, other := range poclog.Items() {
					if whole && other != poclog.ItemTDXQuote && other != poclog.ItemSNPReport && other != poclog.ItemHCLReport {
						b.Set(other, g)
					}
				}
				b.Set(item, g)
				file, err := b.Marshal()
				if err != nil {
					t.Fatal(err)
				}
				refused(t, l, fmt.Sprintf("item %s, garbage %d, all %v", item, i, whole), poclog.BundleType, file)
			}
		}
	}
	if _, err := l.client.Submit(t.Context(), quoteSubmission(t)); err != nil {
		t.Errorf("after bad input: %v", err)
	}
}

// refused posts a body and wants a 4xx and one line.
func refused(t *testing.T, l *testLog, name, kind string, body []byte) {
	t.Helper()
	resp, err := http.Post(l.url+"/v1/proofs", kind, bytes.NewReader(body))
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode < 400 || resp.StatusCode > 499 || resp.Header.Get("Content-Type") != "application/problem+json" ||
		bytes.Count(b, []byte("\n")) != 1 || len(b) > 1000 || !bytes.Contains(b, []byte(`"check":"`)) {
		t.Errorf("%s: %d %s: want 4xx, one line and a check", name, resp.StatusCode, b)
	}
}
