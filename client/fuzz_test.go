package client

import (
	"encoding/binary"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode"
)

// What parses is what was written: no byte of a bundle is outside the entries that are hashed.
func FuzzEntryBundle(f *testing.F) {
	f.Add([]byte("\x00\x01a\x00\x00\x00\x02bc"), 3)
	f.Add([]byte{}, 0)
	f.Add([]byte("\xff\xff"), 1)
	f.Fuzz(func(t *testing.T, b []byte, n int) {
		if n < 0 || n > tileWidth {
			return
		}
		entries, err := parseEntryBundle(b, n)
		if err != nil {
			return
		}
		var again []byte
		for _, e := range entries {
			again = append(binary.BigEndian.AppendUint16(again, uint16(len(e))), e...)
		}
		if string(again) != string(b) || len(entries) != n {
			t.Errorf("%x is read as %d entries, which are %x", b, len(entries), again)
		}
	})
}

// A log's words reach terminals.
func FuzzProblem(f *testing.F) {
	f.Add(`{"type":"about:blank","detail":"no\u001b[31m","check":"tee.tcb"}`, "5")
	f.Add(`{"detail":"`+strings.Repeat("é", 600)+`"}`, "-1")
	f.Add(strings.Repeat("[", 1<<16), "99999999999999999999")
	f.Fuzz(func(t *testing.T, body, after string) {
		resp := &http.Response{StatusCode: 503, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}
		resp.Header.Set("Content-Type", "application/problem+json")
		resp.Header.Set("Retry-After", after)
		p := readProblem(call{method: "GET", path: "checkpoint"}, resp)
		for _, r := range p.Error() + p.Type {
			if !unicode.IsPrint(r) {
				t.Errorf("%q has %q", p.Error(), r)
			}
		}
		if len(p.Error()) > 1200 || p.RetryAfter < 0 || p.RetryAfter > 1<<20*time.Second {
			t.Errorf("%d bytes, wait %s", len(p.Error()), p.RetryAfter)
		}
	})
}
