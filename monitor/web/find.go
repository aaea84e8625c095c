package web

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/httpd"
	"github.com/poclog/poclog/internal/octets"
	"github.com/poclog/poclog/monitor"
	"github.com/poclog/poclog/monitor/query"
	"github.com/poclog/poclog/verify/receipt"
	"github.com/poclog/poclog/verify/snp"
	"github.com/poclog/poclog/verify/tdx"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

// A search takes names in its address: what is typed, or what is in a file. Browsers read the names
// out of a file themselves (js/src/lookfor.ts), so that it stays with them. Without scripts it is
// pasted into a form, whose answer is the same address.

const (
	maxPasted = 256 << 10 // bytes of a form
	maxKeys   = 4         // digests in an address
	keysShown = 50
)

// typed is what is short enough to be a name: an identity, a part of one, hexadecimal, a place.
var typed = regexp.MustCompile(`^[0-9A-Za-z:._/…-]{1,200}$`)

// servePasted leads to the address of what was pasted.
func (s *Server) servePasted(w http.ResponseWriter, r *http.Request) error {
	body, err := s.http.ReadBody(w, r, maxPasted)
	if err != nil {
		return err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return httpd.Refuse(httpd.KindMalformed, "the form: %w", err)
	}
	var names url.Values
	err = s.within(r.Context(), s.judging, "judging", func() (err error) {
		names, err = lookFor([]byte(form.Get("what")))
		return err
	})
	if err != nil {
		names = url.Values{"why": {err.Error()}}
	}
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, "/search?"+names.Encode(), http.StatusSeeOther)
	return nil
}

// lookFor says under which names pasted text is looked for.
func lookFor(text []byte) (url.Values, error) {
	text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
	trimmed := bytes.TrimSpace(text)
	switch {
	case len(trimmed) == 0:
		return nil, errors.New("nothing is in it")
	case bytes.HasPrefix(text, []byte("c2sp.org/tlog-proof@")):
		return namesOfReceipt(text)
	case bytes.HasPrefix(text, []byte(`{"v":1,"rule":`)), bytes.HasPrefix(text, []byte(`{"v":1,"index":`)):
		return nil, errors.New("it is a dossier or a contradiction: the page Verify checks these")
	}
	if names, err := namesOfQuote(trimmed); names != nil || err != nil {
		return names, err
	}
	if typed.Match(trimmed) {
		return url.Values{"q": {string(trimmed)}}, nil
	}
	// The file that was pasted may have ended with the end of a line.
	text = bytes.TrimRight(text, "\n")
	return url.Values{"key": {poclog.Sum(text).String(), poclog.Sum(append(text, '\n')).String()}}, nil
}

func namesOfReceipt(file []byte) (url.Values, error) {
	r, err := poclog.ParseReceipt(file)
	if err != nil {
		return nil, fmt.Errorf("it begins as a receipt and is none: %w", err)
	}
	cp, err := tlogpolicy.ParseCheckpoint(r.Inclusion.Checkpoint)
	if err != nil {
		return nil, fmt.Errorf("its checkpoint: %w", err)
	}
	leaf := receipt.LeafHash(r.Entry)
	return url.Values{"log": {cp.Origin}, "n": {strconv.FormatUint(r.Index, 10)}, "leaf": {hex.EncodeToString(leaf[:])}}, nil
}

// namesOfQuote returns nothing of what is no quote.
func namesOfQuote(text []byte) (url.Values, error) {
	raw, _ := octets.Decode(text)
	names := func(chip poclog.Identity, isChip bool, quote poclog.Identity) url.Values {
		v := url.Values{"quote": {quote.Value()}}
		if isChip {
			v.Set("chip", string(chip))
		}
		return v
	}
	switch {
	case len(raw) > 632 && (raw[0] == 4 || raw[0] == 5) && raw[1] == 0 && raw[4] == 0x81:
		item, err := tdx.TrimQuote(raw)
		if err != nil {
			return nil, err
		}
		q, err := tdx.ParseQuote(item)
		if err != nil {
			return nil, err
		}
		chip, ok := poclog.HexIdentity(poclog.IntelPPID, q.Platform.PPID[:])
		return names(chip, ok, q.ID()), nil
	case len(raw) >= snp.ReportSize && raw[0] >= 2 && raw[0] < 16 && raw[1] == 0 && raw[2] == 0 && raw[3] == 0 && raw[5] == 0:
		r, err := snp.ParseReport(raw[:snp.ReportSize])
		if err != nil {
			return nil, err
		}
		chip, ok := poclog.HexIdentity(poclog.AMDChipID, r.ChipID[:])
		return names(chip, ok, r.ID()), nil
	}
	return nil, nil
}

