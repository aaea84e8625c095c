package tcglog

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"slices"

	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/tpm"
)

// CheckedPCRs are the registers that firmware, boot loader and kernel extend, and that a quote must
// always cover. PCR 10 and later but 14 belong to the running system; those up to 15 must be
// covered, too, if the log has an event of theirs: see [Log.CheckPCRs].
var CheckedPCRs = []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 14}

// Measured returns the registers that the log has a measurement of, ascending: PCRs of a TPM's log,
// measurement registers of a CCEL.
func (l *Log) Measured() []int {
	var list []int
	for i := range l.Events {
		if e := &l.Events[i]; e.Type != evNoAction && !slices.Contains(list, int(e.Index)) {
			list = append(list, int(e.Index))
		}
	}
	slices.Sort(list)
	return list
}

// registers are values by index; nil are those without events.
type registers [lastPCR + 1][]byte

// replay extends registers of one algorithm with the log's events, or only one of them. What is not
// extended keeps its reset value.
func (l *Log) replay(alg tpm.Alg, only ...uint32) (r registers, err error) {
	at, h := l.algorithm(alg), alg.Hash()
	if at < 0 || h == 0 {
		return r, fmt.Errorf("%s: the log has no %s digests", l.Kind, alg)
	}
	for i := range l.Events {
		e := &l.Events[i]
		if e.Type == evNoAction || len(only) > 0 && e.Index != only[0] {
			continue
		}
		if e.Index > lastPCR { // which no log has that was parsed
			return r, fmt.Errorf("%s: event %d: register %d", l.Kind, e.Number, e.Index)
		}
		value := r[e.Index]
		if value == nil {
			value = l.start(e, h.Size())
			r[e.Index] = value
		}
		extend(h, value, e.Digests[at])
	}
	return r, nil
}

// extend replaces a register's value with the hash of it and a digest.
func extend(h crypto.Hash, value, digest []byte) {
	var room [2 * maxDigest]byte
	both := append(append(room[:0], value...), digest...)
	switch h {
	case crypto.SHA256:
		sum := sha256.Sum256(both)
		copy(value, sum[:])
	case crypto.SHA384:
		sum := sha512.Sum384(both)
		copy(value, sum[:])
	default:
		d := h.New()
		d.Write(value)
		d.Write(digest)
		d.Sum(value[:0])
	}
}

// start returns a register's value before its first event, which is its reset value but for two: a
// H-CRTM resets PCR 0 from locality 4, and what extends PCR 17 to 22 is a dynamic launch, which
// resets them to zeros (PC Client Platform TPM Profile, §4.6).
func (l *Log) start(first *Event, size int) []byte {
	if first.Index >= firstDRTM { // PCR 23 starts with zeros anyhow
		return make([]byte, size)
	}
	if first.Index == 0 && first.Type == evHCRTM {
		value := make([]byte, size)
		value[size-1] = 4
		return value
	}
	return l.reset(first.Index, size)
}

// reset returns the value of a register without events: zeros, ones for PCR 17 to 22, and for PCR 0
// the locality from which the TPM was started, if the log says so (PC Client Platform Firmware
// Profile, §10.4.5.3).
func (l *Log) reset(index uint32, size int) []byte {
	value := make([]byte, size)
	if l.Kind != TPM {
		return value
	}
	if index >= firstDRTM && index <= lastDRT {
		return bytes.Repeat([]byte{0xff}, size)
	}
	if index == 0 {
		for i := range l.Events {
			if e := &l.Events[i]; e.saysLocality() { // the only one, and of this length: checkLocality
				value[size-1] = e.Data[len(startupLocality)]
				break
			}
		}
	}
	return value
}

// CheckPCRs verifies that a TPM's log replays to what the TPM signed: every register of
// [CheckedPCRs], and any other up to PCR 15 that has an event, in the SHA-384 bank, which the quote
// must cover, and in every other bank that it covers. Failures are [verify.BindPCRRTMR].
//
// SHA-384 is required because it is what RTMRs hold. A quote over SHA-256 alone proves the SHA-256
// digests of a rented TPM, beside which the SHA-384 digests of any CCEL can be written; digests
// over event data could be made anew from it, but those of images and firmware could not, so there
// is no exception. And a register up to PCR 15 that the quote does not cover must have no event:
// whatever only the CCEL has could be added to the TPM's log as events of PCR 10, for [CrossCheck]
// to find.
func (l *Log) CheckPCRs(signed *tpm.PCRValues) error {
	for _, alg := range l.Algs {
		if alg.Hash() == 0 || alg != tpm.SHA384 && !signed.Covers(alg) {
			continue
		}
		registers, err := l.replay(alg)
		if err != nil {
			return verify.Failf(verify.BindPCRRTMR, "%w", err)
		}
		for pcr := range lastMappedPCR + 1 {
			have := registers[pcr]
			if have == nil && !slices.Contains(CheckedPCRs, pcr) {
				continue
			}
			want, ok := signed.Get(alg, pcr)
			if !ok && alg != tpm.SHA384 {
				continue
			}
			if !ok {
				return verify.Failf(verify.BindPCRRTMR, "the TPM quote does not cover PCR %d of the SHA-384 bank: the log's digests are unproven", pcr)
			}
			if have == nil {
				have = l.reset(uint32(pcr), alg.Hash().Size())
			}
			if err := compare(alg, pcr, have, want); err != nil {
				return err
			}
		}
	}
	return nil
}

