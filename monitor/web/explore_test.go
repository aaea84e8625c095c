package web_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/page/pagetest"
	"github.com/poclog/poclog/monitor"
	"github.com/poclog/poclog/monitor/query/querytest"
	"github.com/poclog/poclog/monitor/web"
	"github.com/poclog/poclog/verify/rule"
)

const hostile = `us"><script>alert(1)</script>&amp;` + "\u202e" + `gnp.exe`

// explored is a monitor's folder in which chip 1 moved, chip 2 is claimed twice, chip 3 is of the
// laboratory, and chip 4's place is a hostile string.
func explored(t *testing.T, change func(*web.Config)) *site {
	t.Helper()
	s := newSite(t, change)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range 40 {
		s.records = append(s.records, querytest.Proof(1, 1, float64(i*20), func(r *monitor.Record) {
			if i > 25 {
				r.Place = querytest.Authentic("gce", "europe-west4", "europe-west4-b")
			}
		}), querytest.Proof(2, 2, float64(i*20)+1, func(r *monitor.Record) {
			if i%2 == 1 {
				r.Place = querytest.Authentic("azure", "eastus2", "")
			}
		}))
	}
	s.records = append(s.records,
		querytest.Proof(3, 3, 900, func(r *monitor.Record) { r.Realm, r.Level, r.Place = poclog.Lab, 0, monitor.Place{} }),
		querytest.Proof(4, 4, 901, func(r *monitor.Record) {
			r.Place = querytest.Authentic("gce", hostile, hostile+strings.Repeat("x", 200))
		}))
	s.raise(
		monitor.Alert{Finding: rule.Finding{
			Rule: "chip-in-two-places", Severity: rule.Contradiction, Seen: "One chip is proven in gce/us-central1-a and in azure/eastus2 within an hour.",
			Meaning: "One of both proofs is relayed.", Subject: querytest.PPID(2), Affected: []poclog.Identity{querytest.PPID(2)},
		}, Entries: []monitor.EntryRef{{Origin: origin, Index: 1}, {Origin: origin, Index: 3}}},
		monitor.Alert{Finding: rule.Finding{Rule: "log-stalled", Severity: rule.Alert, Seen: hostile, Meaning: hostile, Subject: "log:" + origin}},
		monitor.Alert{Finding: rule.Finding{Rule: "watched", Severity: rule.Alert, Seen: "a secret of the operator's", Subject: querytest.PPID(1)}},
	)
	return s
}

