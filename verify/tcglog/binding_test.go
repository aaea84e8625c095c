package tcglog_test

import (
	"crypto/sha512"
	"slices"
	"strings"
	"testing"

	"github.com/poclog/poclog/internal/realdata"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/tcglog"
	"github.com/poclog/poclog/verify/tpm"
)

// A machine is what a TD and its TPM hold and say after a boot.
type machine struct {
	tpm, td *tcglog.Log
	pcrs    *tpm.PCRValues
	rtmrs   [4][48]byte
}

// honest is the machine of the real pair: registers are what its logs replay to.
func honest(t testing.TB) *machine {
	t.Helper()
	m := &machine{tpm: load(t, tcglog.TPM, realdata.PairTPM), td: load(t, tcglog.CCEL, realdata.PairCCEL)}
	m.pcrs = selected(t, m.tpm, tcglog.CheckedPCRs, tpm.SHA384)
	m.measureTD(t)
	return m
}

// measureTD sets the RTMRs to what the TD's log replays to: whoever owns a TD extends what he
// likes.
func (m *machine) measureTD(t testing.TB) {
	t.Helper()
	var err error
	if m.rtmrs, err = m.td.RTMRs(); err != nil {
		t.Fatal(err)
	}
}

// check is what the profile does.
func (m *machine) check() error {
	if err := m.tpm.CheckPCRs(m.pcrs); err != nil {
		return err
	}
	if err := m.td.CheckRTMRs(&m.rtmrs); err != nil {
		return err
	}
	_, err := tcglog.CrossCheck(m.tpm, m.td)
	return err
}