// CheckCovered verifies that a TPM's log replays to what the TPM signed, where it stands alone and
// is compared with no other: every event's register is covered by the quote in some bank of the
// log; and in every such bank each covered register that has events, or is one of [CheckedPCRs],
// has the value that the log gives it. A dynamic launch (PCR 17 to 22) of which the log has no
// event is not in a firmware's log, and is not judged here. Failures are [verify.BindPCRRTMR].
func (l *Log) CheckCovered(signed *tpm.PCRValues) error {
	proven := make(map[uint32]bool)
	for _, alg := range l.Algs {
		if alg.Hash() == 0 || !signed.Covers(alg) {
			continue
		}
		registers, err := l.replay(alg)
		if err != nil {
			return verify.Failf(verify.BindPCRRTMR, "%w", err)
		}
		for pcr := range uint32(lastPCR + 1) {
			want, ok := signed.Get(alg, int(pcr))
			have := registers[pcr]
			if !ok || have == nil && !slices.Contains(CheckedPCRs, int(pcr)) {
				continue
			}
			if have == nil {
				have = l.reset(pcr, alg.Hash().Size())
			}
			if err := compare(alg, int(pcr), have, want); err != nil {
				return err
			}
			proven[pcr] = true
		}
	}
	for i := range l.Events {
		if e := &l.Events[i]; e.Type != evNoAction && !proven[e.Index] {
			return verify.Failf(verify.BindPCRRTMR, "event %d extends PCR %d, which the TPM quote covers in no bank of the log", e.Number, e.Index)
		}
	}
	return nil
}

// CheckPCR verifies one register alone, in every bank that the quote covers, which must be at least
// one. It proves the digests of these banks, and so data that all of them are digests of, as
// [Log.GCETechnology] demands. Failures are [verify.BindPCRRTMR].
func (l *Log) CheckPCR(signed *tpm.PCRValues, pcr int) error {
	covered := false
	for _, alg := range l.Algs {
		want, ok := signed.Get(alg, pcr)
		if !ok { // as of every algorithm that is unknown
			continue
		}
		covered = true
		have, err := l.PCR(alg, pcr)
		if err != nil {
			return verify.Failf(verify.BindPCRRTMR, "%w", err)
		}
		if err := compare(alg, pcr, have, want); err != nil {
			return err
		}
	}
	if !covered {
		return verify.Failf(verify.BindPCRRTMR, "the TPM quote covers PCR %d in no bank of the log: its digests are unproven", pcr)
	}
	return nil
}

// compare holds the value to which a register replays to the signed one.
func compare(alg tpm.Alg, pcr int, have, want []byte) error {
	if !bytes.Equal(have, want) {
		return verify.Failf(verify.BindPCRRTMR, "the TPM's log replays PCR %d (%s) to %x: the TPM signed %x", pcr, alg, have, want)
	}
	return nil
}

// RTMRs returns the registers to which a trust domain's log replays; one without events holds
// zeros.
func (l *Log) RTMRs() (out [4][48]byte, err error) {
	registers, err := l.replay(tpm.SHA384)
	if err != nil {
		return out, err
	}
	for i := range out {
		copy(out[i][:], registers[i+ccFirstRTMR])
	}
	return out, nil
}

// PCR returns the value of one bank's register to which a TPM's log replays.
func (l *Log) PCR(alg tpm.Alg, pcr int) ([]byte, error) {
	if pcr < 0 || pcr > lastPCR {
		return nil, fmt.Errorf("PCR %d: want 0 to %d", pcr, lastPCR)
	}
	registers, err := l.replay(alg, uint32(pcr))
	if err != nil {
		return nil, err
	}
	if v := registers[pcr]; v != nil {
		return v, nil
	}
	return l.reset(uint32(pcr), alg.Hash().Size()), nil
}

