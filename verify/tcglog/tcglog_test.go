package tcglog_test

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/poclog/poclog/internal/realdata"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/tcglog"
)

func wantCheck(t *testing.T, name string, err error, want verify.Check) {
	t.Helper()
	if got, ok := verify.CheckOf(err); !ok || got != want {
		t.Errorf("%s: refused by %q (%v): want %q", name, got, err, want)
	}
}

func load(t testing.TB, kind tcglog.Kind, name string) *tcglog.Log {
	t.Helper()
	dir := map[tcglog.Kind]string{tcglog.TPM: "tpm", tcglog.CCEL: "ccel"}[kind]
	raw, err := realdata.EventLog(dir, name)
	if err != nil {
		t.Fatal(err)
	}
	item, err := tcglog.Trim(kind, raw)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	l, err := tcglog.Parse(kind, item)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if !bytes.Equal(l.Marshal(), item) {
		t.Errorf("%s is not written as it was read", name)
	}
	return l
}

func TestRealPairTellsOneStory(t *testing.T) {
	a, b := load(t, tcglog.TPM, realdata.PairTPM), load(t, tcglog.CCEL, realdata.PairCCEL)
	m, err := tcglog.CrossCheck(a, b)
	if err != nil {
		t.Fatal(err)
	}
	if m.String() != "30/39/86" {
		t.Errorf("%s events match: want 30/39/86", m)
	}
	want := tcglog.Match{{Equal: 30, OnlyTPM: 1, OnlyCCEL: 2}, {Equal: 39, OnlyTPM: 4}, {Equal: 86, OnlyTPM: 1}}
	if *m != want {
		t.Errorf("%+v", *m)
	}
	if tech, err := a.GCETechnology(); err != nil || tech != tcglog.GCETechnologyTDX {
		t.Errorf("technology %d: %v", tech, err)
	}
}

func TestForeignAndEditedLogsAreRefused(t *testing.T) {
	a, b := load(t, tcglog.TPM, realdata.PairTPM), load(t, tcglog.CCEL, realdata.PairCCEL)
	check := func(name string, a, b *tcglog.Log) {
		t.Helper()
		_, err := tcglog.CrossCheck(a, b)
		wantCheck(t, name, err, verify.BindPCRRTMR)
	}
	check("two machines of one image (log-swapped)", load(t, tcglog.TPM, "cs251200tpm"), load(t, tcglog.CCEL, "cs251200CCEL"))
	check("another machine's CCEL", a, load(t, tcglog.CCEL, "cos-113-intel-tdx.bin"))
	check("an AMD machine's log", load(t, tcglog.TPM, "ubuntu-2404-amd-sevsnp.bin"), b)
	for i := range a.Events {
		e := a.Events[i]
		if e.Type == 3 || e.Index == 0 || e.Index > 15 || e.Type == 4 || e.Type == 6 {
			continue
		}
		without := *a
		without.Events = append(append([]tcglog.Event(nil), a.Events[:i]...), a.Events[i+1:]...)
		check("an event less", &without, b)
	}
	short := *b
	short.Events = b.Events[:len(b.Events)-1]
	check("a CCEL cut short (log-truncated)", a, &short)
	for at := range a.Events[:len(a.Events)-1] {
		x, y := &a.Events[at], &a.Events[at+1]
		if x.Index != y.Index || x.Index == 0 || x.Type == 4 || y.Type == 4 || x.Type == 3 || y.Type == 3 || bytes.Equal(x.Digests[0], y.Digests[0]) {
			continue
		}
		swapped := *a
		swapped.Events = append([]tcglog.Event(nil), a.Events...)
		swapped.Events[at], swapped.Events[at+1] = swapped.Events[at+1], swapped.Events[at]
		check("two events in another order (log-reordered)", &swapped, b)
	}
	twice := *a
	twice.Events = append(append([]tcglog.Event(nil), a.Events...), a.Events[len(a.Events)-1])
	check("an event twice", &twice, b)
	empty := *b
	empty.Events = nil
	check("an empty log", a, &empty)
}

