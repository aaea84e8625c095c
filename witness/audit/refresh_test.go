package audit_test

import (
	"bytes"
	"context"
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
	"github.com/poclog/poclog/internal/realdata"
	"github.com/poclog/poclog/log"
	"github.com/poclog/poclog/verify/profile"
	"github.com/poclog/poclog/verify/receipt"
	"github.com/poclog/poclog/witness/audit"
)

// cosigned serves a log whose checkpoint carries the auditor's cosignatures where the auditor has
// cosigned that tree: what a log does that names the auditor in its witness policy.
func cosigned(inner http.Handler, auditor func() http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/checkpoint" {
			inner.ServeHTTP(w, r)
			return
		}
		own, theirs := httptest.NewRecorder(), httptest.NewRecorder()
		inner.ServeHTTP(own, r)
		auditor().ServeHTTP(theirs, httptest.NewRequest(http.MethodGet, "/"+originHash()+"/checkpoint", nil))
		b := own.Body.Bytes()
		text, sigs, _ := strings.Cut(theirs.Body.String(), "\n\n")
		if bytes.HasPrefix(b, []byte(text+"\n\n")) {
			for line := range strings.Lines(sigs) {
				if strings.HasPrefix(line, "— "+auditorName+" ") {
					b = append(b, line...)
				}
			}
		}
		_, _ = w.Write(b) // the client may be gone
	})
}

func TestLoggedReceiptBecomesAuditedByRefresh(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	if err := log.Init(dir, log.InitOptions{Origin: origin, Policy: profile.DefaultPolicy(true)}); err != nil {
		t.Fatal(err)
	}
	svc, err := log.Open(t.Context(), dir, log.Config{Software: "poclog test", Logger: slog.New(slog.DiscardHandler), CheckpointInterval: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	var a *audit.Auditor
	srv := httptest.NewServer(cosigned(svc.Handler(), func() http.Handler { return a.Handler() }))
	t.Cleanup(func() {
		srv.Close()
		if err := svc.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	auditorDir := filepath.Join(t.TempDir(), "auditor")
	if err := audit.Init(auditorDir, auditorName); err != nil {
		t.Fatal(err)
	}
	a = reopen(t, auditorDir, audit.Config{})
	lines, err := os.ReadFile(filepath.Join(dir, "policy.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.AddLog(t.Context(), srv.URL, string(lines)); err != nil {
		t.Fatal(err)
	}
	policy := policyWith(t, strings.Replace(string(lines), "quorum none\n", "", 1), a)
	c, err := client.New(client.Config{URL: srv.URL, Policy: policy})
	if err != nil {
		t.Fatal(err)
	}
	b := new(poclog.Bundle)
	b.Set(poclog.ItemTDXQuote, realdata.Quotes()[0])
	got, err := c.Submit(t.Context(), &poclog.Submission{Bundle: must(b.Marshal()), Judged: realdata.QuoteTime})
	if err != nil {
		t.Fatal(err)
	}
	demands := receipt.Demands{UnsafeLevel0: true, Standing: receipt.Audited}
	standing := func(file []byte) string {
		if _, err := receipt.Check(file, policy, time.Now(), demands); err != nil {
			return err.Error()
		}
		return "audited"
	}
	if s := standing(got.Receipt); !strings.HasPrefix(s, "verdict: ") {
		t.Errorf("before the audit: %s: want a refusal", s)
	}
	look(t, a)
	moved, err := c.Refresh(t.Context(), got.Receipt)
	if err != nil {
		t.Fatal(err)
	}
	if s := standing(moved); s != "audited" {
		t.Errorf("after the audit: %s", s)
	}
	v, err := receipt.Open(moved, policy)
	if err != nil {
		t.Fatal(err)
	}
	if v.Index != got.Verdict.Index || v.LeafHash != got.Verdict.LeafHash {
		t.Errorf("the refreshed receipt is of entry %d", v.Index)
	}
}
