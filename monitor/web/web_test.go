package web_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/amd"
	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/internal/openapi"
	"github.com/poclog/poclog/internal/openapi/openapitest"
	"github.com/poclog/poclog/internal/testlog"
	"github.com/poclog/poclog/monitor"
	"github.com/poclog/poclog/monitor/query"
	"github.com/poclog/poclog/monitor/query/querytest"
	"github.com/poclog/poclog/monitor/web"
	"github.com/poclog/poclog/verify/rule"
	"github.com/poclog/poclog/verify/tdx"
)

const origin = querytest.Origin

// A site is a monitor's folder whose records are given, served over HTTP.
type site struct {
	*monitor.Monitor
	t       *testing.T
	dir     string
	url     string
	mu      sync.Mutex // what is served is set while it is held, and each request takes it once
	records []*monitor.Record
	speaks  map[*monitor.Record]poclog.Digest // for which user data
	stated  []*monitor.Stated
	looked  time.Time
	begun   chan struct{} // if set, records say that they are read,
	release chan struct{} // and wait
	scanned chan struct{} // if set, records say that they were read
}

func newSite(t *testing.T, change func(*web.Config)) *site {
	t.Helper()
	s := &site{t: t, dir: filepath.Join(t.TempDir(), "monitor"), looked: querytest.Start}
	if err := monitor.Init(s.dir); err != nil {
		t.Fatal(err)
	}
	var err error
	if s.Monitor, err = monitor.Open(s.dir, monitor.Config{Clock: func() time.Time { return querytest.Start }}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if _, err := s.AddLog(t.Context(), "http://log.test", "log "+testlog.LogKey(origin).VKey+"\nquorum none\n"); err != nil {
		t.Fatal(err)
	}
	cfg := web.Config{Dir: s.dir, Private: []string{"watched"}, Sink: "webhook", Clock: func() time.Time { return querytest.Start.Add(time.Minute) }}
	if change != nil {
		change(&cfg)
	}
	h := web.NewServer(s, cfg).Handler()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.settled()
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	s.url = srv.URL
	return s
}

// settled has a request see all that was set before it.
func (s *site) settled() {
	s.mu.Lock()
	defer s.mu.Unlock()
}

func (s *site) Logs(ctx context.Context) ([]monitor.LogInfo, error) {
	logs, err := s.Monitor.Logs(ctx)
	for i := range logs {
		logs[i].Next, logs[i].Size, logs[i].Looked = uint64(len(s.records)), uint64(len(s.records)), s.looked
	}
	return logs, err
}

func (s *site) Records(_ context.Context, f monitor.Filter) iter.Seq2[*monitor.Record, error] {
	if s.begun != nil {
		s.begun <- struct{}{}
		<-s.release
	}
	return s.telling(func(yield func(*monitor.Record, error) bool) {
		for r := range querytest.Of(s.records...) {
			named := f.Identity == "" || slices.Contains(query.IdentitiesOf(r), f.Identity)
			if f.Origin != "" && f.Origin != r.Origin || f.To > 0 && (r.Index < f.From || r.Index >= f.To) || f.Kind != 0 && f.Kind != r.Kind {
				continue
			}
			if f.UserData != (poclog.Digest{}) && !s.speak(r, f.UserData) {
				continue
			}
			if named && (f.Realm == "" || r.Realm == f.Realm) && !yield(r, nil) {
				return
			}
		}
	})
}

// speak reports whether a record speaks for user data.
func (s *site) speak(r *monitor.Record, digest poclog.Digest) bool {
	for of, d := range s.speaks {
		if of.Origin == r.Origin && of.Index == r.Index {
			return d == digest
		}
	}
	return false
}

// get asks, and decodes the answer into v.
func (s *site) get(path string, status int, v any) http.Header {
	s.t.Helper()
	req, err := http.NewRequest(http.MethodGet, s.url+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.do(req, status, v)
}

func (s *site) do(req *http.Request, status int, v any) http.Header {
	s.t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != status {
		s.t.Fatalf("%s %s: %d %s, %v: want %d", req.Method, req.URL.Path, resp.StatusCode, body, err, status)
	}
	if err := document(s.t).Check(req, resp.StatusCode, resp.Header, body); err != nil {
		s.t.Errorf("%s %s: %d: %v", req.Method, req.URL.Path, resp.StatusCode, err)
	}
	if status >= 400 && status != 503 && resp.Header.Get("Content-Type") != "application/problem+json" {
		s.t.Errorf("%s: type %s", req.URL.Path, resp.Header.Get("Content-Type"))
	}
	if v != nil {
		if err := json.Unmarshal(body, v); err != nil {
			s.t.Fatalf("%s: %v", body, err)
		}
	}
	return resp.Header
}

// document is the service's, to which every answer in these tests is held.
func document(t *testing.T) *openapitest.Checker { return openapitest.New(t, openapi.Monitor) }

func (s *site) raise(alerts ...monitor.Alert) {
	s.t.Helper()
	if _, err := s.AddAlerts(s.t.Context(), alerts); err != nil {
		s.t.Fatal(err)
	}
}

// problemDoc is what clients read of a problem document.
type problemDoc struct {
	Type, Detail, Error, Check string
	Alerts                     []string
}

func TestIdentitiesAreAnsweredWithWhatIsSaidOfThem(t *testing.T) {
	s := newSite(t, nil)
	for i := range 5 {
		s.records = append(s.records, querytest.Proof(1, 1, float64(i), nil))
	}
	s.records = append(s.records, querytest.Proof(2, 2, 1, nil))
	s.raise(monitor.Alert{Finding: rule.Finding{Rule: "chip-in-two-places", Severity: "contradiction", Subject: querytest.PPID(1)}},
		monitor.Alert{Finding: rule.Finding{Rule: "ak-on-two-chips", Severity: "contradiction", Subject: "tpm:ak:x", Affected: []poclog.Identity{querytest.PPID(1)}}},
		monitor.Alert{Finding: rule.Finding{Rule: "watched", Severity: "alert", Subject: querytest.PPID(1)}},
		monitor.Alert{Finding: rule.Finding{Rule: "other", Severity: "alert", Subject: querytest.PPID(2)}})
	var a web.IdentityAnswer
	h := s.get("/v1/identities/"+string(querytest.PPID(1))+"?limit=2", 200, &a)
	if a.V != 1 || a.Total != 5 || len(a.Statements) != 2 || a.Statements[1].Index != 4 || len(a.Alerts) != 2 || a.Logs[0].Next != 6 {
		t.Errorf("%+v", a)
	}
	if h.Get("Cache-Control") != "no-cache" || h.Get("Content-Type") != "application/json" || h.Get("ETag") == "" {
		t.Errorf("%v", h)
	}
	again, err := http.NewRequest(http.MethodGet, s.url+"/v1/identities/"+string(querytest.PPID(1))+"?limit=2", nil)
	if err != nil {
		t.Fatal(err)
	}
	again.Header.Set("If-None-Match", `"x", `+h.Get("ETag"))
	s.do(again, 304, nil)
	s.records = append(s.records, querytest.Proof(1, 1, 9, nil))
	s.do(again, 200, nil)
	s.raise(monitor.Alert{Finding: rule.Finding{Rule: "third", Severity: "alert", Subject: querytest.PPID(1)}})
	s.do(again, 200, nil)
	s.get("/v1/identities/"+string(querytest.PPID(99)), 200, &a)
	if a.Total != 0 || a.Statements == nil || a.Alerts == nil {
		t.Errorf("of what nobody knows: %+v", a)
	}
	for _, bad := range []string{"/v1/identities/x", "/v1/identities/" + string(querytest.PPID(1)) + "?limit=0", "/v1/identities/" + string(querytest.PPID(1)) + "?limit=1001"} {
		s.get(bad, 400, nil)
	}
	var p problemDoc
	if s.get("/v1/nothing", 404, &p); p.Error == "" || p.Error != p.Detail {
		t.Errorf("%+v: want the detail as error, too", p)
	}
}

func TestScansAreFew(t *testing.T) {
	s := newSite(t, nil)
	s.begun, s.release = make(chan struct{}), make(chan struct{})
	done := make(chan int)
	for range 2 {
		go func() {
			resp, err := http.Get(s.url + "/v1/identities/" + string(querytest.PPID(1)))
			if err != nil {
				t.Error(err)
				done <- 0
				return
			}
			resp.Body.Close()
			done <- resp.StatusCode
		}()
	}
	<-s.begun
	<-s.begun
	if h := s.get("/v1/identities/"+string(querytest.PPID(1)), 503, nil); h.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	close(s.release)
	for range 2 {
		if status := <-done; status != 200 {
			t.Errorf("%d", status)
		}
	}
}

func TestAlertsHideWhatIsPrivate(t *testing.T) {
	s := newSite(t, nil)
	for i := range 5 {
		s.raise(monitor.Alert{Finding: rule.Finding{Rule: "boot-forked", Severity: "contradiction", Subject: poclog.Identity(fmt.Sprint(i))}}, monitor.Alert{Finding: rule.Finding{Rule: "watched", Severity: "information", Subject: poclog.Identity(fmt.Sprint(i))}})
	}
	id := monitor.AlertID("boot-forked", "4", nil)
	if err := s.Silence(t.Context(), id, "our secret plan"); err != nil {
		t.Fatal(err)
	}
	var a web.AlertsAnswer
	s.get("/v1/alerts?limit=2", 200, &a)
	if len(a.Alerts) != 2 || !a.More || a.Alerts[1].Subject != "4" || a.Alerts[1].Silenced == "" || strings.Contains(a.Alerts[1].Silenced, "secret") {
		t.Errorf("%+v", a)
	}
	s.get("/v1/alerts?rule=boot-forked&severity=contradiction&subject=3", 200, &a)
	if len(a.Alerts) != 1 || a.More || a.Alerts[0].Subject != "3" {
		t.Errorf("%+v", a)
	}
	s.get("/v1/alerts?rule=watched", 200, &a)
	if len(a.Alerts) != 0 {
		t.Errorf("%+v", a)
	}
	s.get("/v1/alerts?since=2027-01-01T00:00:00Z", 200, &a)
	if len(a.Alerts) != 0 {
		t.Errorf("%+v", a)
	}
	s.get("/v1/alerts?since=yesterday", 400, nil)
	s.get("/v1/alerts/"+id, 200, nil)
	s.get("/v1/alerts/"+monitor.AlertID("watched", "1", nil), 404, nil)
	s.get("/v1/alerts/nothing", 404, nil)
}

func TestEvidenceIsServedFromWithinTheFolder(t *testing.T) {
	s := newSite(t, nil)
	if err := os.WriteFile(filepath.Join(s.dir, "contradictions", "a.json"), []byte(`{"v":1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(s.dir), "outside"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../../outside", filepath.Join(s.dir, "contradictions", "link")); err != nil {
		t.Fatal(err)
	}
	for file, status := range map[string]int{"contradictions/a.json": 200, "contradictions/gone": 404, "": 404, "../outside": 500, "contradictions/link": 500, "/etc/passwd": 500} {
		s.raise(monitor.Alert{Finding: rule.Finding{Rule: "boot-forked", Severity: "contradiction", Subject: poclog.Identity(file)}, File: file})
		s.get("/v1/alerts/"+monitor.AlertID("boot-forked", poclog.Identity(file), nil)+"/file", status, nil)
	}
}

// A quoted site has a chip of a laboratory with a proof, and answers questions about its quotes.
func newQuoted(t *testing.T, change ...func(*web.Config)) (s *site, maker *chip.Maker, host *chip.Platform) {
	maker = chip.NewMaker("answers", querytest.Start.AddDate(-1, 0, 0))
	policy := &poclog.Policy{V: 1, Realm: poclog.Lab, Roots: []poclog.Root{{Use: poclog.RootIntelSGX, SHA256: poclog.Sum(maker.Root()), Name: "lab"}}}
	s = newSite(t, func(c *web.Config) {
		c.Policies = []*poclog.Policy{{V: 1, Realm: poclog.Production}, policy}
		c.Receipts = func(_ context.Context, origin string, index uint64) ([]byte, error) {
			if index == 3 {
				return nil, errors.New("the log is down")
			}
			return fmt.Appendf(nil, "receipt of %s %d", origin, index), nil
		}
		for _, f := range change {
			f(c)
		}
	})
	host = maker.NewPlatform("host", nil)
	return s, maker, host
}

func idOf(p *chip.Platform) poclog.Identity {
	return poclog.Identity(fmt.Sprintf("intel:tdx:ppid:%x", p.PPID))
}

func (s *site) ask(quote []byte, status int, v any) {
	s.t.Helper()
	s.post(fmt.Sprintf(`{"quote":"%x"}`, quote), "application/json", status, v)
}

func (s *site) post(body, contentType string, status int, v any) {
	s.t.Helper()
	for _, path := range []string{"/v1/check_quote", "/check_quote"} {
		s.postTo(path, body, contentType, status, v)
	}
}

func (s *site) postTo(path, body, contentType string, status int, v any) {
	s.t.Helper()
	req, err := http.NewRequest(http.MethodPost, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	s.do(req, status, v)
}

func TestQuotesAreAnsweredAsTheAlliancesServersDo(t *testing.T) {
	s, _, host := newQuoted(t)
	quote := host.Quote(chip.TD{})
	var p problemDoc
	s.ask(quote, 403, &p)
	if p.Type != "tag:poclog.dev,2026:problem:unproven" || p.Error == "" || p.Error != p.Detail {
		t.Errorf("%+v", p)
	}
	lab := func(at float64, change func(*monitor.Record)) *monitor.Record {
		return querytest.Proof(0, 5, at, func(r *monitor.Record) {
			r.Chip, r.Realm = idOf(host), poclog.Lab
			if change != nil {
				change(r)
			}
		})
	}
	// Neither level 0, nor historical evidence, nor another realm's entry proves where it stands.
	s.records = append(s.records, lab(9, func(r *monitor.Record) { r.Level = 0 }), lab(9, func(r *monitor.Record) { r.Fresh = nil }), lab(9, func(r *monitor.Record) { r.Realm = poclog.Production }))
	s.ask(quote, 403, nil)
	s.records = append(s.records, lab(1, func(r *monitor.Record) { r.Place = querytest.Authentic("gce", "r", "r-old") }))
	var a web.QuoteAnswer
	s.ask(quote, 200, &a)
	if a.NoReceipts == "" || len(a.Receipts) != 0 || a.Label != "gce/r/r-old" {
		t.Errorf("with a log that is down: %+v", a)
	}
	s.records = append(s.records, lab(2, nil))
	// configfs pads quotes with zeros: the hash is of what was sent, as the alliance has it; the
	// identity is not.
	padded := append(bytes.Clone(quote), make([]byte, 100)...)
	a = web.QuoteAnswer{}
	s.ask(padded, 200, &a)
	if a.MachineID != idOf(host).Value() || a.MachineIDCamel != a.MachineID || a.Label != "gce/us-central1/us-central1-a" || a.QuoteHash != poclog.Sum(padded).String() ||
		a.Timestamp != querytest.Start.Add(time.Minute).Unix() || a.Logged || a.Level != 2 || a.Realm != poclog.Lab {
		t.Errorf("%+v", a)
	}
	if want := base64.StdEncoding.EncodeToString([]byte("receipt of log.test 4")); len(a.Receipts) != 1 || a.Receipts[0] != want || a.NoReceipts != "" {
		t.Errorf("%+v", a)
	}
	s.records = append(s.records, lab(1, func(r *monitor.Record) { r.Quote = a.Quote }))
	s.ask(quote, 200, &a)
	if !a.Logged || len(a.Entries) != 2 || len(a.Receipts) != 2 {
		t.Errorf("%+v", a)
	}
}

// A log that is shown to publish what it did not appraise vouches for nothing, and disputes
// nobody's quote by naming it.
func TestALogThatLiesVouchesForNothing(t *testing.T) {
	s, _, host := newQuoted(t)
	quote := host.Quote(chip.TD{})
	parsed, err := tdx.ParseQuote(quote)
	if err != nil {
		t.Fatal(err)
	}
	own := parsed.ID()
	honest := querytest.Proof(0, 5, 1, func(r *monitor.Record) { r.Chip, r.Realm, r.Quote = idOf(host), poclog.Lab, own })
	made := querytest.Proof(0, 7, 2, func(r *monitor.Record) {
		r.Origin, r.Chip, r.Realm, r.Quote, r.Place = "liar.test", idOf(host), poclog.Lab, own, querytest.Authentic("gce", "far", "far-a")
	})
	s.records = append(s.records, honest, made)
	liar := monitor.Alert{
		Finding: rule.Finding{
			Rule:       "entry-not-reproducible",
			Severity:   "contradiction",
			Subject:    "log:liar.test",
			Implicated: []string{"log:liar.test"},
			Affected:   []poclog.Identity{idOf(host), own},
		},
	}
	s.raise(liar)
	var a web.QuoteAnswer
	s.ask(quote, 200, &a)
	if len(a.Entries) != 1 || a.Entries[0].Origin != origin || a.Label != "gce/us-central1/us-central1-a" || !a.Logged {
		t.Errorf("%+v", a)
	}
	s.records = s.records[1:]
	s.ask(quote, 403, nil)
}

func TestOnlyGenuineQuotesAreAnswered(t *testing.T) {
	s, maker, host := newQuoted(t)
	s.records = append(s.records, querytest.Proof(0, 5, 1, func(r *monitor.Record) { r.Chip, r.Realm = idOf(host), poclog.Lab }))
	good := host.Quote(chip.TD{})
	s.ask(good, 200, nil)
	stranger := chip.NewMaker("stranger", querytest.Start.AddDate(-1, 0, 0)).NewPlatform("host", func(p *chip.Platform) { p.PPID = host.PPID })
	forged := bytes.Clone(good)
	forged[100] ^= 1
	for name, c := range map[string]struct {
		quote []byte
		check string
	}{
		"of a stranger's maker": {stranger.Quote(chip.TD{}), "tee.chain"},
		"changed":               {forged, "tee.signature"},
		"cut":                   {good[:len(good)-1], "format"},
		"of another chip":       {maker.NewPlatform("other", nil).Quote(chip.TD{}), "unproven"},
		"garbage":               {[]byte("garbage"), "format"},
	} {
		var p problemDoc
		if c.check == "unproven" {
			s.ask(c.quote, 403, &p)
			continue
		}
		if s.ask(c.quote, 422, &p); p.Check != c.check {
			t.Errorf("%s: %+v: want %s", name, p, c.check)
		}
	}
	for body, status := range map[string]int{
		"":                 400,
		"{}":               400,
		`{"quote":""}`:     400,
		`{"quote":"xyz"}`:  400,
		`{"quote":["00"]}`: 400,
		`{"quote":"` + strings.Repeat("00", 1<<17) + `"}`:             413,
		`{"quote":"` + hex.EncodeToString(make([]byte, 1<<16)) + `"}`: 422,
	} {
		s.post(body, "application/json", status, nil)
	}
	s.post(fmt.Sprintf(`{"quote":"%x"}`, good), "text/plain", 400, nil)
	s.get("/check_quote", 404, nil)
}

// A contradiction about a chip, or about the VM that asks, ends the vouching; one that only affects
// the chip does not, or any tenant could end it.
func TestDisputedChipsAreNotVouchedFor(t *testing.T) {
	s, _, host := newQuoted(t)
	quote := host.Quote(chip.TD{})
	var a web.QuoteAnswer
	honest := querytest.Proof(0, 5, 1, func(r *monitor.Record) { r.Chip, r.Realm = idOf(host), poclog.Lab })
	s.records = append(s.records, honest)
	s.ask(quote, 200, &a)
	tenant := querytest.Proof(0, 6, 2, func(r *monitor.Record) {
		r.Chip, r.Realm, r.Place = idOf(host), poclog.Lab, querytest.Authentic("gce", "elsewhere", "elsewhere-a")
	})
	s.records = append(s.records, tenant)
	s.raise(monitor.Alert{
		Finding: rule.Finding{
			Rule:       "ak-on-two-chips",
			Severity:   "contradiction",
			Subject:    tenant.AK,
			Implicated: []string{string(tenant.AK)},
			Affected:   []poclog.Identity{idOf(host)},
		},
	})
	s.ask(quote, 200, &a)
	if a.Label != "gce/us-central1/us-central1-a" {
		t.Errorf("the disputed tenant's proof counts: %+v", a)
	}
	s.raise(monitor.Alert{Finding: rule.Finding{Rule: "chip-in-two-places", Severity: "contradiction", Subject: idOf(host)}})
	var p problemDoc
	s.ask(quote, 409, &p)
	id := monitor.AlertID("chip-in-two-places", idOf(host), nil)
	if len(p.Alerts) != 1 || p.Alerts[0] != id {
		t.Errorf("%+v", p)
	}
	if err := s.Silence(t.Context(), id, "explained"); err != nil {
		t.Fatal(err)
	}
	s.ask(quote, 200, nil)
	own := querytest.Proof(0, 7, 3, func(r *monitor.Record) { r.Chip, r.Realm, r.Quote = idOf(host), poclog.Lab, a.Quote })
	s.records = append(s.records, own)
	s.ask(quote, 200, nil)
	s.raise(monitor.Alert{Finding: rule.Finding{Rule: "boot-forked", Severity: "contradiction", Subject: own.AK}})
	s.ask(quote, 409, nil)
}

// A report comes without certificates: it counts where a log, which had them, has it.
func TestReportsAreAnsweredWhereTheyAreLogged(t *testing.T) {
	s, _, _ := newQuoted(t)
	maker := amd.NewMaker("answers", "Milan", querytest.Start)
	c := maker.NewChip("host", maker.DefaultTCB())
	report := c.Report(amd.Guest{}, nil)
	id, _ := poclog.HexIdentity(poclog.AMDChipID, c.ID[:])
	s.records = append(s.records, querytest.Proof(0, 5, 1, func(r *monitor.Record) { r.Chip = id }))
	s.ask(report, 403, nil)
	s.records = append(s.records, querytest.Proof(0, 5, 2, func(r *monitor.Record) {
		r.Chip, r.Quote = id, "quote:"+poclog.Identity(poclog.Sum(report[:0x2a0]).String())
	}))
	var a web.QuoteAnswer
	if s.ask(report, 200, &a); !a.Logged || a.MachineID != id.Value() {
		t.Errorf("%+v", a)
	}
}

// A monitor that was given no policy of the laboratory does not answer by its entries.
func TestReportsOfOtherRealmsAreNoAnswer(t *testing.T) {
	s := newSite(t, func(c *web.Config) { c.Policies = []*poclog.Policy{{V: 1, Realm: poclog.Production}} })
	maker := amd.NewMaker("answers", "Milan", querytest.Start)
	c := maker.NewChip("host", maker.DefaultTCB())
	report := c.Report(amd.Guest{}, nil)
	id, _ := poclog.HexIdentity(poclog.AMDChipID, c.ID[:])
	logged := querytest.Proof(0, 5, 2, func(r *monitor.Record) {
		r.Chip, r.Quote, r.Realm = id, "quote:"+poclog.Identity(poclog.Sum(report[:0x2a0]).String()), poclog.Lab
	})
	s.records = append(s.records, logged)
	s.ask(report, 403, nil)
	logged.Realm = poclog.Production
	s.ask(report, 200, nil)
}

func TestHealthAndMetricsSayWhetherLogsAreFollowed(t *testing.T) {
	s := newSite(t, nil)
	s.records = append(s.records, querytest.Proof(1, 1, 1, nil))
	s.raise(monitor.Alert{Finding: rule.Finding{Rule: "boot-forked", Severity: "contradiction", Subject: "a"}}, monitor.Alert{Finding: rule.Finding{Rule: "watched", Severity: "information", Subject: "a"}})
	if err := s.Silence(t.Context(), monitor.AlertID("watched", "a", nil), "known"); err != nil {
		t.Fatal(err)
	}
	var h web.Health
	if s.get("/health", 200, &h); !h.OK || h.Logs[0].Next != 1 {
		t.Errorf("%+v", h)
	}
	resp, err := http.Get(s.url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	for _, want := range []string{
		`poclog_monitor_log_size{origin="log.test"} 1`, `poclog_monitor_log_next{origin="log.test"} 1`,
		fmt.Sprintf(`poclog_monitor_seen_timestamp_seconds{origin="log.test"} %g`, float64(querytest.Start.Unix())),
		`poclog_monitor_alerts{rule="boot-forked",severity="contradiction",silenced="false"} 1`,
		`poclog_monitor_alerts{rule="watched",severity="information",silenced="true"} 1`,
		`poclog_monitor_undelivered{sink="webhook"} 1`,
	} {
		if err != nil || !strings.Contains(string(text), want+"\n") {
			t.Errorf("%s\n%v: want %s", text, err, want)
		}
	}
	for name, looked := range map[string]time.Time{"never seen": {}, "last seen": querytest.Start.Add(-time.Hour)} {
		s.looked = looked
		if s.get("/health", 503, &h); h.OK || !strings.Contains(strings.Join(h.Reason, ""), name) && !strings.Contains(strings.Join(h.Reason, ""), "was "+name) {
			t.Errorf("%s: %+v", name, h)
		}
	}
	if err := s.RemoveLog(t.Context(), origin); err != nil {
		t.Fatal(err)
	}
	h = web.Health{}
	if s.get("/health", 503, &h); len(h.Reason) != 1 || h.Reason[0] != "no log is followed" {
		t.Errorf("%+v", h)
	}
}
