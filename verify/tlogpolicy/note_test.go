package tlogpolicy_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	fnote "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"

	"github.com/poclog/poclog/internal/testlog"
)

// What the Go library for signed notes refuses, a policy refuses. Of what it takes, a policy refuses
// known keys' signatures that have another form, and further ones that are wrong. The test changes a
// note byte by byte, and appends lines.
func TestNotesAreReadAsTheLibraryReadsThem(t *testing.T) {
	l := &testlog.Log{Origin: origin, Leaves: [][]byte{{1}, {2}, {3}}}
	key, w, stranger := testlog.LogKey(origin), testlog.WitnessKey("w1.test"), testlog.WitnessKey("stranger.test")
	p := parse(t, "log "+key.VKey, "witness w1 "+w.VKey, "quorum w1")
	logVerifier, err := note.NewVerifier(key.VKey)
	if err != nil {
		t.Fatal(err)
	}
	witnessVerifier, err := fnote.NewVerifierForCosignatureV1(w.VKey)
	if err != nil {
		t.Fatal(err)
	}
	known := note.VerifierList(logVerifier, witnessVerifier)
	good := l.Checkpoint(3, testlog.Cosigner{Signer: key}, testlog.Cosigner{Signer: w, At: at(1)}, testlog.Cosigner{Signer: stranger, At: at(2)})
	lines := bytes.SplitAfter(good[bytes.LastIndex(good, []byte("\n\n"))+2:], []byte("\n"))
	read, refused := 0, 0
	check := func(name string, signed []byte) (ok bool) {
		t.Helper()
		_, theirs := note.Open(signed, known)
		_, ours := p.OpenLogged(signed)
		if theirs != nil && ours == nil {
			t.Errorf("%s: the library refuses %q: %v", name, signed, theirs)
		}
		if ours == nil {
			read++
		} else {
			refused++
		}
		return ours == nil
	}
	if !check("as it was signed", good) {
		t.Fatal("a good checkpoint is refused")
	}
	for i := range good {
		for _, c := range []byte{'\n', '\r', ' ', 'A', good[i] ^ 1, good[i] ^ 0x80} {
			if c != good[i] {
				check(fmt.Sprintf("byte %d is %#02x", i, c), slices.Concat(good[:i], []byte{c}, good[i+1:]))
				check(fmt.Sprintf("%#02x before byte %d", c, i), slices.Concat(good[:i], []byte{c}, good[i:]))
			}
		}
		check(fmt.Sprintf("without byte %d", i), slices.Concat(good[:i], good[i+1:]))
		check(fmt.Sprintf("up to byte %d", i), good[:i])
	}
	t.Logf("%d notes are read, %d refused", read, refused)
	if read < 50 || refused < 1000 {
		t.Error("the changes are not of both kinds")
	}
	another := string(lines[2])
	for _, c := range []struct {
		name, more string
		want       bool
	}{
		{"known lines again", string(lines[0]) + string(lines[1]), true},
		{"a hundred lines", strings.Repeat(another, 97), true},
		{"a line more", strings.Repeat(another, 98), false},
		{"a hundred lines, and a known one", strings.Repeat(another, 97) + string(lines[0]), false},
		{"a stranger's line in another form", "— a AAAAAAB=\n", true},
		{"four octets", "— a AAAAAA==\n", false},
		{"five octets", "— a AAAAAAA=\n", true},
		{"a name without a signature", "— a\n", false},
		{"a signature without a name", "—  AAAAAAA=\n", false},
		{"a name with a plus sign", "— a+b AAAAAAA=\n", false},
		{"a name with another space", "— a\u00a0b AAAAAAA=\n", false},
		{"a name with a control character", "— a\x01b AAAAAAA=\n", false},
		{"a name with an exclamation mark", "— a!b AAAAAAA=\n", true},
		{"a name with DEL", "— a\x7fb AAAAAAA=\n", true},
		{"a name that is no UTF-8", "— a\xff AAAAAAA=\n", false},
		{"a carriage return in base64", "— a AAAA\rAAA=\n", false},
		{"a carriage return at the end", "— a AAAAAAA=\r\n", false},
		{"no line feed", "— a AAAAAAA=", false},
		{"an empty line", "\n", false},
	} {
		if got := check(c.name, append(slices.Clone(good), c.more...)); got != c.want {
			t.Errorf("%s: read: %t", c.name, got)
		}
	}
}
