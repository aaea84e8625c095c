package web_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/poclog/poclog/internal/page"
	"github.com/poclog/poclog/internal/page/pagetest"
	"github.com/poclog/poclog/monitor/web"
)

// built makes the Go verifier as `make recheck` does.
func built(t *testing.T) *page.GoVerifier {
	t.Helper()
	out := filepath.Join(t.TempDir(), "recheck.wasm")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", out, "../../internal/page/recheck/wasm")
	cmd.Env = append(os.Environ(), "GOOS=js", "GOARCH=wasm", "CGO_ENABLED=0")
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	root, err := exec.CommandContext(t.Context(), "go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	script, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(root)), "lib", "wasm", "wasm_exec.js"))
	if err != nil {
		t.Fatal(err)
	}
	code, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	if _, err := w.Write(code); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &page.GoVerifier{WASM: zipped.Bytes(), Exec: script}
}

// vectorOf reads members of a vector.
func vectorOf(t *testing.T, name string, members any) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "testdata", name))
	if err == nil {
		err = json.Unmarshal(b, members)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A browser checks a file with the page's TypeScript verifier and again with the Go code, and both
// say the same: of a receipt, of the same with another entry, of a dossier, and
// of one that leaves out an entry.
func TestBrowserAsksBothImplementations(t *testing.T) {
	pagetest.Browser(t)
	verifier, walks := built(t), make(map[string]pagetest.Walk)
	for name, want := range map[string]string{
		"receipts/audited.json":         "/verify PASS Go: PASS same",
		"receipts/entry-edited.json":    "/verify FAIL inclusion Go: FAIL same",
		"dossiers/honest.json":          "/verify PASS Go: PASS same",
		"dossiers/number-left-out.json": "/verify FAIL numbers Go: FAIL same",
	} {
		var f struct{ Receipt, Dossier, Policy string }
		vectorOf(t, name, &f)
		s := explored(t, func(c *web.Config) {
			c.Go = verifier
			c.Receipts = func(context.Context, string, uint64) ([]byte, error) { return []byte(f.Receipt + f.Dossier), nil }
		})
		log, err := s.AddLog(t.Context(), "http://receipts.test", f.Policy)
		if err != nil {
			t.Fatal(err)
		}
		page := s.url + "/verify?" + url.Values{"log": {log}, "file": {fmt.Sprintf("/receipt?log=%s&n=0", url.QueryEscape(log))}}.Encode()
		walks[name] = pagetest.Walk{URL: page, Steps: []string{"wait outcome", "click #again", "wait again"}, Want: want}
		if _, header := s.visit("/chips", http.StatusOK); strings.Contains(header.Get("Content-Security-Policy"), "wasm") {
			t.Error("another page than the verifier's may run WebAssembly")
		}
	}
	pagetest.Walks(t, walks)
}

// A page takes what the reader goes by, as files that are chosen together and as words, and both
// implementations say the same of it.
func TestBrowserTakesTheReadersPins(t *testing.T) {
	pagetest.Browser(t)
	var opened, revoked struct{ Receipt, Dossier, Policy, Pins, Opening string }
	vectorOf(t, "standing/opened.json", &opened)
	vectorOf(t, "standing/revoked-unasked.json", &revoked)
	var several struct{ Dossier, Policy string }
	vectorOf(t, "dossiers/several.json", &several)
	var judged struct{ Policy []byte }
	vectorOf(t, "appraisals/tdx.json", &judged)
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return " " + path
	}
	policy, pins, opening := write("policy.txt", opened.Policy), write("registrars.json", opened.Pins), write("m.opening.json", opened.Opening)
	receipt, dossier := write("vm.tlog-proof", opened.Receipt), write("vm.dossier.json", opened.Dossier)
	after, list := write("r.tlog-proof", revoked.Receipt), write("r.dossier.json", revoked.Dossier)
	const anyLevel, endorsed = "select #level 0", "type #endorsed alliance@1"
	s := explored(t, func(c *web.Config) { c.Go = built(t) })
	walk := func(want string, steps ...string) pagetest.Walk {
		return pagetest.Walk{URL: s.url + "/verify", Steps: slices.Concat([]string{"wait ready"}, steps, []string{"wait outcome", "click #again", "wait again"}), Want: "/verify " + want}
	}
	pagetest.Walks(t, map[string]pagetest.Walk{
		"a machine of a private fleet, opened": walk("PASS Go: PASS same", anyLevel, endorsed, "choose #file"+receipt+dossier+policy+pins+opening),
		"the same, not opened":                 walk("FAIL endorsed-by Go: FAIL same", anyLevel, endorsed, "choose #file"+receipt+dossier+policy+pins),
		"one that a pinned registrar revoked":  walk("FAIL standing Go: FAIL same", anyLevel, "choose #file"+policy+pins, "see Registrars that count: alliance.", "choose #file"+after+list),
		"the same, and nobody is pinned":       walk("PASS Go: PASS same", anyLevel, "choose #file"+after+list+policy),
		"judged by another policy":             walk("FAIL appraisal-digest Go: FAIL same", anyLevel, "choose #file"+receipt+policy+write("appraisal.json", string(judged.Policy))),
		"a dossier that contradicts":           walk("FAIL Go: FAIL same", "choose #file"+write("several.dossier.json", several.Dossier)+policy),
		"a malformed demand":                   walk("FAIL demands Go: FAIL same", "type #appraisals 00", "choose #file"+receipt+policy),
	})
}

// A build without the Go verifier says so, and its page may run no WebAssembly.
func TestPageWithoutGoVerifierSaysSo(t *testing.T) {
	s := explored(t, nil)
	body, header := s.visit("/verify", http.StatusOK)
	if !strings.Contains(body, "This build has no Go verifier") || strings.Contains(body, "Check again") {
		t.Error("the page offers what it has not")
	}
	if strings.Contains(header.Get("Content-Security-Policy"), "wasm") {
		t.Error("the page may run WebAssembly, and has none")
	}
}
