package log_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/internal/lab/endorser"
	"github.com/poclog/poclog/log"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/index"
	"github.com/poclog/poclog/verify/vouch/registry"
)

var statedChip = poclog.Identity("intel:tdx:ppid:" + strings.Repeat("1a", 16))

// withRegistrars is a log whose policy lists registrars.
func withRegistrars(t testing.TB, list ...*endorser.Registrar) string {
	t.Helper()
	p := newFab().policy()
	for _, r := range list {
		p.Registrars = append(p.Registrars, r.Policy())
	}
	return initWith(t, p)
}

// endorsing is an endorsement of a chip.
func endorsing(serial uint32) poclog.Statement {
	from := time.Now().Truncate(time.Second).UTC()
	return poclog.Statement{
		Type: poclog.Endorse, Origin: origin, Subject: statedChip, Serial: serial, Level: 1, Method: "visit", Label: "rack 7", From: from, Until: from.AddDate(1, 0, 0),
	}
}

func stating(t testing.TB, l *testLog, v *poclog.StatementEnvelope, documents ...[]byte) *client.Submitted {
	t.Helper()
	got, err := l.client.Register(t.Context(), &poclog.StatementSubmission{Envelope: *v, Documents: documents})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// refusedAs returns the check by which a log refuses a statement, and what it says.
func refusedAs(t testing.TB, l *testLog, v *poclog.StatementEnvelope, documents ...[]byte) (check verify.Check, says string) {
	t.Helper()
	_, err := l.client.Register(t.Context(), &poclog.StatementSubmission{Envelope: *v, Documents: documents})
	var p *client.Problem
	if !errors.As(err, &p) || p.Status != http.StatusUnprocessableEntity {
		t.Fatalf("%v: want a refusal", err)
	}
	return verify.Check(p.Check), p.Detail
}

func TestStatementsAreAdmittedInTheirOrder(t *testing.T) {
	a := endorser.NewRegistrar("log", "Alliance", 12)
	l := serve(t, withRegistrars(t, a), logConfig())
	first := a.State(endorsing(1), 8)
	got := stating(t, l, first)
	if e := got.Verdict.Statement; !got.New || e == nil || len(e.Signers) != 8 || got.Verdict.Kind != "statement" {
		t.Fatalf("%+v", got.Verdict)
	}
	if again := stating(t, l, first); again.New || again.Verdict.Index != got.Verdict.Index {
		t.Errorf("sent again: new %v, entry %d", again.New, again.Verdict.Index)
	}
	nine := a.State(endorsing(1), 9)
	nine.Statement.From = first.Statement.From
	if again := stating(t, l, a.State(first.Statement, 9)); again.New || again.Verdict.Index != got.Verdict.Index {
		t.Errorf("with more signatures: new %v, entry %d", again.New, again.Verdict.Index)
	}
	revoke := poclog.Statement{Type: poclog.Revoke, Origin: origin, Subject: statedChip, Serial: 2, Since: time.Now().Truncate(time.Second).UTC(), Reason: "mistake"}
	stating(t, l, a.State(revoke, 8))
	stranger := endorser.NewRegistrar("log", "Stranger", 3)
	elsewhere, other := endorsing(3), endorsing(1)
	elsewhere.Origin, other.Label = "log.other/2026", "another"
	again := revoke
	again.Serial = 3
	altered := a.State(endorsing(3), 8)
	altered.Statement.Level = 3
	twice := a.State(endorsing(3), 8)
	twice.Signatures[7] = twice.Signatures[0]
	for name, c := range map[string]struct {
		v     *poclog.StatementEnvelope
		check verify.Check
		says  string
	}{
		"a registrar that is not listed":  {stranger.State(endorsing(1), 2), registry.CheckRegistrar, `"Stranger" is not listed`},
		"for another log":                 {a.State(elsewhere, 8), registry.CheckOrigin, `is for log "log.other/2026"`},
		"too few":                         {a.State(endorsing(3), 5), registry.CheckSignature, "3 signatures are missing, of 8"},
		"a serial that was used":          {a.State(other, 8), registry.CheckSerial, "last is 2, want 3 or more"},
		"a revocation of what is revoked": {a.State(again, 8), registry.CheckSubject, "there is none in force"},
		"altered after it was signed":     {altered, registry.CheckSignature, "8 of 8 signatures are wrong"},
		"one member twice":                {twice, registry.CheckSignature, "a member counts once"},
	} {
		if check, says := refusedAs(t, l, c.v); check != c.check || !strings.Contains(says, c.says) {
			t.Errorf("%s: %s: %s: want %s: %s", name, check, says, c.check, c.says)
		}
	}
	if r := l.fsck(t); r.Statements != 2 || r.Wrong != 0 {
		t.Errorf("fsck: %+v", r)
	}
}

// TestStatementsOutliveARestart: serials are remembered, and so is what was sent.
func TestStatementsOutliveARestart(t *testing.T) {
	a := endorser.NewRegistrar("log", "Alliance", 3)
	dir := withRegistrars(t, a)
	first := a.State(endorsing(1), 2)
	commit := poclog.Statement{Type: poclog.Commit, Origin: origin, Serial: 4, Root: poclog.Sum(nil), Count: 7, Level: 1, From: first.Statement.From, Until: first.Statement.Until}
	t.Run("before", func(t *testing.T) {
		l := serve(t, dir, logConfig())
		stating(t, l, first)
		stating(t, l, a.State(commit, 2))
	})
	l := serve(t, dir, logConfig())
	var got *client.Submitted
	for deadline := time.Now().Add(time.Minute); got == nil; time.Sleep(50 * time.Millisecond) {
		var err error
		if got, err = l.client.Register(t.Context(), &poclog.StatementSubmission{Envelope: *first}); err != nil && time.Now().After(deadline) {
			t.Fatal(err) // the index is being read until then
		}
	}
	if got.New {
		t.Error("what was sent before the restart is new")
	}
	other := endorsing(1)
	other.Label = "another"
	if check, _ := refusedAs(t, l, a.State(other, 2)); check != registry.CheckSerial {
		t.Errorf("a used serial: %s", check)
	}
	commit.Count = 8
	if check, _ := refusedAs(t, l, a.State(commit, 2)); check != registry.CheckSerial {
		t.Errorf("a commitment's used serial: %s", check)
	}
	commit.Serial = 5
	stating(t, l, a.State(commit, 2))
	stating(t, l, a.State(endorsing(2), 2))
	if r := l.fsck(t); r.Statements != 4 || r.Wrong != 0 {
		t.Errorf("fsck: %+v", r)
	}
}

// TestHistoriesAreReadFromEntriesFarApart: after a restart, of two registrars on one machine, with
// more between their statements than is read at once. Each registrar has serials of its own.
func TestHistoriesAreReadFromEntriesFarApart(t *testing.T) {
	a, b := endorser.NewRegistrar("log", "Alliance", 3), endorser.NewRegistrar("log", "House", 1)
	dir := withRegistrars(t, a, b)
	first, second, house := a.State(endorsing(7), 2), a.State(endorsing(8), 2), b.State(endorsing(1), 1)
	t.Run("before", func(t *testing.T) {
		l := serve(t, dir, oftenIndexed())
		stating(t, l, first)
		stating(t, l, house)
		config := poclog.Config{Policy: poclog.BlobOf([]byte("policy")), Software: "test", Time: time.Now()}
		leaf, err := config.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if err := l.svc.Fill(t.Context(), slices.Repeat([][]byte{leaf}, 300)); err != nil {
			t.Fatal(err)
		}
		stating(t, l, second)
	})
	l := serve(t, dir, oftenIndexed())
	for !l.svc.Derived(t.Context()) {
		time.Sleep(10 * time.Millisecond)
	}
	for _, v := range []*poclog.StatementEnvelope{first, second, house} {
		if got := stating(t, l, v); got.New {
			t.Errorf("%s %d, sent again, is new", v.Statement.Registrar, v.Statement.Serial)
		}
	}
	other := endorsing(8)
	other.Label = "another"
	if check, _ := refusedAs(t, l, a.State(other, 2)); check != registry.CheckSerial {
		t.Errorf("a used serial: %s", check)
	}
	stating(t, l, b.State(endorsing(2), 1))
}

// oftenIndexed is of a log that derives what it has at short intervals.
func oftenIndexed() log.Config {
	c := logConfig()
	c.IndexInterval = indexEvery
	return c
}

// TestFewLinesAreRemembered: what strangers to each other state of many machines takes no more
// memory, and what is forgotten is read again.
func TestFewLinesAreRemembered(t *testing.T) {
	defer log.SetMaxLines(2)()
	a := endorser.NewRegistrar("log", "Alliance", 1)
	l := serve(t, withRegistrars(t, a), oftenIndexed())
	var all []*poclog.StatementEnvelope
	for i := range 5 {
		s := endorsing(1)
		s.Subject = poclog.Identity(fmt.Sprintf("intel:tdx:ppid:%032x", i+1))
		all = append(all, a.State(s, 1))
		stating(t, l, all[i])
		for !l.svc.Derived(t.Context()) {
			time.Sleep(10 * time.Millisecond)
		}
		if want := []int{1, 2, 1, 2, 1}[i]; l.svc.Lines() != want {
			t.Errorf("after %d machines %d are remembered: want %d", i+1, l.svc.Lines(), want)
		}
	}
	for i, v := range all {
		if got := stating(t, l, v); got.New {
			t.Errorf("the statement of machine %d, sent again, is new", i)
		}
	}
}

// TestOneOfManyAtOnceGetsASerial: whoever comes at the same time, the log has each serial once.
func TestOneOfManyAtOnceGetsASerial(t *testing.T) {
	a := endorser.NewRegistrar("log", "Alliance", 3)
	l := serve(t, withRegistrars(t, a), logConfig())
	var group sync.WaitGroup
	var mu sync.Mutex
	admitted := 0
	for i := range 8 {
		s := endorsing(1)
		s.Label = strings.Repeat("x", i+1)
		v := a.State(s, 2)
		group.Go(func() {
			_, err := l.client.Register(t.Context(), &poclog.StatementSubmission{Envelope: *v})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				admitted++
			}
		})
	}
	group.Wait()
	if r := l.fsck(t); admitted != 1 || r.Statements != 1 || r.Wrong != 0 {
		t.Errorf("%d admitted; fsck: %+v", admitted, r)
	}
}

