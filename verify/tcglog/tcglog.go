// Package tcglog reads measured boot logs and compares two of them: the TPM's, in TCG's
// crypto-agile form ("TCG PC Client Platform Firmware Profile", §10), and the confidential
// computing event log of a trust domain (UEFI 2.10, §38.4.1), which has the same form.
//
// A log is hostile until it replays to registers that were signed. Types of events are data: an
// unknown one is no error. [Log.CheckPCRs] and [Log.CheckRTMRs] replay; [CrossCheck] then holds
// that both logs tell one story, with an exact list of what honest firmware measures on one side
// only. Equal logs show the same boot, not the same machine: that is for other checks.
//
// What is proven is digests, and their order within each register. Event data, types, EV_NO_ACTION
// events and the header are not; data is, where its digest is that of the data, which a caller who
// reads data must check. TestEveryByteOfAPairIsProtectedOrListed has the list.
//
// What is parsed is bounded by the input's length, and written as it was read. The package is pure.
// TestRealPairTellsOneStory is the evidence; go-eventlog is the oracle of its tests and fuzz
// targets, not its parser.
package tcglog

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/tpm"
)

// Limits of a log.
const (
	MaxLog    = 1 << 20 // bytes
	maxEvents = 8192
	maxAlgs   = 5
	maxDigest = 64
)

// Types of events that mean something here (PC Client Platform Firmware Profile, §10.4.1).
const (
	evNoAction         = 0x00000003
	evSeparator        = 0x00000004
	evEventTag         = 0x00000006
	evNonhostInfo      = 0x00000011
	evFirmwareBlob2    = 0x8000000a
	evHandoffTables2   = 0x8000000b
	evHCRTM            = 0x80000010
	specID             = "Spec ID Event03\x00"
	startupLocality    = "StartupLocality\x00"
	gceNonHostInfo     = "GCE NonHostInfo\x00"
	unusedIndex        = 0xffffffff
	ccMRTD             = 0
	ccFirstRTMR        = 1
	ccLastRTMR         = 4
	ccGuestRTMR        = 3 // RTMR3, which the guest extends as it likes
	lastPCR            = 23
	firstDRTM, lastDRT = 17, 22 // registers that start as ones, and as zeros once a dynamic launch has reset them
	maxLocality        = 4
)

// A Kind says whose log it is.
type Kind string

// The kinds.
const (
	TPM  Kind = "tcg-log" // indexes are PCRs
	CCEL Kind = "ccel"    // indexes are measurement registers: RTMR + 1
)

// An Event is one measurement.
type Event struct {
	Number  int    // from 0, in the log's order
	Index   uint32 // PCR, or measurement register
	Type    uint32
	Digests [][]byte // in the order of the log's algorithms
	Data    []byte
}

// A Log is a parsed log.
type Log struct {
	Kind   Kind
	Algs   []tpm.Alg
	Events []Event

	first   []byte   // the first event as it was: none of it is measured
	digests [][]byte // room for those of events that are still to be read
}

type reader struct {
	b    []byte
	off  int
	kind Kind
	err  error
}

// fail keeps the first error: what is read after it is zero, and no further one.
func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = verify.Failf(verify.Format, "%s: byte %d: %s", r.kind, r.off, fmt.Sprintf(format, args...))
	}
}

func (r *reader) take(n uint32, what string) []byte {
	if uint64(n) > uint64(len(r.b)-r.off) {
		r.fail("%s of %d bytes: %d are left", what, n, len(r.b)-r.off)
	}
	if r.err != nil {
		return nil
	}
	p := r.b[r.off : r.off+int(n) : r.off+int(n)]
	r.off += int(n)
	return p
}

func (r *reader) u32(what string) uint32 {
	if p := r.take(4, what); p != nil {
		return binary.LittleEndian.Uint32(p)
	}
	return 0
}

func (r *reader) u16(what string) uint16 {
	if p := r.take(2, what); p != nil {
		return binary.LittleEndian.Uint16(p)
	}
	return 0
}

// Parse parses a log without padding. A malformed one is a [verify.Format] error.
func Parse(kind Kind, item []byte) (*Log, error) {
	l, end, err := parse(kind, item)
	if err != nil {
		return nil, err
	}
	if end != len(item) {
		return nil, verify.Failf(verify.Format, "%s: %d bytes after the last event", kind, len(item)-end)
	}
	return l, nil
}

