package tcglog_test

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-eventlog/register"
	"github.com/google/go-eventlog/tcg"

	"github.com/poclog/poclog/internal/realdata"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/tcglog"
	"github.com/poclog/poclog/verify/tpm"
)

// Real logs of go-eventlog that have SHA-384 digests.
var (
	realTPM = []string{
		realdata.PairTPM, "cos-85-amd-sev.bin", "cos-93-amd-sev.bin", "cos-101-amd-sev.bin", "cos-121-amd-sev.bin", "cos-125-intel-tdx-secure-boot.bin",
		"cs251200tpm", "rhel8-uefi.bin", "ubuntu-1804-amd-sev.bin", "ubuntu-2104-no-dbx.bin", "ubuntu-2104-no-secure-boot.bin", "ubuntu-2404-amd-sevsnp.bin",
	}
	realCCEL = []string{
		realdata.PairCCEL, "CCEL_unpadded.data.bin", "cos-113-intel-tdx.bin", "cos-113-intel-tdx-dupe-separator.bin",
		"cos-113-intel-tdx-dupe-separator-unpadded.bin", "cs251200CCEL", "event_log.bin", "gdc-tdx.bin",
	}
)

// errOracleDied says that go-eventlog panicked, which is not for it to judge.
var errOracleDied = errors.New("go-eventlog panicked")

// oracle parses and replays a log with go-eventlog against registers of one algorithm.
func oracle(item []byte, mrs []register.MR) (events []tcg.Event, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errOracleDied, p)
		}
	}()
	return tcg.ParseAndReplay(item, mrs, tcg.ParseOpts{})
}

// ourRegisters returns what we replay a log to, in go-eventlog's form.
func ourRegisters(t testing.TB, l *tcglog.Log, alg tpm.Alg) (mrs []register.MR) {
	t.Helper()
	if l.Kind == tcglog.CCEL {
		rtmrs, err := l.RTMRs()
		if err != nil {
			t.Fatal(err)
		}
		for i := range rtmrs {
			mrs = append(mrs, register.RTMR{Index: i, Digest: rtmrs[i][:]})
		}
		return mrs
	}
	for i := range 24 {
		v, err := l.PCR(alg, i)
		if err != nil {
			t.Fatal(err)
		}
		mrs = append(mrs, register.PCR{Index: i, Digest: v, DigestAlg: alg.Hash()})
	}
	return mrs
}

// forge flips a bit of one register.
func forge(mrs []register.MR, i int) []register.MR {
	mrs = slices.Clone(mrs)
	v := bytes.Clone(mrs[i].Dgst())
	v[0] ^= 1
	if mr, ok := mrs[i].(register.PCR); ok {
		mr.Digest = v
		mrs[i] = mr
	} else {
		mrs[i] = register.RTMR{Index: i, Digest: v}
	}
	return mrs
}

// agree fails unless go-eventlog reads and replays a log as we do.
func agree(t testing.TB, l *tcglog.Log, alg tpm.Alg) {
	t.Helper()
	mrs := ourRegisters(t, l, alg)
	events, err := oracle(l.Marshal(), mrs)
	if errors.Is(err, errOracleDied) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatalf("go-eventlog replays %s %s otherwise: %v", l.Kind, alg, err)
	}
	var measured []tcglog.Event
	for _, e := range l.Events {
		if e.Type != 3 {
			measured = append(measured, e)
		}
	}
	if len(events) != len(measured) {
		t.Fatalf("go-eventlog reads %d measurements: we read %d", len(events), len(measured))
	}
	at := slices.Index(l.Algs, alg)
	for i, e := range measured {
		if o := events[i]; uint32(o.Index) != e.Index || uint32(o.Type) != e.Type || !bytes.Equal(o.Data, e.Data) || !bytes.Equal(o.Digest, e.Digests[at]) {
			t.Fatalf("go-eventlog reads measurement %d otherwise", i)
		}
	}
}

func TestReplayAgreesWithGoEventlog(t *testing.T) {
	for _, name := range realTPM {
		l := load(t, tcglog.TPM, name)
		for _, alg := range l.Algs {
			agree(t, l, alg)
		}
		if _, err := oracle(l.Marshal(), forge(ourRegisters(t, l, tpm.SHA384), 4)); err == nil {
			t.Errorf("%s: the oracle accepts anything", name)
		}
	}
	for _, name := range realCCEL {
		l := load(t, tcglog.CCEL, name)
		agree(t, l, tpm.SHA384)
		if _, err := oracle(l.Marshal(), forge(ourRegisters(t, l, tpm.SHA384), 1)); err == nil {
			t.Errorf("%s: the oracle accepts anything", name)
		}
		registers, err := l.RTMRs()
		if err != nil {
			t.Fatal(err)
		}
		if err := l.CheckRTMRs(&registers); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for i := range 4 {
			forged := registers
			forged[i][0] ^= 1
			if i == 3 {
				if err := l.CheckRTMRs(&forged); err != nil {
					t.Errorf("%s: RTMR3, which is the guest's: %v", name, err)
				}
				continue
			}
			wantCheck(t, "another RTMR (rtmr-forged), or one without events that does not hold zeros", l.CheckRTMRs(&forged), verify.BindPCRRTMR)
		}
	}
}