func TestPaddingAndGarbageAreRefused(t *testing.T) {
	raw, err := realdata.EventLog("ccel", realdata.PairCCEL)
	if err != nil {
		t.Fatal(err)
	}
	item, err := tcglog.Trim(tcglog.CCEL, raw)
	if err != nil {
		t.Fatal(err)
	}
	_, err = tcglog.Parse(tcglog.CCEL, append(bytes.Clone(item), make([]byte, 64)...))
	wantCheck(t, "padding", err, verify.Format)
	_, err = tcglog.Trim(tcglog.CCEL, append(append(bytes.Clone(item), make([]byte, 64)...), 1))
	wantCheck(t, "dirty padding", err, verify.Format)
	_, err = tcglog.Parse(tcglog.CCEL, nil)
	wantCheck(t, "nothing", err, verify.Format)
	_, err = tcglog.Parse(tcglog.CCEL, make([]byte, tcglog.MaxLog+1))
	wantCheck(t, "too much", err, verify.Format)
	legacy := append(make([]byte, 28), 16, 0, 0, 0)
	legacy[4] = 3
	_, err = tcglog.Parse(tcglog.TPM, append(legacy, "Spec ID Event00\x00"...))
	wantCheck(t, "a log of SHA-1 alone", err, verify.Format)
}

// at writes an integer of one to four bytes over a log.
func at(item []byte, offset, size int, v uint32) []byte {
	out := bytes.Clone(item)
	for i := range size {
		out[offset+i] = byte(v >> (8 * i))
	}
	return out
}

func TestMalformedLogsAreRefused(t *testing.T) {
	ofTPM, ofTD := load(t, tcglog.TPM, realdata.PairTPM), load(t, tcglog.CCEL, realdata.PairCCEL)
	a, b := ofTPM.Marshal(), ofTD.Marshal()
	first := len(a) // offset of the first event
	for i := range ofTPM.Events {
		first -= eventSize(ofTPM, i)
	}
	const algorithms = 32 + 16 + 8
	locality := func(data string, where int) []byte {
		l := *ofTPM
		l.Events = slices.Insert(slices.Clone(l.Events), where, tcglog.Event{
			Type: 3, Digests: [][]byte{make([]byte, 20), make([]byte, 32), make([]byte, 48)}, Data: []byte(data),
		})
		return l.Marshal()
	}
	one := locality("StartupLocality\x00\x03", 0)
	two := slices.Concat(one[:first+12+6+100+4+17], one[first:])
	for _, tt := range []struct {
		desc, detail string
		kind         tcglog.Kind
		item         []byte
	}{
		{"header of PCR 1", "header of register 1", tcglog.TPM, at(a, 0, 4, 1)},
		{"header of register 2", "header of register 2", tcglog.CCEL, at(b, 0, 4, 2)},
		{"measured header", "want EV_NO_ACTION", tcglog.TPM, at(a, 4, 4, 8)},
		{"header with a digest", "want zeros", tcglog.TPM, at(a, 8, 1, 1)},
		{"header longer than the log", "are left", tcglog.TPM, at(a, 28, 4, 1<<31)},
		{"no algorithm", "0 algorithms", tcglog.TPM, at(a, algorithms, 4, 0)},
		{"six algorithms", "6 algorithms", tcglog.TPM, at(a, algorithms, 4, 6)},
		{"2³² − 1 algorithms", "4294967295 algorithms", tcglog.TPM, at(a, algorithms, 4, 1<<32-1)},
		{"fewer algorithms than are listed", "header", tcglog.TPM, at(a, algorithms, 4, 2)},
		{"SHA-256 of 48 bytes", "digests of 48 bytes", tcglog.TPM, at(a, algorithms+4+4+2, 2, 48)},
		{"an algorithm twice", "twice", tcglog.TPM, at(at(a, algorithms+4+4, 2, 4), algorithms+4+4+2, 2, 20)},
		{"no SHA-384", "no SHA-384", tcglog.TPM, at(at(a, algorithms+4+8, 2, 13), algorithms+4+8+2, 2, 64)},
		{"vendor information past the header", "are left", tcglog.TPM, at(a, algorithms+4+12, 1, 255)},
		{"PCR 24", "PCR 24", tcglog.TPM, at(at(a, first, 4, 24), first+4, 4, 8)},
		{"a measurement of no PCR", "PCR 4294967295", tcglog.TPM, at(at(a, first, 4, 1<<32-1), first+4, 4, 8)},
		{"no digest", "digest count 0", tcglog.TPM, at(a, first+8, 4, 0)},
		{"a digest less", "digest count 2", tcglog.TPM, at(a, first+8, 4, 2)},
		{"2³² − 1 digests", "digest count 4294967295", tcglog.TPM, at(a, first+8, 4, 1<<32-1)},
		{"digests in another order", "digest 0 of algorithm", tcglog.TPM, at(a, first+12, 2, 11)},
		{"data longer than the log", "are left", tcglog.TPM, at(a, first+12+6+100, 4, 1<<32-1)},
		{"locality 5", "StartupLocality", tcglog.TPM, locality("StartupLocality\x00\x05", 0)},
		{"no locality", "StartupLocality", tcglog.TPM, locality("StartupLocality\x00", 0)},
		{"a locality too late", "StartupLocality", tcglog.TPM, locality("StartupLocality\x00\x03", 3)},
		{"two localities", "StartupLocality", tcglog.TPM, two},
		{"a CCEL with more than SHA-384", "SHA-384 alone", tcglog.CCEL, a},
		{"a TD's log as a TPM's", "header of register 1", tcglog.TPM, b},
	} {
		_, err := tcglog.Parse(tt.kind, tt.item)
		wantCheck(t, tt.desc, err, verify.Format)
		if err != nil && !strings.Contains(err.Error(), tt.detail) {
			t.Errorf("%s: %q does not say %q", tt.desc, err, tt.detail)
		}
	}
	for n := range ofTD.Marshal() {
		l, err := tcglog.Parse(tcglog.CCEL, b[:n])
		if err != nil {
			wantCheck(t, "cut short", err, verify.Format)
			continue
		}
		if len(l.Events) >= len(ofTD.Events) || len(l.Marshal()) != n {
			t.Errorf("cut to %d bytes, the log has %d events in %d bytes", n, len(l.Events), len(l.Marshal()))
		}
	}
}

