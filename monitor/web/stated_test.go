package web_test

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/endorser"
	"github.com/poclog/poclog/monitor"
	"github.com/poclog/poclog/monitor/query/querytest"
	"github.com/poclog/poclog/monitor/web"
	"github.com/poclog/poclog/verify/vouch/registry"
)

func (s *site) Statements(_ context.Context, f monitor.StatedFilter) iter.Seq2[*monitor.Stated, error] {
	list := slices.Clone(s.stated)
	if f.Newest {
		slices.Reverse(list)
	}
	return func(yield func(*monitor.Stated, error) bool) {
		n := 0
		for _, x := range list {
			st := &x.Entry.Envelope.Statement
			if f.Subject != "" && st.Subject != f.Subject || f.Registrar != "" && st.Registrar != f.Registrar || f.Ref.Origin != "" && f.Ref != (monitor.EntryRef{Origin: x.Origin, Index: x.Index}) {
				continue
			}
			if n++; n > f.Skip && (f.Most == 0 || n <= f.Skip+f.Most) && !yield(x, nil) {
				return
			}
		}
	}
}

func (s *site) Registrars(context.Context) (list []monitor.Stating, err error) {
	for _, x := range s.stated {
		st := &x.Entry.Envelope.Statement
		i := slices.IndexFunc(list, func(c monitor.Stating) bool { return c.Registrar == st.Registrar })
		if i < 0 {
			list, i = append(list, monitor.Stating{Registrar: st.Registrar, First: x.Seen}), len(list)
		}
		list[i].Statements, list[i].Subjects, list[i].Last = list[i].Statements+1, list[i].Subjects+1, x.Seen
	}
	return list, nil
}

// state has a registrar's statement be the next entry, signed by as many members as it needs.
func (s *site) state(by *endorser.Registrar, x poclog.Statement) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	x.Origin, x.Serial = origin, uint32(len(s.stated)+1)
	e := &poclog.StatementEntry{Envelope: *by.State(x, max(by.Thresholds.Endorse, by.Thresholds.Freeze)), Policy: poclog.BlobOf([]byte("policy")), Time: querytest.Start}
	for i := range e.Envelope.Signatures {
		e.Signers = append(e.Signers, poclog.Digest{byte(i + 1)})
	}
	n := uint64(len(s.records))
	s.stated = append(s.stated, &monitor.Stated{Origin: origin, Index: n, Seen: querytest.Start, Entry: e})
	s.records = append(s.records, &monitor.Record{Kind: monitor.KindStatement, Appraised: querytest.Start, Origin: origin, Index: n})
}

const (
	hostileName  = `<script>alert("name")</script>`
	hostileLabel = `"><img src=x onerror=alert(1)>` + "&amp;"
)

// registered is a site where one registrar that is pinned endorsed three machines, froze the second
// and revoked the third, and one that nobody pins says what it likes.
func registered(t *testing.T) *site {
	t.Helper()
	alliance, stranger := endorser.NewRegistrar("pages", "Alliance", 3), endorser.NewRegistrar("pages", hostileName, 1)
	s := explored(t, func(c *web.Config) {
		pins, err := registry.New([]poclog.Registrar{alliance.Policy()})
		if err != nil {
			t.Fatal(err)
		}
		c.Pins = pins
	})
	endorse := func(by *endorser.Registrar, n int, label string, documents ...poclog.Document) {
		s.state(by, poclog.Statement{Type: poclog.Endorse, Subject: querytest.PPID(n), Level: 1, Method: "visit", Label: label, From: querytest.Hours(-1), Until: querytest.Hours(1000), Documents: documents})
	}
	page := []byte("<script>alert(2)</script>")
	endorse(alliance, 1, "rack 1")
	endorse(alliance, 2, "rack 2")
	endorse(alliance, 3, "rack 3", poclog.Document{SHA256: poclog.Sum(page), Size: uint32(len(page)), Type: "text/html"},
		poclog.Document{SHA256: poclog.Digest{0xff}, Size: 5, Type: "image/png", URL: "https://registrar.test/photograph"})
	s.state(alliance, poclog.Statement{Type: poclog.Freeze, Subject: querytest.PPID(2), Text: "a report"})
	s.state(alliance, poclog.Statement{Type: poclog.Revoke, Subject: querytest.PPID(3), Since: querytest.Hours(-0.5), Reason: "machine-sold"})
	s.state(alliance, poclog.Statement{Type: poclog.Commit, Root: poclog.Digest{7}, Count: 10_000, Level: 1, From: querytest.Start, Until: querytest.Hours(9)})
	endorse(stranger, 4, hostileLabel+strings.Repeat("x", 80))
	return s
}

