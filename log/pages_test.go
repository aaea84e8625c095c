package log_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/endorser"
	"github.com/poclog/poclog/internal/page/pagetest"
)

// visit gets a page as a browser does.
func visit(t *testing.T, l *testLog, path string, status int) (string, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, l.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/html,application/xhtml+xml")
	resp, err := documented(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != status {
		t.Fatalf("%s: %d %.300s, %v: want %d", path, resp.StatusCode, body, err, status)
	}
	return string(body), resp.Header
}

// People see what log it is, whose keys count, what it admits and each entry; pages ask no other
// host, run no script but the verifier, and stay small. Programs get a short text.
func TestPagesSayWhatLogItIs(t *testing.T) {
	f := newFab()
	l := serve(t, f.initLog(t), logConfig())
	got := submit(t, l, f.submission(t, 1))
	home, h := visit(t, l, "/", http.StatusOK)
	for _, want := range []string{origin, "A laboratory's log", strings.ReplaceAll(logKeys(t, l.dir)[0], "+", "&#43;"), "none: the log&#39;s signature alone is enough", `href="/openapi.json"`, "also without a challenge", "quorum none"} {
		if !strings.Contains(home, want) {
			t.Errorf("the first page lacks %q", want)
		}
	}
	if csp := h.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") || h.Get("Vary") != "Accept" {
		t.Errorf("%v", h)
	}
	if resp, text := get(t, l.url+"/"); !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain") || !strings.Contains(text, "POST /v1/proofs") {
		t.Errorf("without a browser: %s", text)
	}
	number := got.Verdict.Index
	entry, _ := visit(t, l, fmt.Sprintf("/entry?n=%d", number), http.StatusOK)
	for _, want := range []string{string(got.Verdict.Entry.Chip()), "Entry 1: a proof", "/v1/evidence/sha256/" + got.Verdict.Entry.Evidence.Bundle.SHA256.String(), "tee.signature", "/receipt?n=1", `href="/entry?n=0"`} {
		if !strings.Contains(entry, want) {
			t.Errorf("the page of an entry lacks %q", want)
		}
	}
	if config, _ := visit(t, l, "/entry?n=0", http.StatusOK); !strings.Contains(config, "a change of policy or software") {
		t.Error("the first entry is no change of policy")
	}
	receipt, h := visit(t, l, fmt.Sprintf("/receipt?n=%d", number), http.StatusOK)
	if r, err := poclog.ParseReceipt([]byte(receipt)); err != nil || r.Index != number || !strings.Contains(h.Get("Content-Disposition"), "attachment") {
		t.Errorf("the receipt: %v, %v", err, h)
	}
	visit(t, l, "/receipt?n=0", http.StatusNotFound)
	for path, status := range map[string]int{"/entry?n=2000": http.StatusNotFound, "/entry?n=-1": http.StatusBadRequest, "/entry": http.StatusBadRequest, "/entry?n=<script>": http.StatusBadRequest, "/receipt?n=99999999999": http.StatusNotFound} {
		visit(t, l, path, status)
	}
	seen := map[string]bool{"/receipt?n=1": true, "/v1/index": true} // no index entry was written yet
	walkPages(t, l, "/", seen)
	if len(seen) < 10 {
		t.Errorf("%d addresses were visited: %v", len(seen), seen)
	}
}