// Trim cuts what firmware and kernels leave after the last event: the rest of the buffer, all ones
// or all zeros.
func Trim(kind Kind, padded []byte) ([]byte, error) {
	_, end, err := parse(kind, padded)
	if err != nil {
		return nil, err
	}
	rest := padded[end:]
	if len(bytes.Trim(rest, "\x00")) > 0 && len(bytes.Trim(rest, "\xff")) > 0 {
		return nil, verify.Failf(verify.Format, "%s: bytes other than padding after the last event, at %d", kind, end)
	}
	return padded[:end:end], nil
}

// parse returns the log at the start of b and where it ends.
func parse(kind Kind, b []byte) (*Log, int, error) {
	if len(b) > MaxLog {
		return nil, 0, verify.Failf(verify.Format, "%s of %d bytes: want at most %d", kind, len(b), MaxLog)
	}
	r := &reader{b: b, kind: kind}
	l := &Log{Kind: kind}
	sizes := l.header(r)
	l.grow(r, sizes)
	for r.err == nil && !r.atPadding() {
		if len(l.Events) == maxEvents {
			r.fail("more than %d events", maxEvents)
			break
		}
		l.event(r, sizes)
	}
	if r.err != nil {
		return nil, 0, r.err
	}
	if err := l.checkLocality(); err != nil {
		return nil, 0, err
	}
	return l, r.off, nil
}

// atPadding reports whether the rest is the end of the log or of its buffer. An event of type 0 in
// register 0 with no digest, as zeros would be read, is none.
func (r *reader) atPadding() bool {
	rest := r.b[r.off:]
	if len(rest) == 0 {
		return true
	}
	head := rest[:min(len(rest), 12)]
	return len(bytes.Trim(head, "\x00")) == 0 || len(bytes.Trim(head, "\xff")) == 0
}

// header reads the first event, TCG_EfiSpecIDEvent, which names the algorithms. A CCEL's stands in
// register 0 or, as OVMF has it, 1.
func (l *Log) header(r *reader) (sizes []uint32) {
	if l.Kind != TPM && l.Kind != CCEL {
		r.fail("kind %q", l.Kind)
		return nil
	}
	if index := r.u32("index"); index > 1 || l.Kind == TPM && index > 0 {
		r.fail("header of register %d", index)
	}
	if kind := r.u32("type"); kind != evNoAction {
		r.fail("first event of type %#x: want EV_NO_ACTION", kind)
	}
	if digest := r.take(20, "SHA-1 digest"); !verify.IsZero(digest) {
		r.fail("header with digest %x: want zeros", digest)
	}
	body := reader{b: r.take(r.u32("event size"), "event"), kind: l.Kind}
	if string(body.take(uint32(len(specID)), "signature")) != specID {
		r.fail("the first event is not %q: logs of SHA-1 alone are refused", specID[:15])
		return nil
	}
	body.take(8, "platform class and version")
	n := body.u32("count of algorithms")
	if n < 1 || n > maxAlgs {
		body.fail("%d algorithms: want 1 to %d", n, maxAlgs)
	}
	for range n {
		alg, size := tpm.Alg(body.u16("algorithm")), uint32(body.u16("digest size"))
		if body.err != nil {
			break
		}
		if h := alg.Hash(); h != 0 && int(size) != h.Size() || size == 0 || size > maxDigest {
			body.fail("algorithm %s with digests of %d bytes", alg, size)
		}
		if slices.Contains(l.Algs, alg) {
			body.fail("algorithm %s twice", alg)
		}
		l.Algs, sizes = append(l.Algs, alg), append(sizes, size)
	}
	if vendor := body.take(1, "vendor info size"); body.err == nil {
		body.take(uint32(vendor[0]), "vendor info")
	}
	if body.off != len(body.b) {
		body.fail("bytes after the vendor info")
	}
	if body.err != nil {
		r.fail("header: %s", body.err)
	}
	if l.algorithm(tpm.SHA384) < 0 {
		r.fail("no SHA-384 digests: they are what a trust domain measures with")
	}
	if l.Kind == CCEL && len(l.Algs) > 1 {
		r.fail("%d algorithms: want SHA-384 alone, since registers prove no other", len(l.Algs))
	}
	l.first = r.b[:r.off:r.off]
	return sizes
}

