package log_test

import (
	"bytes"
	"errors"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/log"
	"github.com/poclog/poclog/verify/dossier"
	"github.com/poclog/poclog/verify/index"
	"github.com/poclog/poclog/verify/receipt"
)

const indexEvery = 200 * time.Millisecond

// ask asks for a dossier until its index covers a size, with all its pages.
func ask(t *testing.T, l *testLog, names []string, size uint64) *dossier.Answer {
	t.Helper()
	c, err := client.New(client.Config{URL: l.url, Policy: l.policy})
	if err != nil {
		t.Fatal(err)
	}
	for {
		d, err := c.Dossier(t.Context(), client.DossierOf{Names: names, Intervals: true})
		var p *client.Problem
		if errors.As(err, &p) && p.Temporary() {
			wait(t)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		file, err := d.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		a, err := dossier.Check(file, l.policy, time.Now(), dossier.Demands{UnsafeRealm: poclog.Lab, Names: names})
		if err != nil {
			t.Fatal(err)
		}
		if a.Size >= size {
			return a
		}
		wait(t)
	}
}

// wait lets the log get on: nothing is judged by how long.
func wait(t testing.TB) {
	select {
	case <-t.Context().Done():
		t.Fatal("the test ended while waiting")
	case <-time.After(20 * time.Millisecond):
	}
}

func TestLogsAnswerWithDossiers(t *testing.T) {
	l := serve(t, initLog(t), log.Config{IndexInterval: indexEvery})
	first, err := l.client.Submit(t.Context(), quoteSubmission(t))
	if err != nil {
		t.Fatal(err)
	}
	chip := first.Verdict.Entry.Chip()
	absent := "intel:tdx:ppid:" + strings.Repeat("99", 16)
	names := append(dossier.NamesFor(first.Verdict.Entry), "config", absent)
	a := ask(t, l, names, first.Verdict.Index+1)
	if err := a.Clears(first.Verdict); err != nil {
		t.Error(err)
	}
	for _, n := range a.Names {
		want := map[string][]uint64{"config": {0}, absent: {}, index.Unproven + string(chip): {first.Verdict.Index}}[n.Name]
		if want != nil && !slices.Equal(n.Numbers, want) {
			t.Errorf("%s: %v, want %v", n.Name, n.Numbers, want)
		}
	}
	second, err := l.client.Submit(t.Context(), azureSubmission(t))
	if err != nil {
		t.Fatal(err)
	}
	a = ask(t, l, dossier.NamesFor(second.Verdict.Entry), second.Verdict.Index+1)
	if err := a.Clears(second.Verdict); err != nil {
		t.Error(err)
	}
	if r := l.fsck(t); len(r.Findings) > 0 || r.Indexes == 0 {
		t.Errorf("fsck: %+v", r)
	}
	resp, text := get(t, l.url+"/v1/index")
	v, err := receipt.Open([]byte(text), l.policy)
	if err != nil || v.IndexEntry == nil || resp.Header.Get("Content-Type") != poclog.ReceiptType {
		t.Errorf("the newest index entry's receipt: %v", err)
	}
}

func TestQuestionsThatADossierCannotAnswer(t *testing.T) {
	l := serve(t, initLog(t), log.Config{IndexInterval: indexEvery})
	ask(t, l, []string{"config"}, 1)
	many := url.Values{}
	for i := range 65 {
		many.Add("name", "publisher:"+poclog.Sum([]byte{byte(i)}).String())
	}
	for what, query := range map[string]string{
		"no name": "", "a quote": "name=quote:" + strings.Repeat("1", 64), "nonsense": "name=x", "too many names": many.Encode(),
		"a time that is none": "name=config&since=yesterday", "a tree beyond the log": "name=config&tree=99999&index=1&after=0", "a number that is none": "name=config&after=-1",
		"a page after the last": "name=config&tree=2&index=2&after=1",
	} {
		resp, text := get(t, l.url+"/v1/dossiers?"+query)
		if resp.StatusCode != http.StatusBadRequest || strings.Count(text, "\n") > 1 {
			t.Errorf("%s: %s: %s", what, resp.Status, text)
		}
	}
}

// A log that starts again goes on with its index; one whose index is lost or damaged makes it anew,
// and it is equal.
func TestIndexesSurviveRestartsAndLoss(t *testing.T) {
	dir := initLog(t)
	var names []string
	for i, damage := range []func(path string) error{
		func(string) error { return nil },
		os.Remove,
		func(path string) error { return os.Truncate(path, 100) },
		func(path string) error { return os.WriteFile(path, bytes.Repeat([]byte("no database "), 1000), 0o600) },
	} {
		l := openOnly(t, dir, log.Config{IndexInterval: indexEvery})
		sub := quoteSubmission(t)
		if i%2 == 1 {
			sub = azureSubmission(t)
		}
		got, err := l.client.Submit(t.Context(), sub)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, dossier.NamesFor(got.Verdict.Entry)...)
		a := ask(t, l, names, got.Verdict.Index+1)
		if err := a.Clears(got.Verdict); err != nil {
			t.Errorf("start %d: %v", i, err)
		}
		if r := l.fsck(t); len(r.Findings) > 0 {
			t.Errorf("start %d: %+v", i, r.Findings)
		}
		if err := l.svc.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, suffix := range []string{"-wal", "-shm"} {
			os.Remove(filepath.Join(dir, "state", "index.db"+suffix))
		}
		if err := damage(filepath.Join(dir, "state", "index.db")); err != nil {
			t.Fatal(err)
		}
	}
}

// openOnly serves a log that the test closes itself.
func openOnly(t *testing.T, dir string, cfg log.Config) *testLog {
	t.Helper()
	return serve(t, dir, cfg)
}
