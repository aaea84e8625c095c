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
