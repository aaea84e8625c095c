package terminal_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/poclog/poclog/internal/terminal"
)

func TestStrangersTextIsShownAsEscapes(t *testing.T) {
	for in, want := range map[string]string{
		"plain text\n\twith – marks":         "plain text\n\twith – marks",
		"Zürich, 東京, Ελλάδα, 🙂":              "Zürich, 東京, Ελλάδα, 🙂",
		"\x1b[2J\x1b[1;31mred":               `\u001b[2J\u001b[1;31mred`,
		"over\rwritten\b\b\x07":              `over\u000dwritten\u0008\u0008\u0007`,
		"\u009b2J and \u0085":                `\u009b2J and \u0085`,
		"\x9b2J":                             `\u009b2J`,
		"del\x7f nul\x00":                    `del\u007f nul\u0000`,
		"\u202egnp.exe\u202c":                `\u202egnp.exe\u202c`,
		"\u2066a\u2067b\u2068c\u2069":        `\u2066a\u2067b\u2068c\u2069`,
		"\u200e\u200f\u061c":                 `\u200e\u200f\u061c`,
		"zero\u200b\u200c\u200d\u2060\ufeff": `zero\u200b\u200c\u200d\u2060\ufeff`,
		"soft\u00adhyphen":                   `soft\u00adhyphen`,
		"lines\u2028and\u2029paragraphs":     `lines\u2028and\u2029paragraphs`,
		"fillers\u3164\u115f\u034f":          `fillers\u3164\u115f\u034f`,
		"tags\U000e0041":                     `tags\udb40\udc41`,
		"half \xe2\x80":                      `half \u00e2\u0080`,
		"surrogate \xed\xa0\x80":             `surrogate \u00ed\u00a0\u0080`,
	} {
		if got := terminal.Text(in); got != want {
			t.Errorf("%q: %q: want %q", in, got, want)
		}
		// Written in any parts it is the same.
		for cut := range len(in) + 1 {
			var b bytes.Buffer
			w := terminal.NewWriter(&b)
			for _, part := range []string{in[:cut], in[cut:]} {
				if n, err := w.Write([]byte(part)); n != len(part) || err != nil {
					t.Fatal(n, err)
				}
			}
			if err := w.Flush(); err != nil || b.String() != want {
				t.Errorf("%q in two parts: %q: want %q: %v", in, b.String(), want, err)
			}
		}
	}
}

func TestLineIsOneLine(t *testing.T) {
	for in, want := range map[string]string{
		"  a\n\nb\r\nc\td ": "a b c d", "a\x1b[2J": `a\u001b[2J`, "a\u2028b": "a b", strings.Repeat("ä", 20): strings.Repeat("ä", 10) + "…",
	} {
		if got := terminal.Line(in, 20); got != want {
			t.Errorf("%q: %q: want %q", in, got, want)
		}
	}
}

func TestUnwrapGivesTheWriterBelow(t *testing.T) {
	if terminal.Unwrap(terminal.NewWriter(os.Stdout)) != os.Stdout || terminal.Unwrap(os.Stderr) != os.Stderr {
		t.Error("another writer")
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestErrorsOfTheWriterBelowAreTold(t *testing.T) {
	if n, err := terminal.NewWriter(broken{}).Write([]byte("x")); n != 0 || err == nil {
		t.Error(n, err)
	}
}

// Whatever is written, nothing that steers a terminal comes out; text that needs no escape comes
// out as it was; JSON stays the same JSON.
func FuzzWriter(f *testing.F) {
	for _, s := range []string{"", "a\x1b[2J", "\u202e", "\xe2\x80", "\x9b", "\U000e0041", "{\"a\":\"\u200f\u0085\"}"} {
		f.Add([]byte(s), 1)
	}
	f.Fuzz(func(t *testing.T, text []byte, cut int) {
		if len(text) > 0 {
			cut = ((cut % len(text)) + len(text)) % len(text)
		} else {
			cut = 0
		}
		var b bytes.Buffer
		w := terminal.NewWriter(&b)
		for _, part := range [][]byte{text[:cut], text[cut:]} {
			if _, err := w.Write(part); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		out := b.String()
		if !utf8.ValidString(out) {
			t.Fatalf("%q is no UTF-8", out)
		}
		harmless := utf8.Valid(text)
		for _, r := range string(text) {
			harmless = harmless && (r == '\n' || r == '\t' || unicode.IsPrint(r))
		}
		for _, r := range out {
			if r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || unicode.Is(unicode.Cf, r)) {
				t.Errorf("%q: %U comes out", text, r)
			}
		}
		if out != terminal.Text(string(text)) {
			t.Errorf("%q: in two parts %q", text, out)
		}
		if strings.ContainsAny(out, "\x1b\r\b\x7f") || harmless && !strings.ContainsAny(string(text), "\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0") && out != string(text) {
			t.Errorf("%q: %q", text, out)
		}
		s, err := json.Marshal(string(text))
		if err != nil {
			t.Fatal(err)
		}
		var before, after string
		if json.Unmarshal(s, &before) != nil || json.Unmarshal([]byte(terminal.Text(string(s))), &after) != nil || before != after {
			t.Errorf("%q: JSON %q reads %q", text, s, after)
		}
	})
}

// Colours are our own: they stand around a text, and nothing in it passes.
func TestPaintedTextCannotSteerEither(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(io.Writer) *terminal.Writer
		want string
	}{
		{"a terminal with colours", terminal.NewColourWriter, "é\x1b[1;31mFA\\u001b[2JIL\x1b[0m."},
		{"none", terminal.NewWriter, "éFA\\u001b[2JIL."},
	} {
		var out bytes.Buffer
		w := c.make(&out)
		fmt.Fprint(w, "é")
		if err := terminal.Paint(w, terminal.Bad, "FA\x1b[2JIL"); err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(w, ".")
		if out.String() != c.want {
			t.Errorf("%s: %q, want %q", c.name, out.String(), c.want)
		}
	}
	var plain bytes.Buffer
	if err := terminal.Paint(&plain, terminal.Good, "PASS"); err != nil || plain.String() != "PASS" {
		t.Errorf("%q, %v", plain.String(), err)
	}
}