// visit gets a page.
func (s *site) visit(path string, status int) (string, http.Header) {
	s.t.Helper()
	c := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := c.Get(s.url + path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != status {
		s.t.Fatalf("%s: %d %.300s, %v: want %d", path, resp.StatusCode, b, err, status)
	}
	if err := document(s.t).Check(resp.Request, resp.StatusCode, resp.Header, b); err != nil {
		s.t.Errorf("%s: %d: %v", path, resp.StatusCode, err)
	}
	return string(b), resp.Header
}

// walk visits a page and all that it links to.
func (s *site) walk(path string, seen map[string]string) {
	if _, ok := seen[path]; ok || strings.HasPrefix(path, "/receipt") || strings.HasPrefix(path, "/v1/alerts/") {
		return
	}
	body, _ := s.visit(path, http.StatusOK)
	seen[path] = body
	if !strings.HasPrefix(body, "<!DOCTYPE html>") {
		return
	}
	for n := range mustParse(s.t, body).Descendants() {
		for _, a := range n.Attr {
			if (a.Key == "href" || a.Key == "src" || a.Key == "action") && strings.HasPrefix(a.Val, "/") {
				s.walk(a.Val, seen)
			}
		}
	}
}

func mustParse(t *testing.T, body string) *html.Node {
	t.Helper()
	n, err := html.Parse(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Every page that a link leads to is there, is under 100 KB, asks no other host, runs no script and
// shows nothing private; whatever a log says is text.
func TestEveryPageIsThereAndHarmless(t *testing.T) {
	s := explored(t, nil)
	seen := make(map[string]string)
	s.walk("/", seen)
	kinds := make(map[string]int)
	for path, body := range seen {
		kinds[strings.Split(strings.TrimPrefix(path, "/"), "/")[0]]++
		if len(body) > 100<<10 && !strings.HasPrefix(path, "/assets/") {
			t.Errorf("%s has %d bytes", path, len(body))
		}
		if strings.Contains(body, "a secret of the operator's") {
			t.Errorf("%s tells what is private", path)
		}
		if !strings.HasPrefix(body, "<!DOCTYPE html>") {
			continue
		}
		for n := range mustParse(t, body).Descendants() {
			if n.Data == "iframe" || n.Data == "style" || n.Data == "script" && (n.FirstChild != nil || !strings.HasPrefix(path, "/verify") && !strings.HasPrefix(path, "/search")) {
				t.Errorf("%s has an element %s", path, n.Data)
			}
			for _, a := range n.Attr {
				switch {
				case strings.HasPrefix(a.Key, "on"), a.Key == "style":
					t.Errorf("%s has an attribute %s", path, a.Key)
				case (a.Key == "href" || a.Key == "src" || a.Key == "action") && !strings.HasPrefix(a.Val, "/") && !strings.HasPrefix(a.Val, "#") && a.Val != "data:,":
					t.Errorf("%s leads to %s", path, a.Val)
				}
			}
		}
	}
	for _, kind := range []string{"", "chips", "vms", "places", "images", "logs", "alerts", "alert", "id", "feed", "verify", "assets"} {
		if n := kinds[kind]; n == 0 && kinds[kind+"?"] == 0 {
			t.Logf("visited: %v", kinds)
			t.Errorf("no page under /%s was visited", kind)
		}
	}
	_, h := s.visit("/", http.StatusOK)
	if csp := h.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
		t.Errorf("Content-Security-Policy %q", csp)
	}
	if h.Get("Set-Cookie") != "" || h.Get("Referrer-Policy") != "no-referrer" {
		t.Errorf("headers: %v", h)
	}
}

// A chip's page says at a glance where it stands, what contradicts, and when it moved.
func TestAChipsPage(t *testing.T) {
	s := explored(t, nil)
	moved, _ := s.visit("/id/"+string(querytest.PPID(1)), http.StatusOK)
	for _, want := range []string{"Nothing that this monitor found contradicts", "gce/europe-west4/europe-west4-b</bdi>, by the newest proof", "<td class=\"n\">26</td>", "fresh: it answers a challenge"} {
		if !strings.Contains(moved, want) {
			t.Errorf("the page of a chip that moved lacks %q", want)
		}
	}
	twice, _ := s.visit("/id/"+string(querytest.PPID(2)), http.StatusOK)
	for _, want := range []string{"One contradiction or alert concerns it", "One chip is proven in gce/us-central1-a and in azure/eastus2"} {
		if !strings.Contains(twice, want) {
			t.Errorf("the page of a chip that is claimed twice lacks %q", want)
		}
	}
	lone, _ := s.visit("/id/"+string(querytest.PPID(3)), http.StatusOK)
	if !strings.Contains(lone, "no proof says") || !strings.Contains(lone, ">lab</span>") {
		t.Error("the page of a chip without a place says that it has one, or hides its realm")
	}
	absent, _ := s.visit("/id/"+string(querytest.PPID(99)), http.StatusOK)
	if !strings.Contains(absent, "No entry that this monitor has read names it") || strings.Contains(absent, "Nothing that this monitor found contradicts") {
		t.Error("a chip that nobody named is shown as one that is well")
	}
	// The one chip that is claimed twice, its VM in both places, and these places.
	for list, want := range map[string]int{"/chips": 1, "/vms": 2, "/places": 2, "/": 2} {
		if page, _ := s.visit(list, http.StatusOK); strings.Count(page, "claimed twice") != want {
			t.Errorf("%s marks %d rows, want %d", list, strings.Count(page, "claimed twice"), want)
		}
	}
	if file, _ := s.visit("/places?as=csv", http.StatusOK); strings.Count(file, ",1,2026-") != 2 {
		t.Errorf("places as CSV: %s", file)
	}
}

func TestSearch(t *testing.T) {
	s := explored(t, nil)
	chip := string(querytest.PPID(2))
	for q, want := range map[string]string{
		chip:                            "/id/" + chip,
		strings.ToUpper(chip[15:]):      "/id/" + chip,
		"gce:instance:7:3":              "/id/gce:instance:7:3",
		" gce/europe-west4-b ":          "/chips?place=gce%2Feurope-west4-b",
		"azure/eastus2":                 "/chips?place=azure%2Feastus2",
		"intel:tdx:ppid:" + chip[15:20]: "",
		"nobody has this":               "",
		"":                              "",
	} {
		status := http.StatusSeeOther
		if want == "" {
			status = http.StatusOK
		}
		_, h := s.visit("/search?"+url.Values{"q": {q}}.Encode(), status)
		if h.Get("Location") != want {
			t.Errorf("%q leads to %q: want %q", q, h.Get("Location"), want)
		}
	}
	for _, path := range []string{"/id/no-identity", "/entry?log=x&n=-1", "/chips?from=-1", "/chips?as=exe", "/search?q=" + strings.Repeat("a", 600)} {
		if body, h := s.visit(path, http.StatusBadRequest); !strings.HasPrefix(body, "<!DOCTYPE html>") || h.Get("ETag") != "" {
			t.Errorf("%s: no page says why it is refused", path)
		}
	}
	s.visit("/entry?log="+origin+"&n=100000", http.StatusNotFound)
	s.visit("/alert/none", http.StatusNotFound)
}

// Every list is a file too, in which no cell is a formula; alerts are a feed.
func TestFilesOfLists(t *testing.T) {
	s := explored(t, nil)
	for path, rows := range map[string]int{"/chips": 4, "/vms": 6, "/places": 4, "/images": 1} {
		body, h := s.visit(path+"?as=csv", http.StatusOK)
		all, err := csv.NewReader(strings.NewReader(body)).ReadAll()
		if err != nil || len(all) != rows+1 || !strings.HasPrefix(h.Get("Content-Type"), "text/csv") {
			t.Errorf("%s: %d rows, %v, %v", path, len(all), h, err)
		}
		var file struct {
			V, Total int
			Rows     []any
		}
		s.get(path+"?as=json", http.StatusOK, &file)
		if file.V != 1 || file.Total != rows || len(file.Rows) != rows {
			t.Errorf("%s: %+v", path, file)
		}
	}
	for path, entries := range map[string]int{"/feed/alerts": 2, "/feed/id/" + string(querytest.PPID(2)): 1, "/feed/id/" + string(querytest.PPID(1)): 0} {
		body, _ := s.visit(path, http.StatusOK)
		var feed struct {
			Entry []struct{ Title, Summary string } `xml:"entry"`
		}
		if err := xml.Unmarshal([]byte(body), &feed); err != nil || len(feed.Entry) != entries {
			t.Errorf("%s: %d entries, %v", path, len(feed.Entry), err)
		}
	}
}

// A list is drawn again a minute after the logs have grown; until then it is the last one, and a
// browser that has the last one gets the new one as soon as there is one.
func TestListsAreDrawnAgain(t *testing.T) {
	var later atomic.Int64
	s := newSite(t, func(c *web.Config) {
		c.Clock = func() time.Time { return querytest.Start.Add(time.Duration(later.Load())) }
	})
	s.records = append(s.records, querytest.Proof(1, 1, 0, nil))
	if list, _ := s.visit("/chips", http.StatusOK); !strings.Contains(list, "1 to 1 of 1") {
		t.Fatal("the first chip is not listed")
	}
	s.records = append(s.records, querytest.Proof(2, 2, 1, nil))
	list, h := s.visit("/chips", http.StatusOK)
	if !strings.Contains(list, "1 to 1 of 1") {
		t.Error("a list is drawn for each request")
	}
	later.Store(int64(2 * time.Minute))
	for !strings.Contains(list, "1 to 2 of 2") {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/chips", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("If-None-Match", h.Get("ETag"))
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			list = string(body)
		}
	}
}

func TestPagesOfLongLists(t *testing.T) {
	s := newSite(t, nil)
	for i := range 250 {
		s.records = append(s.records, querytest.Proof(i+1, i+1, float64(i), nil))
	}
	seen, path := make(map[string]bool), "/chips"
	for pages := 0; path != "" && pages < 5; pages++ {
		body, _ := s.visit(path, http.StatusOK)
		path = ""
		for n := range mustParse(t, body).Descendants() {
			for _, a := range n.Attr {
				if a.Key == "href" && strings.HasPrefix(a.Val, "/id/") {
					seen[a.Val] = true
				}
				if a.Key == "rel" && a.Val == "next" {
					for _, b := range n.Attr {
						if b.Key == "href" {
							path = b.Val
						}
					}
				}
			}
		}
	}
	if len(seen) != 250 {
		t.Errorf("%d chips on all pages: want 250", len(seen))
	}
}

// A browser checks what a page links to, under the policy in the page: a receipt holds, the same
// with another entry does not, and the step that refuses it is named; so does a contradiction.
func TestFilesAreCheckedInTheBrowser(t *testing.T) {
	pagetest.Browser(t)
	var good, edited struct{ Receipt, Policy string }
	vectorOf(t, "receipts/audited.json", &good)
	vectorOf(t, "receipts/entry-edited.json", &edited)
	s := explored(t, func(c *web.Config) {
		c.Receipts = func(_ context.Context, _ string, n uint64) ([]byte, error) {
			return []byte([]string{good.Receipt, edited.Receipt}[n]), nil
		}
	})
	log, err := s.AddLog(t.Context(), "http://receipts.test", good.Policy)
	if err != nil {
		t.Fatal(err)
	}
	check := func(n int, want string) pagetest.Walk {
		file := fmt.Sprintf("/receipt?log=%s&n=%d", url.QueryEscape(log), n)
		return pagetest.Walk{URL: s.url + "/verify?" + url.Values{"log": {log}, "file": {file}}.Encode(), Steps: []string{"wait outcome", "see inclusion"}, Want: want}
	}
	pagetest.Walks(t, map[string]pagetest.Walk{
		"receipt":                  check(0, "/verify PASS"),
		"one with another entry":   check(1, "/verify FAIL inclusion"),
		"a file of another host's": {URL: s.url + "/verify?file=http://elsewhere.test/x", Steps: []string{"see it is on another host"}, Want: "/verify FAIL"},
	})
}

// A chip's page leads to the dossier of each log, and the browser checks it there, whatever it says;
// who asks for what is no identity, or of a log that is not followed, asks no log.
func TestDossiersAreCheckedInTheBrowser(t *testing.T) {
	pagetest.Browser(t)
	var good, edited struct{ Dossier, Policy string }
	vectorOf(t, "dossiers/honest.json", &good)
	vectorOf(t, "dossiers/number-left-out.json", &edited)
	s := explored(t, func(c *web.Config) {
		c.Dossiers = func(_ context.Context, _ string, id poclog.Identity) ([]byte, error) {
			if id == querytest.PPID(1) {
				return []byte(good.Dossier), nil
			}
			return []byte(edited.Dossier), nil
		}
	})
	log, err := s.AddLog(t.Context(), "http://dossiers.test", good.Policy)
	if err != nil {
		t.Fatal(err)
	}
	walks := make(map[string]pagetest.Walk)
	for chip, want := range map[int]string{1: "/verify PASS", 2: "/verify FAIL numbers"} {
		file := "/dossier?" + url.Values{"log": {log}, "id": {string(querytest.PPID(chip))}}.Encode()
		check := "/verify?" + url.Values{"log": {log}, "file": {file}}.Encode()
		if body, _ := s.visit("/id/"+string(querytest.PPID(chip)), http.StatusOK); !strings.Contains(body, html.EscapeString(check)) {
			t.Errorf("the page of chip %d does not lead to %s", chip, check)
		}
		walks[check] = pagetest.Walk{URL: s.url + check, Steps: []string{"wait outcome"}, Want: want}
	}
	pagetest.Walks(t, walks)
	for path, status := range map[string]int{
		"/dossier?log=" + url.QueryEscape(log) + "&id=nothing":                          http.StatusBadRequest,
		"/dossier?log=" + url.QueryEscape(log) + "&id=quote:" + strings.Repeat("0", 64): http.StatusBadRequest,
		"/dossier?log=stranger.test&id=" + string(querytest.PPID(1)):                    http.StatusNotFound,
	} {
		s.visit(path, status)
	}
}

// axe finds nothing serious on any kind of page, light or dark.
func TestPagesAreForEveryone(t *testing.T) {
	s := registered(t)
	var urls []string
	for _, path := range []string{
		"/", "/chips", "/vms", "/places", "/images", "/logs", "/alerts", "/verify", "/search?q=0000", "/search", "/entry?log=" + origin + "&n=1", "/id/" + string(querytest.PPID(1)), "/id/" + string(querytest.PPID(3)),
		"/registrars", "/registrar?name=Alliance", "/statements", "/entry?log=" + origin + "&n=85", "/search?quote=" + strings.Repeat("1", 64) + "&chip=" + string(querytest.PPID(1)),
	} {
		urls = append(urls, s.url+path)
	}
	pagetest.Axe(t, urls...)
}

// Without JavaScript every page looks the same, but for the verifier, which says what it needs.
func TestPagesWithoutJavaScript(t *testing.T) {
	pagetest.Browser(t)
	s, on, off := explored(t, nil), t.TempDir(), t.TempDir()
	pages := map[string]string{"overview": "/", "chips": "/chips", "chip": "/id/" + string(querytest.PPID(1)), "alerts": "/alerts", "entry": "/entry?log=" + origin + "&n=1", "verify": "/verify"}
	s.draw(on, "1280", pages)
	t.Setenv("NOSCRIPT", "1")
	s.draw(off, "1280", pages)
	for name := range pages {
		same := bytes.Equal(picture(t, on, name+"-1280.png"), picture(t, off, name+"-1280.png"))
		if same != (name != "verify") {
			t.Errorf("%s looks the same without JavaScript: %v", name, same)
		}
	}
	if body, _ := s.visit("/verify", http.StatusOK); !strings.Contains(body, "<noscript>") {
		t.Error("/verify does not say that it needs JavaScript")
	}
}

// draw draws the site's pages into a folder, by name.
func (s *site) draw(dir, widths string, paths map[string]string) {
	s.t.Helper()
	urls := make(map[string]string)
	for name, path := range paths {
		urls[name] = s.url + path
	}
	pagetest.Draw(s.t, dir, widths, urls)
}

// picture reads what was drawn, which is not empty.
func picture(t *testing.T, dir, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil || len(b) < 5000 {
		t.Errorf("%s: %d bytes, %v", name, len(b), err)
	}
	return b
}

// TestPagesInChromium draws the main pages from a phone to 4k, light and dark, and as they are
// printed, and keeps the pictures in POCLOG_SCREENSHOTS if that names a folder, for people to look
// at: make screenshots.
func TestPagesInChromium(t *testing.T) {
	pagetest.Browser(t)
	dir, widths := os.Getenv("POCLOG_SCREENSHOTS"), "360,1280,3840,dark,print"
	if dir == "" {
		dir, widths = t.TempDir(), "360,1280"
	}
	pages := map[string]string{
		"overview": "/", "chip": "/id/" + string(querytest.PPID(2)), "moved": "/id/" + string(querytest.PPID(1)), "chips": "/chips", "alert": "/alerts", "vms": "/vms", "verify": "/verify",
		"search": "/search", "places": "/places", "registrars": "/registrars", "registrar": "/registrar?name=Alliance", "statement": "/entry?log=" + origin + "&n=84", "revoked": "/id/" + string(querytest.PPID(3)),
	}
	registered(t).draw(dir, widths, pages)
	for name := range pages {
		for width := range strings.SplitSeq(widths, ",") {
			file := name + "-" + width + ".png"
			if width == "print" {
				file = name + ".pdf"
			}
			picture(t, dir, file)
		}
	}
}