// No real log with SHA-384 digests was started by a H-CRTM, from another locality, or has a dynamic
// launch: these are edited into one.
func TestResetValuesAgreeWithGoEventlog(t *testing.T) {
	zeros := func(l *tcglog.Log) (out [][]byte) {
		for _, alg := range l.Algs {
			out = append(out, make([]byte, alg.Hash().Size()))
		}
		return out
	}
	locality := func(l *tcglog.Log, n byte) tcglog.Event {
		return tcglog.Event{Type: 3, Digests: zeros(l), Data: append([]byte("StartupLocality\x00"), n)}
	}
	for _, tt := range []struct {
		desc    string
		changes int // of which PCR, -1 for none
		edit    func(l *tcglog.Log)
	}{
		{"startup from locality 0", -1, func(l *tcglog.Log) { l.Events = slices.Insert(l.Events, 0, locality(l, 0)) }},
		{"startup from locality 3", 0, func(l *tcglog.Log) { l.Events = slices.Insert(l.Events, 0, locality(l, 3)) }},
		{"H-CRTM", 0, func(l *tcglog.Log) {
			l.Events = slices.Insert(l.Events, 0, tcglog.Event{Type: 0x80000010, Digests: digests(t, l, "HCRTM"), Data: []byte("HCRTM")})
		}},
		{"dynamic launch", 17, func(l *tcglog.Log) {
			l.Events = append(l.Events, tcglog.Event{Index: 17, Type: 0x402, Digests: digests(t, l, "launch")})
		}},
	} {
		l := load(t, tcglog.TPM, realdata.PairTPM)
		before := ourRegisters(t, l, tpm.SHA384)
		tt.edit(l)
		l, err := tcglog.Parse(tcglog.TPM, l.Marshal())
		if err != nil {
			t.Errorf("%s: %v", tt.desc, err)
			continue
		}
		for _, alg := range l.Algs {
			agree(t, l, alg)
		}
		for i, mr := range ourRegisters(t, l, tpm.SHA384) {
			if changed := !bytes.Equal(mr.Dgst(), before[i].Dgst()); changed != (i == tt.changes) {
				t.Errorf("%s: PCR %d is %x", tt.desc, i, mr.Dgst())
			}
		}
	}
}

func TestRegistersWithoutEventsHoldTheirResetValue(t *testing.T) {
	l := load(t, tcglog.TPM, realdata.PairTPM)
	l.Events = nil
	for pcr := range 24 {
		want := make([]byte, crypto.SHA384.Size())
		if pcr >= 17 && pcr <= 22 {
			want = bytes.Repeat([]byte{0xff}, crypto.SHA384.Size())
		}
		if v, err := l.PCR(tpm.SHA384, pcr); err != nil || !bytes.Equal(v, want) {
			t.Errorf("PCR %d: %x, %v", pcr, v, err)
		}
	}
}

// oracleJudges reports whether go-eventlog is meant to agree. It knows three algorithms and version
// 2.0, takes an index of all ones for padding, a H-CRTM event for a reset of any register, and
// StartupLocality without its NUL.
func oracleJudges(l *tcglog.Log, item []byte) bool {
	for _, alg := range l.Algs {
		if alg != tpm.SHA1 && alg != tpm.SHA256 && alg != tpm.SHA384 {
			return false
		}
	}
	const version = 32 + 16 + 4
	for _, e := range l.Events {
		if e.Index == 0xffffffff || e.Type == 0x80000010 || e.Type == 3 && len(e.Data) == 17 {
			return false
		}
	}
	return item[version] == 0 && item[version+1] == 2
}

// fuzzLog holds, for any input: nothing panics, an error is a check's, what is accepted is written
// as it was read, and go-eventlog agrees on it. Seeds are the short events of real logs, since the
// fuzzer spends its time on making long inputs short.
func fuzzLog(f *testing.F, kind tcglog.Kind, names []string) {
	for _, name := range names {
		l := load(f, kind, name)
		f.Add(l.Marshal()[:100])
		l.Events = slices.DeleteFunc(l.Events, func(e tcglog.Event) bool { return len(e.Data) > 40 })
		l.Events = l.Events[:min(len(l.Events), 6)]
		f.Add(l.Marshal())
	}
	f.Fuzz(func(t *testing.T, item []byte) {
		l, err := tcglog.Parse(kind, item)
		if err != nil {
			if check, ok := verify.CheckOf(err); !ok || check != verify.Format {
				t.Fatalf("refused by %q: %v", check, err)
			}
			return
		}
		if !bytes.Equal(l.Marshal(), item) {
			t.Fatal("not written as it was read")
		}
		if trimmed, err := tcglog.Trim(kind, slices.Concat(item, bytes.Repeat([]byte{0xff}, 64))); err != nil || !bytes.Equal(trimmed, item) {
			t.Fatalf("trimmed to %d bytes of %d: %v", len(trimmed), len(item), err)
		}
		_, _ = tcglog.CrossCheck(l, l)
		_, _ = l.GCETechnology()
		if !oracleJudges(l, item) {
			return
		}
		for _, alg := range l.Algs {
			agree(t, l, alg)
		}
	})
}

func FuzzParseTPM(f *testing.F)  { fuzzLog(f, tcglog.TPM, realTPM[:4]) }
func FuzzParseCCEL(f *testing.F) { fuzzLog(f, tcglog.CCEL, realCCEL[:4]) }