// A find is what is known of a thing that was searched for by a file of it.
type find struct {
	What string // "receipt", "quote" or "key"
	Why  string // nothing was searched for

	Ref     monitor.EntryRef // of a receipt
	Entry   *monitor.Record  // what the monitor has there
	Other   bool             // it is another entry
	Unread  bool             // the log is followed, and not read so far
	Unknown bool             // the log is not followed

	Chip      poclog.Identity // of a quote
	Quote     poclog.Identity
	ChipTotal int
	Newest    *query.Statement // of the chip

	Keys  []string // digests
	Found []query.Statement
	Total int
}

// findPage answers about names that were in a file; nil: the address has none.
func (s *Server) find(r *http.Request) (f *find, err error) {
	q := r.URL.Query()
	switch {
	case q.Get("why") != "":
		return &find{Why: q.Get("why")}, nil
	case q.Has("leaf"):
		f, err = s.findReceipt(r)
	case q.Has("quote"):
		f, err = s.findQuote(r)
	case q.Has("key"):
		f, err = s.findKey(r)
	}
	return f, err
}

func (s *Server) findReceipt(r *http.Request) (*find, error) {
	ref, err := entryAsked(r)
	if err != nil {
		return nil, err
	}
	leaf, err := poclog.ParseDigest(r.URL.Query().Get("leaf"))
	if err != nil {
		return nil, httpd.Refuse(httpd.KindMalformed, "leaf: %w", err)
	}
	f := &find{What: "receipt", Ref: ref}
	logs, err := s.folder.Logs(r.Context())
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(logs, func(l monitor.LogInfo) bool { return l.Origin == ref.Origin && !l.Removed })
	if i < 0 {
		f.Unknown = true
		return f, nil
	}
	if f.Unread = ref.Index >= logs[i].Next; f.Unread {
		return f, nil
	}
	f.Entry, err = s.record(r, ref)
	f.Other = f.Entry != nil && f.Entry.Leaf != leaf
	return f, err
}

// record returns the record of an entry, or nil.
func (s *Server) record(r *http.Request, ref monitor.EntryRef) (*monitor.Record, error) {
	for rec, err := range s.folder.Records(r.Context(), monitor.Filter{Origin: ref.Origin, From: ref.Index, To: ref.Index + 1}) {
		if err != nil {
			return nil, err
		}
		if rec.Origin == ref.Origin && rec.Index == ref.Index {
			return rec, nil
		}
	}
	return nil, nil
}

func (s *Server) findQuote(r *http.Request) (f *find, err error) {
	f = &find{What: "quote"}
	if f.Quote, err = poclog.ParseIdentity(poclog.QuoteKind + ":" + r.URL.Query().Get("quote")); err != nil {
		return nil, httpd.Refuse(httpd.KindMalformed, "%w", err)
	}
	if text := r.URL.Query().Get("chip"); text != "" {
		if f.Chip, err = poclog.ParseIdentity(text); err != nil || f.Chip.Kind() != poclog.IntelPPID && f.Chip.Kind() != poclog.AMDChipID {
			return nil, httpd.Refuse(httpd.KindMalformed, "chip %.200q: want a PPID or CHIP_ID", text)
		}
	}
	return f, s.within(r.Context(), s.scans, "scans", func() error {
		records := s.folder.Records(r.Context(), monitor.Filter{Identity: f.Quote, Kind: monitor.KindProof})
		if f.Found, f.Total, err = query.Statements(records, f.Quote, keysShown); err != nil || f.Chip == "" {
			return err
		}
		var newest []query.Statement
		newest, f.ChipTotal, err = query.Statements(s.folder.Records(r.Context(), monitor.Filter{Identity: f.Chip, Kind: monitor.KindProof}), f.Chip, 1)
		if len(newest) > 0 {
			f.Newest = &newest[0]
		}
		return err
	})
}

func (s *Server) findKey(r *http.Request) (*find, error) {
	f := &find{What: "key", Keys: r.URL.Query()["key"]}
	if len(f.Keys) > maxKeys {
		return nil, httpd.Refuse(httpd.KindMalformed, "%d digests of keys: want at most %d", len(f.Keys), maxKeys)
	}
	return f, s.within(r.Context(), s.scans, "scans", func() error {
		for _, text := range f.Keys {
			digest, err := poclog.ParseDigest(strings.ToLower(text))
			if err != nil || digest == (poclog.Digest{}) {
				return httpd.Refuse(httpd.KindMalformed, "key %.80q: want the SHA-256 of a key's file, in hexadecimal", text)
			}
			list, total, err := query.Speaking(s.folder.Records(r.Context(), monitor.Filter{UserData: digest, Kind: monitor.KindProof}), keysShown)
			if err != nil {
				return err
			}
			f.Found, f.Total = append(f.Found, list...), f.Total+total
		}
		slices.Reverse(f.Found)
		return nil
	})
}
