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

// measureTD sets the RTMRs to what the TD's log replays to: whoever owns a TD extends what he likes.
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

// A TD boots more than the rented TPM saw; its log gets the surplus as events of PCRs that the quote does not cover.
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
