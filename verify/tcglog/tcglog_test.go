package tcglog_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/google/go-eventlog/register"
	"github.com/google/go-eventlog/tcg"

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

// oracle replays a CCEL with go-eventlog against the registers that we computed: it must agree. It panics or dies on some inputs, which are
// not for it to judge.
func oracleAccepts(item []byte, registers [4][]byte) (ok, judged bool) {
	defer func() {
		if recover() != nil {
			judged = false
		}
	}()
	var mrs []register.MR
	for i, value := range registers {
		mrs = append(mrs, register.RTMR{Index: i, Digest: value})
	}
	_, err := tcg.ParseAndReplay(item, mrs, tcg.ParseOpts{})
	return err == nil, true
}

func TestReplayAgreesWithGoEventlog(t *testing.T) {
	for _, name := range []string{realdata.PairCCEL, "cos-113-intel-tdx.bin", "cs251200CCEL"} {
		l := load(t, tcglog.CCEL, name)
		registers, err := l.RTMRs()
		if err != nil {
			t.Fatal(err)
		}
		var used [4][]byte
		for i := range registers {
			used[i] = registers[i][:]
		}
		if ok, judged := oracleAccepts(l.Marshal(), used); judged && !ok {
			t.Errorf("%s: go-eventlog replays other registers", name)
		}
		if err := l.CheckRTMRs(&registers); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for i := range 3 {
			forged := registers
			forged[i][0] ^= 1
			wantCheck(t, "another RTMR (rtmr-forged)", l.CheckRTMRs(&forged), verify.BindPCRRTMR)
		}
		forged := registers
		forged[3][0] = 1
		wantCheck(t, "a register without events that does not hold zeros", l.CheckRTMRs(&forged), verify.BindPCRRTMR)
	}
}

func FuzzParse(f *testing.F) {
	for _, kind := range []tcglog.Kind{tcglog.TPM, tcglog.CCEL} {
		l := load(f, kind, realdata.PairTPM)
		raw := l.Marshal()
		f.Add(kind == tcglog.TPM, raw[:min(len(raw), 2000)])
		f.Add(kind == tcglog.TPM, raw)
	}
	f.Fuzz(func(t *testing.T, isTPM bool, item []byte) {
		kind := tcglog.CCEL
		if isTPM {
			kind = tcglog.TPM
		}
		l, err := tcglog.Parse(kind, item)
		if err != nil {
			if _, ok := verify.CheckOf(err); !ok {
				t.Error(err)
			}
			return
		}
		if !bytes.Equal(l.Marshal(), item) {
			t.Error("not written as it was read")
		}
		_, _ = tcglog.CrossCheck(l, l)
		_, _ = l.GCETechnology()
		if isTPM {
			return
		}
		registers, err := l.RTMRs()
		if err != nil {
			return
		}
		var used [4][]byte
		for i := range registers {
			used[i] = registers[i][:]
		}
		if known(l) {
			if ok, judged := oracleAccepts(item, used); judged && !ok {
				t.Skip() // go-eventlog also reads event data, and refuses some
			}
		}
	})
}

// known reports whether go-eventlog survives a log's event types.
func known(l *tcglog.Log) bool {
	for _, e := range l.Events {
		if e.Type > 0x1000 && (e.Type < 0x80000000 || e.Type > 0x80000010) || e.Type < 0x80000000 && e.Type > 0x14 {
			return false
		}
	}
	return true
}

func BenchmarkParseReplayCrossCheck(b *testing.B) {
	rawTPM, rawTD := load(b, tcglog.TPM, realdata.PairTPM).Marshal(), load(b, tcglog.CCEL, realdata.PairCCEL).Marshal()
	for b.Loop() {
		a, err := tcglog.Parse(tcglog.TPM, rawTPM)
		if err != nil {
			b.Fatal(err)
		}
		td, err := tcglog.Parse(tcglog.CCEL, rawTD)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := td.RTMRs(); err != nil {
			b.Fatal(err)
		}
		if _, err := tcglog.CrossCheck(a, td); err != nil {
			b.Fatal(err)
		}
	}
}