func TestDocumentsAreKeptAndWithheldLikeEvidence(t *testing.T) {
	a := endorser.NewRegistrar("log", "Alliance", 3)
	l := serve(t, withRegistrars(t, a), logConfig())
	page := []byte("<html><script>alert(1)</script>")
	s := endorsing(1)
	s.Documents = []poclog.Document{{SHA256: poclog.Sum(page), Size: uint32(len(page)), Type: "text/html"}}
	v := a.State(s, 2)
	if check, says := refusedAs(t, l, v); check != registry.CheckDocument || !strings.Contains(says, "send it with the statement") {
		t.Errorf("without its document: %s: %s", check, says)
	}
	stating(t, l, v, page)
	url := l.url + "/v1/evidence/sha256/" + poclog.Sum(page).String()
	resp, body := get(t, url)
	if h := resp.Header; resp.StatusCode != http.StatusOK || body != string(page) || h.Get("Content-Type") != "application/octet-stream" || h.Get("X-Content-Type-Options") != "nosniff" ||
		!strings.HasPrefix(h.Get("Content-Disposition"), "attachment") {
		t.Errorf("%d %s %v: want a download", resp.StatusCode, body, h)
	}
	s.Serial = 2
	stating(t, l, a.State(s, 2)) // the log has the document
	lose(t, l.dir, poclog.Sum(page))
	if r := l.fsck(t); r.Wrong != 2 || !strings.Contains(r.Findings[0].Detail, "document "+poclog.Sum(page).String()) {
		t.Errorf("lost: fsck %+v", r)
	}
	if got := stating(t, l, v, page); got.New {
		t.Error("sent again: new")
	}
	if r := l.fsck(t); r.Wrong != 0 {
		t.Errorf("restored: fsck %+v", r)
	}
	if err := os.WriteFile(filepath.Join(l.dir, "withheld.txt"), []byte(poclog.Sum(page).String()+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if resp, body := get(t, url); resp.StatusCode != http.StatusUnavailableForLegalReasons || strings.Contains(body, "script") {
		t.Errorf("withheld: %d %s", resp.StatusCode, body)
	}
	if _, err := log.Erase(t.Context(), l.dir, ""); err == nil || !strings.Contains(err.Error(), "stop it first") {
		t.Errorf("erased while the log is served: %v", err)
	}
	if err := l.svc.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n, err := log.Erase(t.Context(), l.dir, ""); n != 1 || err != nil { // a copy was lost before
		t.Errorf("erased: %d, %v", n, err)
	}
	l = serve(t, l.dir, logConfig())
	if got := stating(t, l, v, page); got.New {
		t.Error("sent again: new")
	}
	if resp, _ := get(t, url); resp.StatusCode != http.StatusUnavailableForLegalReasons {
		t.Errorf("erased: %d", resp.StatusCode)
	}
	if _, err := dirSource(t, l.dir).Evidence(t.Context(), poclog.BlobOf(page)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what was erased is back: %v", err)
	}
}

func TestEraseWantsAList(t *testing.T) {
	l, _ := stopped(t, 1)
	if _, err := log.Erase(t.Context(), l.dir, ""); err == nil || !strings.Contains(err.Error(), "lists nothing") {
		t.Errorf("%v", err)
	}
	if _, err := log.Erase(t.Context(), filepath.Join(l.dir, "none"), ""); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder that is not there: %v", err)
	}
}

func TestStatementsAreInTheIndex(t *testing.T) {
	a := endorser.NewRegistrar("log", "Alliance", 3)
	cfg := logConfig()
	cfg.IndexInterval = 200 * time.Millisecond
	l := serve(t, withRegistrars(t, a), cfg)
	got := stating(t, l, a.State(endorsing(1), 2))
	answer := ask(t, l, []string{index.RegistrarName("Alliance"), index.Statements + string(statedChip)}, got.Verdict.Index+1)
	for _, n := range answer.Names {
		if len(n.Numbers) != 1 || n.Numbers[0] != got.Verdict.Index {
			t.Errorf("%+v", n)
		}
	}
}

func TestStatementsOfARegistrarHaveABudget(t *testing.T) {
	a := endorser.NewRegistrar("log", "Alliance", 1)
	l := serve(t, withRegistrars(t, a), log.Config{Statements: 4}) // two from one address
	for serial := range uint32(2) {
		stating(t, l, a.State(endorsing(serial+1), 1))
	}
	unlimited := logConfig()
	unlimited.Statements = 4
	free := serve(t, withRegistrars(t, a), unlimited)
	for serial := range uint32(5) {
		stating(t, free, a.State(endorsing(serial+1), 1))
	}
	_, err := l.client.Register(t.Context(), &poclog.StatementSubmission{Envelope: *a.State(endorsing(3), 1)})
	var p *client.Problem
	if !errors.As(err, &p) || p.Status != http.StatusTooManyRequests || !strings.Contains(p.Detail, `statements of "Alliance"`) {
		t.Errorf("%v: want 429", err)
	}
}

func TestOnlyEnvelopesOverStatementsAreRead(t *testing.T) {
	l := serve(t, withRegistrars(t), logConfig())
	if status, _ := postTo(t, l.url+"/v1/statements", "application/json", "{}"); status != http.StatusUnsupportedMediaType {
		t.Errorf("another media type: %d", status)
	}
	if status, _ := postTo(t, l.url+"/v1/statements", poclog.EnvelopeType+"; broken", "{}"); status != http.StatusUnsupportedMediaType {
		t.Errorf("a media type with a broken parameter: %d", status)
	}
	if status, check := postTo(t, l.url+"/v1/statements", poclog.EnvelopeType, "{}"); status != http.StatusBadRequest || check != string(verify.Format) {
		t.Errorf("no envelope: %d by %q", status, check)
	}
	if status, _ := postTo(t, l.url+"/v1/statements", poclog.EnvelopeType, strings.Repeat(" ", poclog.MaxStatementEnvelope+1)); status != http.StatusRequestEntityTooLarge {
		t.Errorf("over the limit: %d", status)
	}
}

// BenchmarkStatements admits statements of one signature about different machines, 64 at once: each
// is answered once a checkpoint covers it.
func BenchmarkStatements(b *testing.B) {
	a := endorser.NewRegistrar("log", "Alliance", 1)
	l := serve(b, withRegistrars(b, a), logConfig())
	var number atomic.Uint32
	b.SetParallelism(32)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			s := endorsing(1)
			s.Subject = poclog.Identity(fmt.Sprintf("intel:tdx:ppid:%032x", number.Add(1)))
			if _, err := l.client.Register(b.Context(), &poclog.StatementSubmission{Envelope: *a.State(s, 1)}); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "statements/s")
}
