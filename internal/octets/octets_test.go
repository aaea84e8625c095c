package octets_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"

	"github.com/poclog/poclog/internal/octets"
)

// want has octets whose base64 and base64url differ.
var want = []byte("\x04\x00\x02\x00\xfb\xff\xfe and what follows it\x00\xff\x80")

func TestFilesAreReadInEveryForm(t *testing.T) {
	digits := hex.EncodeToString(want)
	for form, files := range map[octets.Form][]string{
		octets.Raw: {string(want), "", "\x00", "ab", "neither of them: %"},
		octets.Hex: {digits, strings.ToUpper(digits), "0x" + digits, digits[:20] + "\n" + digits[20:] + "\r\n", `"` + digits + `"`},
		octets.Base64: {
			base64.StdEncoding.EncodeToString(want), base64.RawStdEncoding.EncodeToString(want), base64.URLEncoding.EncodeToString(want),
			base64.RawURLEncoding.EncodeToString(want) + "\n",
		},
		octets.PEM: {string(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: want}))},
	} {
		for _, file := range files {
			got, as := octets.Decode([]byte(file))
			if form == octets.Raw && string(got) != file || form != octets.Raw && !bytes.Equal(got, want) || as != form {
				t.Errorf("%q: %q as %s, want %s", file, got, as, form)
			}
		}
	}
}

func TestMembersAreReadInEveryForm(t *testing.T) {
	list := strings.ReplaceAll(strings.Trim(fmt.Sprint([]byte(want)), "[]"), " ", ",")
	block, _ := json.Marshal(string(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: want})))
	for _, member := range []string{
		`"` + hex.EncodeToString(want) + `"`, `"` + base64.URLEncoding.EncodeToString(want) + `"`, "[" + list + "]", string(block),
	} {
		var got octets.Member
		if err := json.Unmarshal([]byte(member), &got); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%.40s: %q: %v", member, got, err)
		}
	}
	for _, member := range []string{`"%"`, `[256]`, `[-1]`, `[[1]]`, `{}`, `1`, `["a"]`} {
		var got octets.Member
		if err := json.Unmarshal([]byte(member), &got); err == nil {
			t.Errorf("%s is taken for %x", member, got)
		}
	}
	var got octets.Member
	if err := json.Unmarshal([]byte("null"), &got); err != nil || len(got) != 0 {
		t.Errorf("null: %x, %v", got, err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(want)
	f.Add([]byte(hex.EncodeToString(want)))
	f.Add([]byte("-----BEGIN X-----\n-----END X-----\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		if b, form := octets.Decode(file); len(b) > len(file) || form == octets.Raw && !bytes.Equal(b, file) {
			t.Errorf("%d bytes as %s of %d", len(b), form, len(file))
		}
		var m octets.Member
		_ = m.UnmarshalJSON(file) // it must not panic
	})
}