// CheckRTMRs verifies that a trust domain's log replays to RTMR0 to RTMR2 of its quote. A register
// without events must hold zeros; RTMR0 and RTMR1 have events after every boot, and an empty log
// explains nothing. RTMR3 is the guest's: it may extend it at any time, and no event of the log
// says so (dstack and go-tpm-tools' agent do). It is not compared. Failures are
// [verify.BindPCRRTMR].
func (l *Log) CheckRTMRs(signed *[4][48]byte) error {
	registers, err := l.RTMRs()
	if err != nil {
		return verify.Failf(verify.BindPCRRTMR, "%w", err)
	}
	for i := range ccGuestRTMR {
		if i < 2 && registers[i] == [48]byte{} {
			return verify.Failf(verify.BindPCRRTMR, "the CCEL has no event of RTMR%d: firmware always measures into it", i)
		}
		if registers[i] != signed[i] {
			return verify.Failf(verify.BindPCRRTMR, "the CCEL replays RTMR%d to %x: the quote has %x", i, registers[i], signed[i])
		}
	}
	return nil
}

// A RegisterMatch says how the logs of one register compare.
type RegisterMatch struct {
	Equal    int // events that both logs have
	OnlyTPM  int // of those that honest firmware measures into the TPM alone
	OnlyCCEL int // and into the register alone
}

// A Match is the result of [CrossCheck], for RTMR0 to RTMR2.
type Match [3]RegisterMatch

// String gives the numbers of equal events: "30/39/86".
func (m *Match) String() string { return fmt.Sprintf("%d/%d/%d", m[0].Equal, m[1].Equal, m[2].Equal) }

// oneSided is what honest firmware measures on one side only, by register. The TPM has a separator
// for each PCR, the register one for all of its own; the Linux EFI stub tags its initrd and command
// line for the TPM; and the firmware of a trust domain measures its own tables first.
var oneSided = [3]struct {
	separators, tags int
	first            []uint32 // types of the register's first events
}{
	{separators: 1, first: []uint32{evHandoffTables2, evFirmwareBlob2}},
	{separators: 4},
	{tags: 1},
}

// lastMappedPCR is the last that corresponds to an RTMR.
const lastMappedPCR = 15

// registerOf maps a PCR to the register that a trust domain extends in its place (UEFI 2.10,
// §38.4.1). PCR 0 is the launch measurement, MRTD.
func registerOf(pcr uint32) (rtmr int, ok bool) {
	switch {
	case pcr == 1 || pcr == 7:
		return 0, true
	case pcr >= 2 && pcr <= 6:
		return 1, true
	case pcr >= 8 && pcr <= lastMappedPCR:
		return 2, true
	}
	return 0, false
}

// CrossCheck compares a TPM's log with a trust domain's, event by event, by type and SHA-384
// digest, in the TPM log's global order. Both must have been replayed: only then are digests
// proven, and their order within a PCR and within a register. Types, data, and how events of
// different PCRs interleave never are; types decide only which events may be on one side, and there
// the digest of separators is fixed.
//
// On one side only are, and must be: as RTMR0's first events, EV_EFI_HANDOFF_TABLES2 and
// EV_EFI_PLATFORM_FIRMWARE_BLOB2 of the trust domain; of the TPM, one EV_SEPARATOR in RTMR0 and
// four in RTMR1. One EV_EVENT_TAG of PCR 9 may be the TPM's alone. Not compared: PCR 0, which is
// MRTD; PCR 16 and later, and RTMR3, which correspond to nothing. Failures are [verify.BindPCRRTMR]
// and name the event.
func CrossCheck(ofTPM, ofTD *Log) (*Match, error) {
	if ofTPM.Kind != TPM || ofTD.Kind != CCEL {
		return nil, verify.Failf(verify.BindPCRRTMR, "comparison of a %s with a %s: want a %s and a %s", ofTPM.Kind, ofTD.Kind, TPM, CCEL)
	}
	m := new(Match)
	a, b := make([]*Event, 0, len(ofTPM.Events)), make([]*Event, 0, len(ofTD.Events))
	for r := range m {
		a, b = a[:0], b[:0]
		for i := range ofTPM.Events {
			e := &ofTPM.Events[i]
			if of, ok := registerOf(e.Index); ok && of == r && e.Type != evNoAction {
				a = append(a, e)
			}
		}
		for i := range ofTD.Events {
			if e := &ofTD.Events[i]; e.Type != evNoAction && e.Index == uint32(r)+ccFirstRTMR {
				b = append(b, e)
			}
		}
		c := comparison{
			register: r, m: &m[r], a: a, b: b, digestA: ofTPM.algorithm(tpm.SHA384), digestB: ofTD.algorithm(tpm.SHA384),
		}
		if err := c.run(); err != nil {
			return nil, err
		}
		if m[r].Equal == 0 {
			return nil, verify.Failf(verify.BindPCRRTMR, "RTMR%d: the logs have no event in common: nothing shows one boot", r)
		}
	}
	return m, nil
}

