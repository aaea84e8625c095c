package web_test

import (
	"context"
	"encoding/hex"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/amd"
	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/internal/page/pagetest"
	"github.com/poclog/poclog/monitor"
	"github.com/poclog/poclog/monitor/query/querytest"
	"github.com/poclog/poclog/monitor/web"
	"github.com/poclog/poclog/verify/receipt"
	"github.com/poclog/poclog/verify/tdx"
)

// paste submits the form, and returns where it leads.
func (s *site) paste(what string) string {
	s.t.Helper()
	c := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := c.PostForm(s.url+"/search", url.Values{"what": {what}})
	if err != nil {
		s.t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusSeeOther {
		s.t.Fatalf("%.40q: status %d", what, resp.StatusCode)
	}
	return resp.Header.Get("Location")
}

// searched is a site whose log "log.test/2026" has, as entry 3, what a receipt and a quote of a vector
// say, with a VM's key.
func searched(t *testing.T) (s *site, file, edited string, quote []byte, key string) {
	t.Helper()
	var good, bad struct{ Receipt, Policy string }
	vectorOf(t, "receipts/audited.json", &good)
	vectorOf(t, "receipts/entry-edited.json", &bad)
	platform := chip.NewMaker("search", querytest.Start.AddDate(-1, 0, 0)).NewPlatform("host", nil)
	quote, key = platform.Quote(chip.TD{}), "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----\n"
	parsed, err := tdx.ParseQuote(quote)
	if err != nil {
		t.Fatal(err)
	}
	r, err := poclog.ParseReceipt([]byte(good.Receipt))
	if err != nil {
		t.Fatal(err)
	}
	s = newSite(t, func(c *web.Config) {
		c.Receipts = func(context.Context, string, uint64) ([]byte, error) { return []byte(good.Receipt), nil }
	})
	log, err := s.AddLog(t.Context(), "http://receipts.test", good.Policy)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		s.records = append(s.records, querytest.Proof(i+1, i+1, float64(i), func(rec *monitor.Record) {
			if rec.Origin, rec.Index = log, uint64(i); rec.Index == r.Index {
				rec.Leaf, rec.Chip, rec.Quote = receipt.LeafHash(r.Entry), idOf(platform), parsed.ID()
				s.speaks = map[*monitor.Record]poclog.Digest{rec: poclog.Sum([]byte(key))}
			}
		}))
	}
	return s, good.Receipt, bad.Receipt, quote, key
}

