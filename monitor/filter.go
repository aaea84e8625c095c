package monitor

import (
	"bytes"
	"context"
	"encoding/hex"
	"iter"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/poclog/poclog"
)

// A Filter says which records to list. Its zero value is all.
type Filter struct {
	Origin   string // of the log; "" is every log, in the order in which they were added
	From, To uint64 // indices: From ≤ index < To; To 0 is the end

	Kind     Kind
	Profile  poclog.Profile
	Realm    poclog.Realm
	MinLevel uint32

	Provider, Region, Zone string // "" is any
	Authentic              bool   // hints do not count for the three above

	Since, Until time.Time // Since ≤ appraised < Until; zero is no limit

	Identity poclog.Identity // of any kind: records that have it
}

// maxRead is how many records are read at once.
const maxRead = 1 << 10

// Records lists records in the order of their logs. What a process adds meanwhile may or may not be
// among them.
func (m *Monitor) Records(ctx context.Context, f Filter) iter.Seq2[*Record, error] {
	return func(yield func(*Record, error) bool) {
		logs, err := m.state.logs(ctx)
		if err != nil {
			yield(nil, err)
			return
		}
		for _, l := range logs {
			if f.Origin != "" && f.Origin != l.origin {
				continue
			}
			more, err := m.logRecords(ctx, l, &f, func(r *Record) bool { return yield(r, nil) })
			if err != nil {
				yield(nil, err)
				return
			}
			if !more {
				return
			}
		}
	}
}

// logRecords lists records of one log, and reports whether more are wanted.
func (m *Monitor) logRecords(ctx context.Context, l *logState, f *Filter, yield func(*Record) bool) (more bool, err error) {
	end := l.next
	if f.To != 0 {
		end = min(end, f.To)
	}
	if f.From >= end {
		return true, nil
	}
	terms, err := m.state.terms(ctx, l.number)
	if err != nil {
		return false, err
	}
	file, err := openRows(m.dir, l.number, l.next, os.O_RDONLY)
	if err != nil {
		return false, err
	}
	defer file.close()
	match := f.compile(terms)
	buf := newBlock(maxRead)
	for at := f.From; at < end; {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		part := buf[:min(maxRead, end-at)*rowSize]
		if err := file.read(at, part); err != nil {
			return false, err
		}
		for i := range part.len() {
			if r := part.row(i); match(r) && !yield(r.record(l.origin, at+uint64(i), terms)) {
				return false, nil
			}
		}
		at += uint64(part.len())
	}
	return true, nil
}

// Record returns the record of one entry, or nil if there is none.
func (m *Monitor) Record(ctx context.Context, origin string, index uint64) (*Record, error) {
	for r, err := range m.Records(ctx, Filter{Origin: origin, From: index, To: index + 1}) {
		return r, err
	}
	return nil, nil
}

// compile makes a filter a test of rows of one log.
func (f *Filter) compile(t *terms) func(*row) bool {
	id := matchIdentity(f.Identity)
	proofs := f.Profile != "" || f.Realm != "" || f.MinLevel > 0 || f.Provider != "" || f.Region != "" || f.Zone != "" || f.Identity != ""
	places := []struct {
		want term // 0: any
		at   int
		flag uint32
	}{{t.find(f.Provider), offProvider, flagProviderAuthentic}, {t.find(f.Region), offRegion, flagRegionAuthentic}, {t.find(f.Zone), offZone, flagZoneAuthentic}}
	return func(r *row) bool {
		if f.Kind != 0 && r.kind() != f.Kind || proofs && r.kind() != KindProof {
			return false
		}
		if !f.Since.IsZero() && r.appraised() < f.Since.Unix() || !f.Until.IsZero() && r.appraised() >= f.Until.Unix() {
			return false
		}
		if f.Profile != "" && r.profile() != f.Profile || f.Realm != "" && r.realm() != f.Realm || uint32(r[offLevel]) < f.MinLevel {
			return false
		}
		for _, p := range places {
			if p.want != 0 && (r.term(p.at) != p.want || f.Authentic && !r.has(p.flag)) {
				return false
			}
		}
		return id(r)
	}
}

// matchIdentity makes an identity a test of rows. One that is of no known kind matches nothing.
func matchIdentity(id poclog.Identity) func(*row) bool {
	kind, value := id.Kind(), id.Value()
	octets, _ := hex.DecodeString(strings.ReplaceAll(value, "-", "")) // of what is no hexadecimal, nothing that matches
	match := func(flag uint32, at int) func(*row) bool {
		return func(r *row) bool {
			return r.has(flag) && len(octets) > 0 && at+len(octets) <= rowSize && bytes.Equal(r[at:at+len(octets)], octets)
		}
	}
	switch kind {
	case poclog.IntelPPID:
		return match(flagPPID, offChip)
	case poclog.AMDChipID:
		return match(flagChipID, offChip)
	case poclog.IntelPIID:
		return match(flagPIID, offPIID)
	case poclog.TPMEK:
		return match(flagEK, offEK)
	case poclog.TPMAK:
		return match(flagAK, offAK)
	case poclog.QuoteKind:
		return match(flagQuote, offQuote)
	case poclog.AzureVM:
		return match(flagAzureVM, offInstance)
	case poclog.GCEInstance:
		p, i, _ := strings.Cut(value, ":")
		project, _ := strconv.ParseUint(p, 10, 64)
		instance, _ := strconv.ParseUint(i, 10, 64)
		return func(r *row) bool {
			return r.has(flagGCEInstance) && project != 0 && r.u64(offInstance) == project && r.u64(offInstance+8) == instance
		}
	}
	return func(*row) bool { return id == "" }
}
