// Package terminal keeps text from outside from steering a terminal, or from reading otherwise than
// it was written: names in certificates, servers' answers, other programs' errors, and files that
// are inspected.
//
// What is invisible or moves other text is shown as a \u escape, as JSON has them: control
// characters (C0 but for line feed and tab, DEL, C1), format characters (marks of direction,
// zero-width characters, tags), separators of lines and paragraphs, fillers without width, and
// bytes that are no UTF-8. So no ANSI sequence survives, and JSON stays the JSON that it was: such
// characters stand in its strings alone.
//
// Commands write to people through a [Writer], which is put around standard output and standard
// error once, so that no command can forget it. The only sequences that pass are those of [Paint],
// which commands write themselves. FuzzWriter and TestStrangersTextIsShownAsEscapes
// are the evidence.
package terminal

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// fillers have no width, and are neither controls nor of the category Cf.
var fillers = &unicode.RangeTable{R16: []unicode.Range16{
	{Lo: 0x034f, Hi: 0x034f, Stride: 1}, {Lo: 0x115f, Hi: 0x1160, Stride: 1}, {Lo: 0x17b4, Hi: 0x17b5, Stride: 1}, {Lo: 0x3164, Hi: 0x3164, Stride: 1},
	{Lo: 0xffa0, Hi: 0xffa0, Stride: 1},
}}

// hidden reports whether a character is shown as an escape.
func hidden(r rune) bool {
	if r < utf8.RuneSelf {
		return r < ' ' && r != '\n' && r != '\t' || r == 0x7f
	}
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, fillers)
}

// appendText appends text with its escapes.
func appendText(dst, text []byte) []byte {
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		switch {
		case r == utf8.RuneError && n == 1:
			dst = fmt.Appendf(dst, `\u%04x`, text[0])
		case !hidden(r):
			dst = append(dst, text[:n]...)
		case r > 0xffff:
			hi, lo := utf16.EncodeRune(r)
			dst = fmt.Appendf(dst, `\u%04x\u%04x`, hi, lo)
		default:
			dst = fmt.Appendf(dst, `\u%04x`, r)
		}
		text = text[n:]
	}
	return dst
}

// Text returns text with its escapes. Line feeds and tabs stay.
func Text(s string) string { return string(appendText(nil, []byte(s))) }

// Line returns text on one line of at most max bytes, and three more where it was cut: white space
// becomes spaces, the rest is as of [Text].
func Line(s string, max int) string {
	s = Text(strings.Join(strings.Fields(s), " "))
	if len(s) > max {
		s = strings.ToValidUTF8(s[:max], "") + "…"
	}
	return s
}

// A Style is a colour that carries meaning: ANSI's parameters of Select Graphic Rendition.
type Style string

// The styles.
const (
	Good Style = "1;32" // what passed
	Bad  Style = "1;31" // what was refused
	Warn Style = "1;33" // what leaves something open
)

// Paint writes text with its escapes, in colour where the writer is a [Writer] with colours.
func Paint(w io.Writer, s Style, text string) error {
	t, ok := w.(*Writer)
	if !ok || !t.colours {
		_, err := io.WriteString(w, text)
		return err
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(t.to, "\x1b[%sm%s\x1b[0m", s, Text(text))
	return err
}

// A Writer writes text with its escapes to another writer. It may be used concurrently.
type Writer struct {
	to      io.Writer
	colours bool

	mu   sync.Mutex // guards what follows
	tail []byte     // the beginning of a character that the next write may end
}

// NewWriter returns a Writer to w.
func NewWriter(w io.Writer) *Writer { return &Writer{to: w} }

// NewColourWriter returns a Writer to a terminal that shows colours.
func NewColourWriter(w io.Writer) *Writer { return &Writer{to: w, colours: true} }

// Unwrap returns what a Writer writes to, for bytes that are no text; another writer is returned as
// it is.
func Unwrap(w io.Writer) io.Writer {
	if t, ok := w.(*Writer); ok {
		return t.to
	}
	return w
}

// Write writes text. A character may be written in parts.
func (w *Writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	text := append(w.tail, p...)
	whole := len(text) - incomplete(text)
	w.tail = bytes.Clone(text[whole:])
	if whole == 0 {
		return len(p), nil
	}
	if _, err := w.to.Write(appendText(nil, text[:whole])); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Flush writes what was begun and not ended.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.tail) == 0 {
		return nil
	}
	_, err := w.to.Write(appendText(nil, w.tail))
	w.tail = nil
	return err
}

// incomplete is the number of bytes at the end of text that may be the beginning of a character.
func incomplete(text []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(text); n++ {
		if last := text[len(text)-n:]; utf8.RuneStart(last[0]) {
			if utf8.FullRune(last) {
				return 0
			}
			return n
		}
	}
	return 0
}
