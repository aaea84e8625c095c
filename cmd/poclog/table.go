package main

import (
	"encoding/csv"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/terminal"
)

// A column of a table. Where a terminal is too narrow, columns with a drop number are left out, the
// lowest first; 0 stays.
type column struct {
	name string
	drop int
}

// A table is rows of text under columns.
type table struct {
	columns []column
	rows    [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// omit leaves a column out where every row has the value that readers expect.
func (t *table) omit(name, usual string) {
	at := slices.IndexFunc(t.columns, func(c column) bool { return c.name == name })
	if slices.ContainsFunc(t.rows, func(r []string) bool { return r[at] != usual }) {
		return
	}
	t.columns = slices.Delete(t.columns, at, at+1)
	for i, r := range t.rows {
		t.rows[i] = slices.Delete(r, at, at+1)
	}
}

// has reports whether there is a column of a name.
func (t *table) has(name string) bool {
	return slices.ContainsFunc(t.columns, func(c column) bool { return c.name == name })
}

// widthOf is how wide a terminal is, or 0 where the output is none. COLUMNS, if it is exported,
// says it instead, for what is not a terminal, too.
func widthOf(w io.Writer) int {
	if n, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && n > 0 {
		return n
	}
	f, ok := terminal.Unwrap(w).(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// labelled prints a text behind its label. On a terminal it is broken into lines that stand under
// its beginning.
func labelled(w io.Writer, label, text string) {
	fmt.Fprintln(w, terminal.Hang(label, text, widthOf(w)))
}

// painted is labelled with one word of the label in colour.
func painted(w io.Writer, style terminal.Style, word, label, text string) {
	before, after, _ := strings.Cut(terminal.Hang(label, text, widthOf(w)), word)
	fmt.Fprint(w, before)
	_ = terminal.Paint(w, style, word) // as little as Fprint's, its error is not asked for here: the next write has it, too
	fmt.Fprintln(w, after)
}

const gutter = 2

// print writes the table for people, within a width; 0 is any. A cell that lists more than fits
// goes on in the line below.
func (t *table) print(w io.Writer, width int) error {
	kept, widths := t.fit(width)
	line := func(cells []string) error {
		var b strings.Builder
		for i, c := range kept {
			text := clip(cells[c], widths[c])
			b.WriteString(text)
			if i < len(kept)-1 {
				b.WriteString(strings.Repeat(" ", widths[c]-utf8.RuneCountInString(text)+gutter))
			}
		}
		_, err := fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
		return err
	}
	if err := line(t.names()); err != nil {
		return err
	}
	for _, r := range t.rows {
		for more := true; more; {
			now, rest := make([]string, len(r)), make([]string, len(r))
			more = false
			for _, c := range kept {
				now[c], rest[c] = breakList(r[c], widths[c])
				more = more || rest[c] != ""
			}
			if err := line(now); err != nil {
				return err
			}
			r = rest
		}
	}
	return nil
}

// breakList divides a cell behind the last of its items that fit: the comma stays, and the space
// goes.
func breakList(cell string, width int) (now, rest string) {
	if utf8.RuneCountInString(cell) <= width {
		return cell, ""
	}
	at := 0
	for i := range cell {
		if strings.HasPrefix(cell[i:], ", ") && utf8.RuneCountInString(cell[:i+1]) <= width {
			at = i + 1
		}
	}
	if at == 0 { // not even the first fits, and is clipped
		item, others, _ := strings.Cut(cell, ", ")
		return item, others
	}
	return cell[:at], cell[at+1:]
}

func (t *table) names() []string {
	out := make([]string, len(t.columns))
	for i, c := range t.columns {
		out[i] = c.name
	}
	return out
}

// fit chooses columns and their widths. What does not fit with the last of them is clipped where it
// is widest.
func (t *table) fit(width int) (kept []int, widths []int) {
	widths = make([]int, len(t.columns))
	for i, c := range t.columns {
		kept, widths[i] = append(kept, i), utf8.RuneCountInString(c.name)
		for _, r := range t.rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(r[i]))
		}
	}
	total := func() int {
		sum := gutter * (len(kept) - 1)
		for _, c := range kept {
			sum += widths[c]
		}
		return sum
	}
	for width > 0 && total() > width {
		next := -1
		for _, c := range kept {
			if d := t.columns[c].drop; d > 0 && (next < 0 || d < t.columns[next].drop) {
				next = c
			}
		}
		if next < 0 {
			break
		}
		kept = slices.DeleteFunc(kept, func(c int) bool { return c == next })
	}
	for width > 0 && total() > width {
		widest := slices.MaxFunc(kept, func(a, b int) int { return widths[a] - widths[b] })
		if widths[widest] <= 8 {
			break
		}
		widths[widest]--
	}
	return kept, widths
}

// clip shortens a text to a width, behind a word if it has several.
func clip(s string, width int) string {
	if utf8.RuneCountInString(s) <= width {
		return s
	}
	text := string([]rune(s)[:width-1])
	if i := strings.LastIndexByte(text, ' '); i > 0 && s[len(text)] != ' ' {
		text = text[:i]
	}
	return strings.TrimRight(text, " ") + "…"
}

// csv writes the table for spreadsheets, with the columns' names in the first record.
func (t *table) csv(w io.Writer) error {
	out := csv.NewWriter(w)
	names := t.names()
	for i, n := range names {
		names[i] = strings.ReplaceAll(strings.ToLower(n), " ", "_")
	}
	if err := out.Write(names); err != nil {
		return err
	}
	if err := out.WriteAll(t.rows); err != nil {
		return err
	}
	out.Flush()
	return out.Error()
}

// shortHex is how many digits of an identity tables show on a terminal; `monitor show` takes as
// many.
const shortHex = 8

// shortID is an identity as a terminal shows it: the end of its kind, and the beginning of its
// value; of a Compute Engine instance, its end.
func shortID(id poclog.Identity) string {
	kind, value := id.Kind(), id.Value()
	if id == "" {
		return "-"
	}
	kind = kind[strings.LastIndexByte(kind, ':')+1:]
	if id.Kind() == poclog.GCEInstance {
		return "gce:…" + value[max(strings.IndexByte(value, ':')+1, len(value)-shortHex):]
	}
	if len(value) <= shortHex {
		return kind + ":" + value
	}
	return kind + ":" + value[:shortHex] + "…"
}