// A comparison walks both sides of one register.
type comparison struct {
	register         int
	m                *RegisterMatch
	a, b             []*Event // the TPM's, the trust domain's
	digestA, digestB int

	separators, tags int // seen on the TPM's side only
}

func (c *comparison) run() error {
	for len(c.a) > 0 || len(c.b) > 0 {
		switch {
		case len(c.a) > 0 && len(c.b) > 0 && c.a[0].Type == c.b[0].Type && bytes.Equal(c.a[0].Digests[c.digestA], c.b[0].Digests[c.digestB]):
			c.m.Equal++
			c.a, c.b = c.a[1:], c.b[1:]
		case c.onlyTD():
			c.m.OnlyCCEL++
			c.b = c.b[1:]
		case c.onlyTPM():
			c.m.OnlyTPM++
			c.a = c.a[1:]
		default:
			return c.differ()
		}
	}
	want := oneSided[c.register]
	if c.separators != want.separators {
		return verify.Failf(verify.BindPCRRTMR, "RTMR%d: the TPM's log has %d separators more than the CCEL: want %d, one for each PCR",
			c.register, c.separators, want.separators)
	}
	if c.m.OnlyCCEL != len(want.first) {
		return verify.Failf(verify.BindPCRRTMR, "RTMR%d: the CCEL does not begin with the %d tables that a trust domain's firmware measures",
			c.register, len(want.first))
	}
	return nil
}

// onlyTD takes the tables that a trust domain's firmware measures before anything else, each once
// and in order.
func (c *comparison) onlyTD() bool {
	first := oneSided[c.register].first
	return c.m.Equal == 0 && c.m.OnlyTPM == 0 && c.m.OnlyCCEL < len(first) && len(c.b) > 0 && c.b[0].Type == first[c.m.OnlyCCEL]
}

// onlyTPM takes separators beyond the register's own, and the boot stub's tag.
func (c *comparison) onlyTPM() bool {
	if len(c.a) == 0 {
		return false
	}
	e := c.a[0]
	if e.Type == evSeparator && bytes.Equal(e.Digests[c.digestA], separator[:]) { // how many, run judges in the end
		c.separators++
		return true
	}
	if e.Type == evEventTag && e.Index == 9 && c.tags < oneSided[c.register].tags {
		c.tags++
		return true
	}
	return false
}

// separator is the digest of the separator which ends the firmware's measurements: four zero bytes.
// Ones mean that it failed.
var separator = sha512.Sum384(make([]byte, 4))

func (c *comparison) differ() error {
	describe := func(side []*Event, digest int) string {
		if len(side) == 0 {
			return "none"
		}
		return fmt.Sprintf("event %d of type %#x, %x…", side[0].Number, side[0].Type, side[0].Digests[digest][:8])
	}
	return verify.Failf(verify.BindPCRRTMR, "RTMR%d: after %d equal events the TPM's log has %s, the CCEL %s: they tell two stories",
		c.register, c.m.Equal, describe(c.a, c.digestA), describe(c.b, c.digestB))
}

// Technologies of confidential VMs, as Compute Engine's firmware measures them into PCR 0.
const (
	GCETechnologyTDX = 3
	GCETechnologySNP = 4
)

// GCETechnology returns the kind of VM that Compute Engine's NonHostInfo event names. The log must
// have been replayed to the signed PCR 0; the event's digests must be those of its data, or
// another's data could stand beside them.
func (l *Log) GCETechnology() (byte, error) {
	for i := range l.Events {
		e := &l.Events[i]
		if e.Index != 0 || e.Type != evNonhostInfo {
			continue
		}
		for a, alg := range l.Algs {
			h := alg.Hash()
			if h == 0 {
				continue
			}
			d := h.New()
			d.Write(e.Data)
			if !bytes.Equal(d.Sum(nil), e.Digests[a]) {
				return 0, verify.Failf(verify.TPMTechnology, "event %d, EV_NONHOST_INFO: its %s digest is not that of its data", e.Number, alg)
			}
		}
		if len(e.Data) < len(gceNonHostInfo)+1 || string(e.Data[:len(gceNonHostInfo)]) != gceNonHostInfo {
			return 0, verify.Failf(verify.TPMTechnology, "event %d, EV_NONHOST_INFO: %.20q: want %q", e.Number, e.Data, gceNonHostInfo[:15])
		}
		return e.Data[len(gceNonHostInfo)], nil
	}
	return 0, verify.Failf(verify.TPMTechnology, "PCR 0 has no EV_NONHOST_INFO event")
}