// What is pasted leads to an address with its names, which says clearly what is there, and what is
// not.
func TestSearchByWhatIsPasted(t *testing.T) {
	s, file, edited, quote, key := searched(t)
	report := chipOfAMD().Report(amd.Guest{}, nil)
	other := chip.NewMaker("other", querytest.Start).NewPlatform("other", nil).Quote(chip.TD{})
	for name, c := range map[string]struct{ what, address, says string }{
		"receipt":             {file, "/search?leaf=", "has this entry"},
		"receipt of a form":   {strings.ReplaceAll(file, "\n", "\r\n"), "/search?leaf=", "has this entry"},
		"edited receipt":      {edited, "/search?leaf=", "has another entry there"},
		"cut receipt":         {file[:200], "/search?why=", "begins as a receipt and is none"},
		"quote":               {hex.EncodeToString(quote), "/search?chip=intel", "Its chip is in the logs"},
		"quote in lines":      {"0x" + strings.ToUpper(hex.EncodeToString(quote[:1000])) + "\n" + hex.EncodeToString(quote[1000:]), "/search?chip=intel", "This very quote is in the logs"},
		"another's quote":     {hex.EncodeToString(other), "/search?chip=intel", "No log that is read here has a proof of its chip"},
		"cut quote":           {hex.EncodeToString(quote[:1000]), "/search?why=", "Nothing was searched for"},
		"SNP report":          {hex.EncodeToString(report), "/search?chip=amd", "No log that is read here has a proof of its chip"},
		"key":                 {key, "/search?key=", "1 proof speaks for this file"},
		"key without its end": {strings.TrimSuffix(strings.ReplaceAll(key, "\n", "\r\n"), "\r\n"), "/search?key=", "1 proof speaks for this file"},
		"another key":         {"ssh-ed25519 AAAA nobody@nowhere", "/search?key=", "No proof in the logs that are read here speaks for it"},
		"dossier":             {`{"v":1,"index":"…"}`, "/search?why=", "checks these"},
		"identity":            {" gce:instance:7:3\n", "/search?q=gce", ""},
		"nothing":             {" \r\n", "/search?why=", "nothing is in it"},
		"a name":              {"nobody-has-this", "/search?q=nobody", "Nothing in the logs that are read here"},
	} {
		at := s.paste(c.what)
		if !strings.HasPrefix(at, c.address) {
			t.Errorf("%s: leads to %s: want %s…", name, at, c.address)
			continue
		}
		if c.says == "" {
			s.visit(at, http.StatusSeeOther)
		} else if body, _ := s.visit(at, http.StatusOK); !strings.Contains(body, c.says) {
			t.Errorf("%s: %s does not say %q", name, at, c.says)
		}
	}
	leaf := strings.Repeat("0", 64)
	for path, says := range map[string]string{
		"/search?log=stranger.test&n=1&leaf=" + leaf:     "does not read that log",
		"/search?log=" + origin + "&n=9999&leaf=" + leaf: "has not read so far yet",
		"/search?q=" + hex.EncodeToString(quote[:250]):   "the beginning of a quote",
		"/search?quote=" + strings.Repeat("1", 64):       "masks its chip",
		"/search?why=%3Cscript%3Ealert(1)%3C/script%3E":  "&lt;script&gt;",
	} {
		if body, _ := s.visit(path, http.StatusOK); !strings.Contains(body, says) {
			t.Errorf("%s does not say %q", path, says)
		}
	}
	for _, path := range []string{"/search?quote=x", "/search?key=x", "/search?key=" + leaf, "/search?log=x&n=x&leaf=" + leaf, "/search?log=x&n=1&leaf=x", "/search?quote=" + leaf + "&chip=quote:" + leaf, "/search?" + strings.Repeat("key="+strings.Repeat("1", 64)+"&", 5)} {
		s.visit(path, http.StatusBadRequest)
	}
	resp, err := http.PostForm(s.url+"/search", url.Values{"what": {strings.Repeat("a", 300<<10)}})
	if err != nil {
		t.Fatal(err)
	}
	if resp.Body.Close(); resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("a form of 300 kB: status %d", resp.StatusCode)
	}
}

// A browser finds what a file names without sending it, by the address to which a pasted one leads;
// and from there people come to the chip, to a receipt, and to its check.
func TestSearchInTheBrowser(t *testing.T) {
	pagetest.Browser(t)
	s, file, edited, quote, key := searched(t)
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	receipt, raw, pem, other := write("r", []byte(file)), write("q", quote), write("k", []byte(key)), write("e", []byte(edited))
	text := write("t", []byte(hex.EncodeToString(quote)))
	walk := func(want string, steps ...string) pagetest.Walk {
		return pagetest.Walk{URL: s.url + "/search", Steps: append([]string{"wait ready"}, steps...), Want: want}
	}
	pagetest.Walks(t, map[string]pagetest.Walk{
		"quote to chip to receipt to its check": walk("/verify PASS", "drop "+raw, "click .verdict a[href^='/id/intel']", "click a[href^='/entry']", "click a[href^='/verify?file=']", "wait outcome"),
		"receipt to its entry to its check":     walk("/verify PASS", "choose #file "+receipt, "click .verdict a[href^='/entry']", "click a[href^='/verify?file=']", "wait outcome"),
		"another receipt":                       walk("/search", "drop "+other, "see has another entry there"),
		"key":                                   walk("/search", "drop "+pem, "see 1 proof speaks"),
		"quote that is pasted":                  walk("/search", "fill #what "+text, "click #paste button", "see This very quote is in the logs"),
	})
}

func chipOfAMD() *amd.Chip {
	maker := amd.NewMaker("search", "Milan", querytest.Start)
	return maker.NewChip("chip", maker.DefaultTCB())
}
