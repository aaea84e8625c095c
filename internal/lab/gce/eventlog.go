package gce

import (
	"crypto"
	"encoding/binary"
	"fmt"

	"github.com/poclog/poclog/verify/tpm"
)

// Types of events (TCG PC Client Platform Firmware Profile, §10.4.1).
const (
	evNoAction          = 0x03
	evSeparator         = 0x04
	evEventTag          = 0x06
	evCRTMVersion       = 0x08
	evTableOfDevices    = 0x0a
	evIPL               = 0x0d
	evNonhostInfo       = 0x11
	evVariableConfig    = 0x80000001
	evVariableBoot      = 0x80000002
	evBootApplication   = 0x80000003
	evGPT               = 0x80000006
	evEFIAction         = 0x80000007
	evFirmwareBlob2     = 0x8000000a
	evHandoffTables2    = 0x8000000b
	evVariableAuthority = 0x800000e0
)

// bankAlgs are the PCR banks of the provider's TPMs, in the order in which logs give digests.
var bankAlgs = []tpm.Alg{tpm.SHA1, tpm.SHA256, tpm.SHA384}

// An event is one measurement, on its way into a log.
type event struct {
	index   uint32 // PCR, or RTMR + 1 in a CCEL
	kind    uint32
	digests map[tpm.Alg][]byte
	data    []byte
}

// A story is what a machine's boot measures into its TPM.
type story struct{ events []event }

// add measures data.
func (s *story) add(pcr, kind uint32, data []byte) { s.opaque(pcr, kind, data, data) }

// opaque measures something and describes it with other data.
func (s *story) opaque(pcr, kind uint32, data, measured []byte) {
	s.events = append(s.events, event{pcr, kind, digestsOf(measured), data})
}

// separator ends the firmware's measurements into a register.
func (s *story) separator(pcr uint32) { s.add(pcr, evSeparator, make([]byte, 4)) }

// quiet logs without measuring.
func (s *story) quiet(pcr uint32, data []byte) {
	e := event{pcr, evNoAction, make(map[tpm.Alg][]byte), data}
	for _, alg := range bankAlgs {
		e.digests[alg] = make([]byte, alg.Hash().Size())
	}
	s.events = append(s.events, e)
}

func digestsOf(measured []byte) map[tpm.Alg][]byte {
	digests := make(map[tpm.Alg][]byte, len(bankAlgs))
	for _, alg := range bankAlgs {
		h := alg.Hash().New()
		h.Write(measured)
		digests[alg] = h.Sum(nil)
	}
	return digests
}

// register maps a PCR to the index by which a CCEL names its register, RTMR + 1 (UEFI 2.10,
// §38.4.1).
func register(pcr uint32) (index uint32, ok bool) {
	switch {
	case pcr == 1 || pcr == 7:
		return 1, true
	case pcr >= 2 && pcr <= 6:
		return 2, true
	case pcr >= 8 && pcr <= 15:
		return 3, true
	}
	return 0, false
}

// ccelOf returns what the trust domain whose TPM heard a story measures itself: its firmware's
// tables first, one separator for each register, and none of the boot stub's tags.
func ccelOf(story []event, name string) []event {
	var out []event
	begun, separated := false, make(map[uint32]bool)
	for _, e := range story {
		if e.kind == evNoAction {
			e.index = 0
			out = append(out, e)
			continue
		}
		if !begun {
			begun = true
			out = append(out,
				event{1, evHandoffTables2, digestsOf(octets(64, name, "TdxTable")), []byte("\tTdxTable\x00\x01\x00\x00\x00\x00\x00\x00\x00")},
				event{1, evFirmwareBlob2, digestsOf(octets(64, name, "CFV")), []byte(")Fv(48DB5E17-707C-472D-91CD-1613E7EF51B0)\x00")})
		}
		index, ok := register(e.index)
		if !ok || e.kind == evEventTag && e.index == 9 || e.kind == evSeparator && separated[index] {
			continue
		}
		separated[index] = separated[index] || e.kind == evSeparator
		e.index = index
		out = append(out, e)
	}
	return out
}

// writeTCG writes a TPM's log: TCG_EfiSpecIDEvent and TCG_PCR_EVENT2 (Firmware Profile, §10.2).
func writeTCG(events []event) []byte { return writeLog(0, bankAlgs, events) }

// writeCCEL writes a trust domain's log, which has SHA-384 alone.
func writeCCEL(events []event) []byte { return writeLog(1, []tpm.Alg{tpm.SHA384}, events) }

func writeLog(headerIndex uint32, algs []tpm.Alg, events []event) []byte {
	u16, u32 := binary.LittleEndian.AppendUint16, binary.LittleEndian.AppendUint32
	spec := append([]byte("Spec ID Event03\x00"), 0, 0, 0, 0, 0, 2, 0, 2)
	spec = u32(spec, uint32(len(algs)))
	for _, alg := range algs {
		spec = u16(u16(spec, uint16(alg)), uint16(alg.Hash().Size()))
	}
	spec = append(spec, 0)
	b := append(u32(u32(nil, headerIndex), evNoAction), make([]byte, 20)...)
	b = append(u32(b, uint32(len(spec))), spec...)
	for _, e := range events {
		b = u32(u32(u32(b, e.index), e.kind), uint32(len(algs)))
		for _, alg := range algs {
			b = append(u16(b, uint16(alg)), e.digests[alg]...)
		}
		b = append(u32(b, uint32(len(e.data))), e.data...)
	}
	return b
}

// logReader takes little-endian fields; the first error stays.
type logReader struct {
	b   []byte
	off int
	err error
}

func (r *logReader) take(n int) []byte {
	if r.err == nil && (n < 0 || n > len(r.b)-r.off) {
		r.err = fmt.Errorf("%d bytes at %d: %d are left", n, r.off, len(r.b)-r.off)
	}
	if r.err != nil {
		return make([]byte, 4)
	}
	r.off += n
	return r.b[r.off-n : r.off : r.off]
}

func (r *logReader) u32() uint32 { return binary.LittleEndian.Uint32(r.take(4)) }
func (r *logReader) u16() uint16 { return binary.LittleEndian.Uint16(r.take(2)) }

// readLog reads a log up to its padding, and where it ends. It is the machine's side of a log,
// independent of the verifier's.
func readLog(b []byte) (events []event, end int, err error) {
	r := &logReader{b: b}
	r.take(28)
	r.take(int(r.u32()))
	for r.err == nil && len(b)-r.off >= 12 {
		if pad := binary.LittleEndian.Uint64(b[r.off:]); pad == 0 && binary.LittleEndian.Uint32(b[r.off+8:]) == 0 || pad == 1<<64-1 {
			break
		}
		e := event{index: r.u32(), kind: r.u32(), digests: make(map[tpm.Alg][]byte)}
		for range min(r.u32(), 8) {
			alg := tpm.Alg(r.u16())
			if alg.Hash() == crypto.Hash(0) {
				return nil, 0, fmt.Errorf("event %d: digest of algorithm %s", len(events), alg)
			}
			e.digests[alg] = r.take(alg.Hash().Size())
		}
		e.data = r.take(int(r.u32()))
		events = append(events, e)
	}
	return events, r.off, r.err
}