// Registrars are listed by the names that they have, and their statements are shown as theirs.
func TestPagesOfStatementsAreTheRegistrarsWords(t *testing.T) {
	by := endorser.NewRegistrar("pages", `<script>alert("name")</script>`, 1)
	l := serve(t, withRegistrars(t, by), logConfig())
	x := endorsing(1)
	x.Label = `"><img src=x onerror=alert(1)>`
	got := stating(t, l, by.State(x, 1))
	home, _ := visit(t, l, "/", http.StatusOK)
	entry, _ := visit(t, l, fmt.Sprintf("/entry?n=%d", got.Verdict.Index), http.StatusOK)
	for _, want := range []string{"the registrar&#39;s words", "alert(1)", string(statedChip)} {
		if !strings.Contains(strings.ReplaceAll(entry, "'", "&#39;"), want) {
			t.Errorf("the page of a statement lacks %q", want)
		}
	}
	for name, page := range map[string]string{"first": home, "statement's": entry} {
		if !strings.Contains(page, "&lt;script&gt;alert(&#34;name&#34;)&lt;/script&gt;") || strings.Contains(page, "<img") || strings.Contains(page, "<script>") {
			t.Errorf("the %s page shows a name as markup, or not at all", name)
		}
	}
	visit(t, l, fmt.Sprintf("/receipt?n=%d", got.Verdict.Index), http.StatusNotFound)
}

// walkPages visits what pages lead to.
func walkPages(t *testing.T, l *testLog, path string, seen map[string]bool) {
	t.Helper()
	path, _, _ = strings.Cut(path, "#")
	if path == "" || seen[path] || strings.HasPrefix(path, "/?file=") {
		return
	}
	seen[path] = true
	body, h := visit(t, l, path, http.StatusOK)
	if !strings.HasPrefix(h.Get("Content-Type"), "text/html") {
		return
	}
	if len(body) > 100<<10 {
		t.Errorf("%s has %d bytes", path, len(body))
	}
	doc, err := html.Parse(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for n := range doc.Descendants() {
		if n.Data == "iframe" || n.Data == "style" || n.Data == "img" || n.Data == "script" && (n.FirstChild != nil || path != "/") {
			t.Errorf("%s has an element %s", path, n.Data)
		}
		for _, a := range n.Attr {
			link := a.Key == "href" || a.Key == "src" || a.Key == "action"
			switch {
			case strings.HasPrefix(a.Key, "on"), a.Key == "style":
				t.Errorf("%s has an attribute %s", path, a.Key)
			case link && strings.HasPrefix(a.Val, "/") && a.Key != "action":
				walkPages(t, l, a.Val, seen)
			case link && !strings.HasPrefix(a.Val, "/") && !strings.HasPrefix(a.Val, "#") && a.Val != "data:,":
				t.Errorf("%s leads to %s", path, a.Val)
			}
		}
	}
}

// A browser checks a receipt that is dropped on the log's page and sends it nowhere; of one that was
// tampered with it says no, with the step; axe finds nothing serious.
func TestPageChecksReceiptsInTheBrowser(t *testing.T) {
	pagetest.Browser(t)
	f := newFab()
	l := serve(t, f.initLog(t), logConfig())
	got := submit(t, l, f.submission(t, 1))
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	lines := strings.Split(string(got.Receipt), "\n")
	swapped := strings.Replace(string(got.Receipt), "index 1\n", "index 0\n", 1)
	if len(lines) < 5 || swapped == string(got.Receipt) {
		t.Fatalf("%s", got.Receipt)
	}
	good, bad := write("receipt", got.Receipt), write("tampered", []byte(swapped))
	pagetest.Walks(t, map[string]pagetest.Walk{
		"dropped":               {URL: l.url + "/?level=0", Steps: []string{"wait ready", "drop " + good, "wait outcome"}, Want: "/ PASS"},
		"chosen, and its entry": {URL: l.url + "/?level=0", Steps: []string{"wait ready", "choose #file " + good, "wait outcome", "click #outcome a"}, Want: "/entry"},
		"tampered":              {URL: l.url + "/?level=0", Steps: []string{"wait ready", "drop " + bad, "wait outcome"}, Want: "/ FAIL inclusion"},
		"from the entry's page": {URL: l.url + "/entry?n=1", Steps: []string{"click a[href*='file=']", "wait outcome"}, Want: "/ PASS"},
	})
	pagetest.Axe(t, l.url+"/", l.url+"/entry?n=1", l.url+"/entry?n=5000")
}
