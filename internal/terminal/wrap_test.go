package terminal_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/poclog/poclog/internal/terminal"
)

// Commands are not broken in the middle: they fit, or have lines of their own that a shell takes.
func TestCommandsCanBePasted(t *testing.T) {
	const long = "poclog collateral add FILE --alliance-token answer.json --bundle vm.bundle.json"
	for _, c := range []struct {
		text  string
		width int
		want  string
	}{
		{"get it: `poclog refresh FILE`.", 60, "  get it: `poclog refresh FILE`."},
		{"get the newest of all receipts: `poclog refresh FILE -o FILE`. Then go on.", 50, "  get the newest of all receipts:\n  poclog refresh FILE -o FILE\n  Then go on."},
		{"then: `" + long + "`.", 60, "  then:\n  poclog collateral add FILE --alliance-token answer.json \\\n    --bundle vm.bundle.json"},
		{"then: `" + long + "`.", 0, "  then: `" + long + "`."},
		{"an `open quote that never ends", 12, "  an\n  open \\\n    quote \\\n    that \\\n    never \\\n    ends"},
		{"in a guest (`modprobe tdx_guest a b`)", 20, "  in a guest\n  modprobe \\\n    tdx_guest a b"},
		{"", 20, "  "},
	} {
		got := terminal.Wrap(c.text, "  ", c.width)
		if got != c.want {
			t.Errorf("%q at %d:\n%s\nwant:\n%s", c.text, c.width, got, c.want)
		}
		for line := range strings.Lines(got) {
			if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); c.width > 0 && n > c.width {
				t.Errorf("%q at %d: a line of %d", c.text, c.width, n)
			}
		}
	}
	if got, want := terminal.Hang("  to do      ", "`"+long+"`", 70), "  to do\n    poclog collateral add FILE --alliance-token answer.json \\\n      --bundle vm.bundle.json"; got != want {
		t.Errorf("%s\nwant:\n%s", got, want)
	}
}