// The pages of registrars say whom the operator pins, what each says of which machine, and that these
// are its words; strings are text, and documents are downloads.
func TestRegistrarsPages(t *testing.T) {
	s := registered(t)
	list, _ := s.visit("/registrars", http.StatusOK)
	for _, want := range []string{">Alliance</bdi></a> <span class=\"tag good\">pinned", "<td class=\"n\">1</td><td class=\"n\">1</td><td class=\"n\">1</td>", "not pinned here: not counted"} {
		if !strings.Contains(list, want) {
			t.Errorf("the list lacks %q", want)
		}
	}
	one, _ := s.visit("/registrar?name=Alliance", http.StatusOK)
	for _, want := range []string{"the registrar's words", "2 to endorse", "of 3", ">endorsed</span>", ">frozen</span>", ">revoked</span> since", "machine-sold", "10000 machines", `href="/id/` + string(querytest.PPID(3))} {
		if !strings.Contains(one, want) {
			t.Errorf("the page of a registrar lacks %q", want)
		}
	}
	if !strings.Contains(one, ">text/html</a>") || !strings.Contains(one, `href="http://log.test/v1/evidence/sha256/`+poclog.Sum([]byte("<script>alert(2)</script>")).String()+`" download`) {
		t.Error("a document that the log keeps is no download")
	}
	other, _ := s.visit("/registrar?"+url.Values{"name": {hostileName}}.Encode(), http.StatusOK)
	if !strings.Contains(other, "does not pin it") || strings.Contains(other, "endorsed now") || !strings.Contains(other, html.EscapeString(hostileName)) {
		t.Error("a registrar that nobody pins counts, or is not there")
	}
	entry, _ := s.visit("/entry?"+url.Values{"log": {origin}, "n": {"83"}}.Encode(), http.StatusOK)
	if !strings.Contains(entry, "A registrar's words") || !strings.Contains(entry, "rack 2") {
		t.Errorf("the page of a statement's entry: %s", entry)
	}
	chip, _ := s.visit("/id/"+string(querytest.PPID(3)), http.StatusOK)
	if !strings.Contains(chip, `class="verdict warn"`) || !strings.Contains(chip, "revoked it.</strong>") {
		t.Error("the page of a chip that was revoked looks well at a glance")
	}
	if !strings.Contains(chip, "revoked since") || !strings.Contains(chip, "not kept by the log") {
		t.Error("the page of a chip does not say that it is revoked, or has no documents")
	}
	all, _ := s.visit("/statements?from=3", http.StatusOK)
	if !strings.Contains(all, "4 to 7 of 7") {
		t.Error("the list of statements leaves out others than the first three")
	}
	seen := make(map[string]string)
	s.walk("/registrars", seen)
	for path, body := range seen {
		if strings.HasPrefix(path, "/assets/") || !strings.HasPrefix(body, "<!DOCTYPE html>") {
			continue
		}
		for n := range mustParse(t, body).Descendants() {
			if n.Data == "img" || n.Data == "script" && n.FirstChild != nil {
				t.Errorf("%s has an element %s", path, n.Data)
			}
		}
	}
	for path, rows := range map[string]string{"/registrars?as=csv": "Alliance,true,3,6,", "/registrar?name=Alliance&as=csv": "revoked,rack 3,1," + origin} {
		if body, _ := s.visit(path, http.StatusOK); !strings.Contains(body, rows) {
			t.Errorf("%s: %s: want %s", path, body, rows)
		}
	}
	s.visit("/registrar?name=Nobody", http.StatusNotFound)
	s.visit("/registrar?name=Alliance&as=json", http.StatusOK)
}
