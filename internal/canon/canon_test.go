package canon_test

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog/internal/canon"
)

// all has a value of every kind.
type all struct {
	Text, Word, Choice string
	Octets             [4]byte
	Some, Register     []byte
	B64, Padded        []byte
	Small              uint8
	Number             uint32
	Wide               uint64
	Yes                bool
	At                 time.Time
	List               []uint32
	Sorted             []string
	Sub                *sub
}

type sub struct{ N uint32 }

func (a *all) code(c *canon.Codec) {
	c.Object(func() {
		canon.Str(c.Member("text"), &a.Text, 8)
		canon.Word(c.Member("word"), "word", &a.Word, 8)
		canon.OneOf(c.Member("choice"), "choice", &a.Choice, []string{"a", "b"})
		c.Member("octets").Hex(a.Octets[:])
		c.OptionalHex("some", &a.Some, 2)
		c.OptionalRegister("register", &a.Register, 2)
		c.OptionalBase64("b64", &a.B64, 5)
		c.Member("padded").PaddedBase64(&a.Padded, 5)
		canon.Uint(c.Member("small"), &a.Small, 8)
		c.Member("number").Uint32(&a.Number)
		c.Member("wide").Uint64(&a.Wide)
		c.Member("yes").Bool(&a.Yes)
		c.Member("at").Time(&a.At)
		canon.List(c.Member("list"), "list", &a.List, 3, c.Uint32)
		canon.Sorted(c, "sorted", &a.Sorted, 4, 3)
		canon.OptionalOf(c, "sub", &a.Sub, func(s *sub) {
			c.Object(func() { c.Member("n").Uint32(&s.N) })
		})
	})
}

func sample() *all {
	return &all{
		Text: `a"\ b`, Word: "w", Choice: "b", Octets: [4]byte{0, 1, 0xab, 0xff}, Some: []byte{0, 0}, Register: []byte{0, 1},
		B64: []byte("12345"), Padded: []byte("1234"), Small: 255, Number: 1<<32 - 1, Wide: 1<<64 - 1, Yes: true,
		At: time.Date(2026, 2, 28, 23, 59, 59, 0, time.UTC), List: []uint32{3, 0, 1}, Sorted: []string{"a", "b"}, Sub: &sub{N: 7},
	}
}

const sampleFile = `{"text":"a\"\\ b","word":"w","choice":"b","octets":"0001abff","some":"0000","register":"0001","b64":"MTIzNDU",` +
	`"padded":"MTIzNA==","small":255,"number":4294967295,"wide":"18446744073709551615","yes":true,"at":"2026-02-28T23:59:59Z",` +
	`"list":[3,0,1],"sorted":["a","b"],"sub":{"n":7}}`

func TestOneFormatReadsAndWrites(t *testing.T) {
	file, err := canon.Write(1000, sample().code)
	if err != nil || string(file) != sampleFile {
		t.Fatalf("%v: have %s\nwant %s", err, file, sampleFile)
	}
	back := new(all)
	if err := canon.Read(file, back.code); err != nil || !reflect.DeepEqual(back, sample()) {
		t.Errorf("%v: have %+v\nwant %+v", err, back, sample())
	}
}

func TestWhatCouldNotBeReadIsNotWritten(t *testing.T) {
	for name, change := range map[string]func(*all){
		"text too long":         func(a *all) { a.Text = "123456789" },
		"text not printable":    func(a *all) { a.Text = "a\n" },
		"text not ASCII":        func(a *all) { a.Text = "ä" },
		"no word":               func(a *all) { a.Word = "" },
		"no choice":             func(a *all) { a.Choice = "c" },
		"octets too few":        func(a *all) { a.Some = []byte{1} },
		"octets too many":       func(a *all) { a.Some = []byte{1, 2, 3} },
		"register of zeros":     func(a *all) { a.Register = []byte{0, 0} },
		"base64 too long":       func(a *all) { a.B64 = []byte("123456") },
		"nothing where needed":  func(a *all) { a.Padded = nil },
		"a year of five digits": func(a *all) { a.At = a.At.AddDate(8000, 0, 0) },
		"list too long":         func(a *all) { a.List = []uint32{1, 2, 3, 4} },
		"list out of order":     func(a *all) { a.Sorted = []string{"b", "a"} },
		"list with a repeat":    func(a *all) { a.Sorted = []string{"a", "a"} },
	} {
		a := sample()
		change(a)
		if file, err := canon.Write(1000, a.code); err == nil {
			t.Errorf("%s: written as %s", name, file)
		}
	}
	if _, err := canon.Write(len(sampleFile)-1, sample().code); err == nil {
		t.Error("a file over the limit was written")
	}
}