// selected returns the values that a TPM in the state of a log would sign for a selection.
func selected(t testing.TB, l *tcglog.Log, pcrs []int, banks ...tpm.Alg) *tpm.PCRValues {
	t.Helper()
	q, item := new(tpm.Quote), []byte(nil)
	for _, alg := range banks {
		q.Selection = append(q.Selection, tpm.PCRSelection{Alg: alg, PCRs: pcrs})
		for _, pcr := range pcrs {
			v, err := l.PCR(alg, pcr)
			if err != nil {
				t.Fatal(err)
			}
			item = append(item, v...)
		}
	}
	v, err := tpm.ParsePCRs(q, item)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func wantDetail(t *testing.T, name string, err error, part string) {
	t.Helper()
	wantCheck(t, name, err, verify.BindPCRRTMR)
	if err != nil && !strings.Contains(err.Error(), part) {
		t.Errorf("%s: %q does not say %q", name, err, part)
	}
}

// digests returns a digest per bank of the log over the same data.
func digests(t testing.TB, l *tcglog.Log, data string) (out [][]byte) {
	t.Helper()
	for _, alg := range l.Algs {
		h := alg.Hash().New()
		h.Write([]byte(data))
		out = append(out, h.Sum(nil))
	}
	return out
}

func TestHonestMachineIsBound(t *testing.T) {
	if err := honest(t).check(); err != nil {
		t.Error(err)
	}
}

// A TD boots more than the rented TPM saw; its log gets the surplus as events of PCRs that the
// quote does not cover.
func TestEventsOfUnselectedPCRsCannotFillTheGap(t *testing.T) {
	for _, pcr := range []uint32{10, 11, 12, 13, 15} {
		m := honest(t)
		sum := sha512.Sum384([]byte("another kernel"))
		m.td.Events = append(slices.Clone(m.td.Events), tcglog.Event{Index: 3, Type: 13, Digests: [][]byte{sum[:]}})
		m.measureTD(t)
		wantDetail(t, "a TD with another kernel", m.check(), "RTMR2")

		surplus := tcglog.Event{Index: pcr, Type: 13, Digests: digests(t, m.tpm, "another kernel")}
		at := len(m.tpm.Events) - 1
		for m.tpm.Events[at].Type != 6 { // before the boot stub's tag
			at--
		}
		m.tpm.Events = slices.Insert(slices.Clone(m.tpm.Events), at, surplus)
		wantDetail(t, "the surplus as an unselected PCR's event (pcr-unselected)", m.check(), "does not cover PCR")

		m.pcrs = selected(t, m.tpm, append(slices.Clone(tcglog.CheckedPCRs), int(pcr)), tpm.SHA384)
		if err := m.check(); err != nil {
			t.Errorf("PCR %d with an event that is covered by the quote: %v", pcr, err)
		}
	}
}

// A quote over SHA-256 alone proves nothing of the digests that are compared: those of any CCEL fit
// beside them.
func TestQuoteOverSHA256AloneIsRefused(t *testing.T) {
	m := honest(t)
	m.pcrs = selected(t, m.tpm, tcglog.CheckedPCRs, tpm.SHA1, tpm.SHA256)
	wantDetail(t, "SHA-1 and SHA-256 selected", m.check(), "does not cover PCR 0 of the SHA-384 bank")

	at := len(m.tpm.Events) - 10
	rented := m.tpm.Events[at]
	rented.Digests = slices.Clone(rented.Digests)
	rented.Digests[1] = digests(t, m.tpm, "what the rented VM booted")[1]
	m.tpm.Events = slices.Clone(m.tpm.Events)
	m.tpm.Events[at] = rented
	if _, err := tcglog.CrossCheck(m.tpm, m.td); err != nil {
		t.Fatalf("the attack is not set up: %v", err)
	}
	m.pcrs = selected(t, m.tpm, tcglog.CheckedPCRs, tpm.SHA256)
	wantDetail(t, "foreign SHA-256 digests beside the CCEL's SHA-384 digests", m.check(), "SHA-384 bank")
}

func TestEveryCheckedPCRMustBeSelectedAndMatch(t *testing.T) {
	for i, pcr := range tcglog.CheckedPCRs {
		m := honest(t)
		m.pcrs = selected(t, m.tpm, slices.Delete(slices.Clone(tcglog.CheckedPCRs), i, i+1), tpm.SHA384)
		wantDetail(t, "one PCR not selected (pcr-unselected)", m.check(), "does not cover PCR")

		m = honest(t)
		for j := range m.tpm.Events {
			if e := &m.tpm.Events[j]; e.Index == uint32(pcr) && e.Type != 3 {
				m.tpm.Events = slices.Delete(slices.Clone(m.tpm.Events), j, j+1)
				break
			}
		}
		wantDetail(t, "one event left out (log-truncated)", m.check(), "replays PCR")
	}
}

// Where the quote covers more banks than SHA-384, they must agree with the log, too.
func TestOtherSelectedBanksMustMatch(t *testing.T) {
	m := honest(t)
	m.pcrs = selected(t, m.tpm, tcglog.CheckedPCRs, tpm.SHA1, tpm.SHA256, tpm.SHA384)
	if err := m.check(); err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(m.tpm.Events, func(e tcglog.Event) bool { return e.Index == 4 })
	e := m.tpm.Events[at]
	e.Digests = slices.Clone(e.Digests)
	e.Digests[1] = make([]byte, 32)
	m.tpm.Events[at] = e
	wantDetail(t, "another SHA-256 digest", m.check(), "PCR 4")
}

func TestOnePCRIsCheckedInEveryBankThatIsCovered(t *testing.T) {
	m := honest(t)
	for _, bank := range []tpm.Alg{tpm.SHA1, tpm.SHA256, tpm.SHA384} {
		if err := m.tpm.CheckPCR(selected(t, m.tpm, []int{0}, bank), 0); err != nil {
			t.Errorf("%s: %v", bank, err)
		}
	}
	wantDetail(t, "PCR 0 not covered", m.tpm.CheckPCR(selected(t, m.tpm, []int{1}, tpm.SHA384), 0), "no bank")
	foreign := selected(t, load(t, tcglog.TPM, "ubuntu-2404-amd-sevsnp.bin"), []int{0, 1}, tpm.SHA256)
	wantDetail(t, "another machine's PCR 0", m.tpm.CheckPCR(foreign, 0), "replays PCR 0")
	wantDetail(t, "another machine's PCR 1", m.tpm.CheckPCR(foreign, 1), "replays PCR 1")
}

// Whoever owns a TD extends its registers freely, so the edits below all replay: only the
// comparison can refuse them.
func TestOneSidedEventsOfOtherBootsAreRefused(t *testing.T) {
	index := func(l *tcglog.Log, typ, register uint32) int {
		return slices.IndexFunc(l.Events, func(e tcglog.Event) bool { return e.Type == typ && e.Index == register })
	}
	for _, tt := range []struct {
		desc, detail string
		edit         func(m *machine)
	}{
		{"no hand-off tables", "RTMR0", func(m *machine) { m.td.Events = slices.Delete(m.td.Events, 2, 3) }},
		{"no tables at all", "does not begin", func(m *machine) { m.td.Events = slices.Delete(m.td.Events, 2, 4) }},
		{"tables in another order", "RTMR0", func(m *machine) { m.td.Events[2], m.td.Events[3] = m.td.Events[3], m.td.Events[2] }},
		{"tables twice", "RTMR0", func(m *machine) { m.td.Events = slices.Insert(m.td.Events, 4, m.td.Events[3]) }},
		{"tables in RTMR1", "RTMR1", func(m *machine) {
			e := m.td.Events[2]
			e.Index = 2
			m.td.Events = slices.Insert(m.td.Events, 4, e)
		}},
		{"a separator more in the CCEL", "RTMR1", func(m *machine) {
			at := index(m.td, 4, 2)
			m.td.Events = slices.Insert(m.td.Events, at, m.td.Events[at])
		}},
		{"no separator in the CCEL", "RTMR0", func(m *machine) {
			at := index(m.td, 4, 1)
			m.td.Events = slices.Delete(m.td.Events, at, at+1)
		}},
		{"a separator of a failed boot", "RTMR1", func(m *machine) { m.tpm.Events[index(m.tpm, 4, 3)].Digests = digests(t, m.tpm, "\xff\xff\xff\xff") }},
		{"a separator less in the TPM's log", "separators", func(m *machine) {
			at := index(m.tpm, 4, 5)
			m.tpm.Events = slices.Delete(m.tpm.Events, at, at+1)
		}},
		{"two tags", "RTMR2", func(m *machine) { m.tpm.Events = append(m.tpm.Events, m.tpm.Events[index(m.tpm, 6, 9)]) }},
		{"a tag in PCR 8", "RTMR2", func(m *machine) { m.tpm.Events[index(m.tpm, 6, 9)].Index = 8 }},
		{"an event of the TPM alone called a tag", "RTMR1", func(m *machine) {
			e := m.tpm.Events[index(m.tpm, 6, 9)]
			e.Index = 4
			m.tpm.Events = append(m.tpm.Events, e)
		}},
		{"an image that the TPM alone has", "RTMR1", func(m *machine) { m.tpm.Events = append(m.tpm.Events, m.tpm.Events[index(m.tpm, 0x80000003, 4)]) }},
		{"an image that the CCEL alone has", "RTMR1", func(m *machine) { m.td.Events = append(m.td.Events, m.td.Events[index(m.td, 0x80000003, 2)]) }},
		{"another type of the same digest", "RTMR1", func(m *machine) { m.td.Events[index(m.td, 0x80000003, 2)].Type = 0x80000004 }},
		{"all but the header and the tables gone", "RTMR", func(m *machine) { m.td.Events = m.td.Events[:4] }},
	} {
		m := honest(t)
		m.tpm.Events, m.td.Events = slices.Clone(m.tpm.Events), slices.Clone(m.td.Events)
		tt.edit(m)
		_, err := tcglog.CrossCheck(m.tpm, m.td)
		wantDetail(t, tt.desc, err, tt.detail)
	}
}

func TestLogsOfOneKindAreNotCompared(t *testing.T) {
	m := honest(t)
	for _, pair := range [][2]*tcglog.Log{{m.tpm, m.tpm}, {m.td, m.td}, {m.td, m.tpm}} {
		_, err := tcglog.CrossCheck(pair[0], pair[1])
		wantDetail(t, "two logs that are no pair", err, "comparison of a")
	}
}

func TestEmptyCCELDoesNotExplainZeros(t *testing.T) {
	m := honest(t)
	m.td.Events = nil
	wantDetail(t, "no events, registers of zeros", m.td.CheckRTMRs(new([4][48]byte)), "no event of RTMR0")
}

// Every byte of both logs in turn is changed, but for event data, of which one byte an event stands
// for the others. What is not refused is listed here, with the reason, and nothing else is. The
// race detector slows this down tenfold, and gets every 17th byte.
func TestEveryByteOfAPairIsProtectedOrListed(t *testing.T) {
	honest := honest(t)
	for _, l := range []*tcglog.Log{honest.tpm, honest.td} {
		item, regions := l.Marshal(), unprotected(l)
		for at := range item {
			if (testing.Short() || raceDetector) && at%17 != 0 || at > 0 && regions[at] == eventData && regions[at-1] == eventData {
				continue
			}
			item[at] ^= 0x01
			changed := *honest
			edited, err := tcglog.Parse(l.Kind, item)
			if l.Kind == tcglog.TPM {
				changed.tpm = edited
			} else {
				changed.td = edited
			}
			if err == nil {
				err = changed.check()
			}
			item[at] ^= 0x01
			if reason := regions[at]; (reason == "") != (err != nil) && reason != mayParse {
				t.Fatalf("%s: byte %d (%s): %v", l.Kind, at, reason, err)
			}
		}
	}
}

// Reasons that are told apart.
const (
	mayParse  = "of the header or an EV_NO_ACTION event, which are not measured: only their form is held"
	eventData = "event data is informative: the digest was measured"
)

// unprotected gives, by offset, why a change goes unnoticed.
func unprotected(l *tcglog.Log) map[int]string {
	why := make(map[int]string)
	header := len(l.Marshal())
	for i := range l.Events {
		header -= eventSize(l, i)
	}
	for at := range header {
		why[at] = mayParse
	}
	at := header
	for i := range l.Events {
		e := &l.Events[i]
		size := eventSize(l, i)
		data := at + size - len(e.Data)
		for b := data; b < at+size; b++ {
			why[b] = eventData
		}
		switch {
		case e.Type == 3:
			for b := at; b < at+4; b++ {
				why[b] = mayParse // any register may be named
			}
			for b := at + 12; b < data-4; b++ {
				why[b] = mayParse // digests that extend nothing
			}
		case l.Kind == tcglog.TPM && e.Index == 0:
			for b := at + 4; b < at+8; b++ {
				why[b] = "the type of a measurement into PCR 0, which is not compared"
			}
		}
		if l.Kind == tcglog.TPM && e.Type != 3 {
			for b := at + 12 + 2; b < data-4; b++ {
				if b < at+12+2+20 || b >= at+12+2+20+2 && b < at+12+2+20+2+32 {
					why[b] = "a digest of a bank that this quote does not cover"
				}
			}
		}
		at += size
	}
	return why
}