// grow makes room for the events that the lengths in the rest of a log lead to, and for one more,
// which may be cut off.
func (l *Log) grow(r *reader, sizes []uint32) {
	if r.err != nil {
		return
	}
	head := 12
	for _, n := range sizes {
		head += 2 + int(n)
	}
	n := 1
	for rest := r.b[r.off:]; len(rest) >= head+4 && n <= maxEvents; n++ {
		data := binary.LittleEndian.Uint32(rest[head:])
		if rest = rest[head+4:]; uint64(data) > uint64(len(rest)) {
			break
		}
		rest = rest[data:]
	}
	l.Events, l.digests = make([]Event, 0, n), make([][]byte, n*len(sizes))
}

// event reads a TCG_PCR_EVENT2.
func (l *Log) event(r *reader, sizes []uint32) {
	e := Event{Number: len(l.Events), Index: r.u32("index"), Type: r.u32("type")}
	switch {
	case l.Kind == TPM && e.Index > lastPCR && (e.Type != evNoAction || e.Index != unusedIndex):
		r.fail("event %d: PCR %d", e.Number, e.Index)
	case l.Kind == CCEL && (e.Index > ccLastRTMR || e.Index == ccMRTD && e.Type != evNoAction):
		r.fail("event %d: measurement register %d: want 1 to 4", e.Number, e.Index)
	}
	if n := r.u32("digest count"); uint64(n) != uint64(len(l.Algs)) {
		r.fail("event %d: digest count %d: want %d", e.Number, n, len(l.Algs))
	}
	if r.err != nil {
		return
	}
	// What is read before an error has the lengths that grow counted.
	e.Digests, l.digests = l.digests[:len(sizes):len(sizes)], l.digests[len(sizes):]
	for i := range sizes {
		if alg := tpm.Alg(r.u16("algorithm")); alg != l.Algs[i] {
			r.fail("event %d: digest %d of algorithm %s: want %s", e.Number, i, alg, l.Algs[i])
		}
		e.Digests[i] = r.take(sizes[i], "digest")
	}
	e.Data = r.take(r.u32("event size"), "event data")
	if r.err == nil {
		l.Events = append(l.Events, e)
	}
}

// checkLocality holds StartupLocality to the Platform Firmware Profile, §10.4.5.3: one, before PCR
// 0 is extended.
func (l *Log) checkLocality() error {
	var seen, extended bool
	for i := range l.Events {
		e := &l.Events[i]
		extended = extended || e.Index == 0 && e.Type != evNoAction
		if l.Kind != TPM || !e.saysLocality() {
			continue
		}
		if n := len(startupLocality); seen || extended || len(e.Data) != n+1 || e.Data[n] > maxLocality {
			return verify.Failf(verify.Format, "%s: event %d: StartupLocality: want one, before PCR 0 is extended, with a locality of 0 to %d",
				l.Kind, e.Number, maxLocality)
		}
		seen = true
	}
	return nil
}

// saysLocality reports whether a TPM's event names the locality from which the TPM was started.
func (e *Event) saysLocality() bool {
	return e.Index == 0 && e.Type == evNoAction && bytes.HasPrefix(e.Data, []byte(startupLocality))
}

func (l *Log) algorithm(alg tpm.Alg) int { return slices.Index(l.Algs, alg) }

// Marshal writes the log: its header as it was parsed, and its events. A log that was parsed is
// written as it was read.
func (l *Log) Marshal() []byte {
	le := binary.LittleEndian
	out := bytes.Clone(l.first)
	for i := range l.Events {
		e := &l.Events[i]
		out = le.AppendUint32(out, e.Index)
		out = le.AppendUint32(out, e.Type)
		out = le.AppendUint32(out, uint32(len(e.Digests)))
		for j, d := range e.Digests {
			out = append(le.AppendUint16(out, uint16(l.Algs[j])), d...)
		}
		out = append(le.AppendUint32(out, uint32(len(e.Data))), e.Data...)
	}
	return out
}