func TestWhatIsNotCanonicalIsRefused(t *testing.T) {
	for _, c := range []struct{ name, old, new string }{
		{"white space", `"word":`, `"word": `}, {"member missing", `"word":"w",`, ``}, {"member twice", `"word":"w"`, `"word":"w","word":"w"`},
		{"other member", `"word"`, `"wort"`}, {"order", `"small":255,"number":4294967295`, `"number":4294967295,"small":255`},
		{"leading zero", `255`, `0255`}, {"9 bits", `255`, `256`}, {"33 bits", `4294967295`, `4294967296`}, {"65 bits", `18446744073709551615`, `18446744073709551616`},
		{"wide as a number", `"18446744073709551615"`, `1`}, {"number as a string", `4294967295`, `"1"`}, {"sign", `255`, `+25`}, {"float", `255`, `2.5`},
		{"upper case", `0001abff`, `0001ABFF`}, {"odd digits", `0001abff`, `0001abf`}, {"zero register", `"0001"`, `"0000"`}, {"empty octets", `"some":"0000"`, `"some":""`},
		{"padding in base64url", `MTIzNDU`, `MTIzNDU=`}, {"spare bits", `MTIzNDU`, `MTIzNDV`}, {"no padding", `MTIzNA==`, `MTIzNA`}, {"too many octets", `MTIzNA==`, `MTIzNDU2`},
		{"other escape", `a\"`, `a\/`}, {"control", `a\"`, "a\n"}, {"not ASCII", `a\"`, "\xc3\xa4"}, {"too long", `a\"\\ b`, `123456789`}, {"too long by escapes", `a\"\\ b`, strings.Repeat(`\"`, 9)},
		{"fraction", `59Z`, `59.0Z`}, {"zone", `59Z`, `59+00:00`}, {"a day that is none", `02-28`, `02-30`}, {"true", `true`, `True`},
		{"empty list", `["a","b"]`, `[]`}, {"trailing comma", `[3,0,1]`, `[3,0,]`}, {"list too long", `[3,0,1]`, `[3,0,1,1]`}, {"order of a list", `["a","b"]`, `["b","a"]`},
		{"null", `{"n":7}`, `null`}, {"trailing", `7}}`, `7}} `},
	} {
		changed := strings.Replace(sampleFile, c.old, c.new, 1)
		if changed == sampleFile {
			t.Fatalf("%s: nothing was changed", c.name)
		}
		if err := canon.Read([]byte(changed), new(all).code); err == nil {
			t.Errorf("%s: read", c.name)
		}
	}
	for i := range sampleFile {
		if err := canon.Read([]byte(sampleFile[:i]), new(all).code); err == nil {
			t.Errorf("the first %d bytes were read", i)
		}
	}
}

// FuzzCodec holds a format of every kind of value to its one form.
func FuzzCodec(f *testing.F) {
	f.Add([]byte(sampleFile))
	f.Fuzz(func(t *testing.T, file []byte) {
		a := new(all)
		if canon.Read(file, a.code) != nil {
			return
		}
		if again, err := canon.Write(len(file), a.code); err != nil || !bytes.Equal(again, file) {
			t.Errorf("%q reads, and is written as %q (%v)", file, again, err)
		}
	})
}

// The end of an object is found as by reading it a byte at a time, in every text of 8 of these
// bytes.
func TestObjectsEndWithTheirLastBracket(t *testing.T) {
	text := []byte("{.......")
	var try func(at int)
	try = func(at int) {
		if at == len(text) {
			var got []byte
			err := canon.Read(text, func(c *canon.Codec) { c.Raw(&got, len(text)) })
			if whole := objectEnd(text) == len(text); whole != (err == nil) || whole && !bytes.Equal(got, text) {
				t.Fatalf("%q: %q, %v", text, got, err)
			}
			return
		}
		for _, b := range []byte(`{}]"\a`) {
			text[at] = b
			try(at + 1)
		}
	}
	try(1)
}

func objectEnd(text []byte) int {
	depth, inString := 0, false
	for i := 0; i < len(text); i++ {
		switch b := text[i]; {
		case inString && b == '\\':
			i++
		case b == '"':
			inString = !inString
		case inString:
		case b == '{' || b == '[':
			depth++
		default:
			if b == '}' || b == ']' {
				depth--
			}
			if depth == 0 {
				return i + 1
			}
		}
	}
	return -1
}