func TestRegisterOfCCELEvents(t *testing.T) {
	l := load(t, tcglog.CCEL, realdata.PairCCEL)
	for _, tt := range []struct {
		index, typ uint32
		ok         bool
	}{{0, 3, true}, {4, 3, true}, {5, 3, false}, {0, 8, false}, {1, 8, true}, {4, 8, true}, {5, 8, false}, {1<<32 - 1, 3, false}} {
		l.Events = []tcglog.Event{{Index: tt.index, Type: tt.typ, Digests: [][]byte{make([]byte, 48)}}}
		if _, err := tcglog.Parse(tcglog.CCEL, l.Marshal()); (err == nil) != tt.ok {
			t.Errorf("type %d in register %d: %v", tt.typ, tt.index, err)
		}
	}
}

// What is allocated is bounded by the input, whatever lengths it claims: the worst is a log of the
// shortest events.
func TestParsingAllocatesInProportion(t *testing.T) {
	l := load(t, tcglog.CCEL, realdata.PairCCEL)
	short := tcglog.Event{Index: 1, Type: 8, Digests: [][]byte{make([]byte, 48)}}
	l.Events = slices.Repeat([]tcglog.Event{short}, 7000)
	worst := l.Marshal()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := tcglog.Parse(tcglog.CCEL, worst)
	runtime.ReadMemStats(&after)
	if err != nil {
		t.Fatal(err)
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > 16*uint64(len(worst)) {
		t.Errorf("%d bytes allocated for a log of %d", got, len(worst))
	}
	l.Events = slices.Repeat([]tcglog.Event{short}, 8193)
	_, err = tcglog.Parse(tcglog.CCEL, l.Marshal())
	wantCheck(t, "8193 events", err, verify.Format)
	if err == nil || !strings.Contains(err.Error(), "more than 8192 events") {
		t.Errorf("8193 events: %v", err)
	}
}

// Unknown types of events are data: two logs of one story may have any.
func TestUnknownEventTypesAreData(t *testing.T) {
	a := load(t, tcglog.TPM, realdata.PairTPM)
	raw := bytes.Clone(a.Marshal())
	offset := len(raw) - eventSize(a, len(a.Events)-1)
	for _, kind := range []uint32{0x800000e1, 0x800000e4, 0xdeadbeef, 0x7fffffff} {
		binary.LittleEndian.PutUint32(raw[offset+4:], kind)
		l, err := tcglog.Parse(tcglog.TPM, raw)
		if err != nil {
			t.Errorf("type %#x: %v", kind, err)
		} else if got := l.Events[len(l.Events)-1].Type; got != kind {
			t.Errorf("type %#x is read as %#x", kind, got)
		}
	}
}

func eventSize(l *tcglog.Log, i int) int {
	n := 12 + 4 + len(l.Events[i].Data)
	for _, d := range l.Events[i].Digests {
		n += 2 + len(d)
	}
	return n
}

// What an appraisal does with two logs: parse, replay against what was signed, compare.
func BenchmarkParseReplayCrossCheck(b *testing.B) {
	m := honest(b)
	rawTPM, rawTD := m.tpm.Marshal(), m.td.Marshal()
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if m.tpm, err = tcglog.Parse(tcglog.TPM, rawTPM); err != nil {
			b.Fatal(err)
		}
		if m.td, err = tcglog.Parse(tcglog.CCEL, rawTD); err != nil {
			b.Fatal(err)
		}
		if err := m.check(); err != nil {
			b.Fatal(err)
		}
	}
}
