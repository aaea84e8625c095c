package monitor

import (
	"bytes"
	"context"
	"encoding/binary"
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
	UserData poclog.Digest   // of what proofs speak for, such as a TLS key; zero is any
}

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
	more = true
	for from, to := range m.spans(l.number, f, end) {
		err := file.each(ctx, from, to, func(index uint64, r *row) bool {
			more = !match(r) || yield(r.record(l.origin, index, terms))
			return more
		})
		if err != nil || !more {
			return false, err
		}
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
	id := f.wanted()
	proofs := f.Profile != "" || f.Realm != "" || f.MinLevel > 0 || f.Provider != "" || f.Region != "" || f.Zone != "" || id != nil
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
		return id == nil || id.in(r)
	}
}

// A wanted is octets that rows have at a place if they have a flag: an identity, or the beginning of
// the digest of user data.
type wanted struct {
	flag   uint32
	at     int
	octets []byte
}

// in reports whether a row has it.
func (w *wanted) in(r *row) bool {
	return r.has(w.flag) && bytes.Equal(r[w.at:w.at+len(w.octets)], w.octets)
}

// wanted says where rows have what a filter asks for; nil: it asks for no identity. What is no
// identity of a kind that rows have is found in none.
func (f *Filter) wanted() *wanted {
	switch {
	case f.UserData != poclog.Digest{}:
		return &wanted{flagFresh, offUserData, f.UserData[:userDataSize]}
	case f.Identity == "":
		return nil
	case f.Identity.Kind() == poclog.GCEInstance:
		p, i, _ := strings.Cut(f.Identity.Value(), ":")
		project, _ := strconv.ParseUint(p, 10, 64)
		instance, _ := strconv.ParseUint(i, 10, 64)
		return &wanted{flagGCEInstance, offInstance, binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, project), instance)}
	}
	octets, _ := hex.DecodeString(strings.ReplaceAll(f.Identity.Value(), "-", ""))
	for _, k := range identityKinds {
		if k.kind == f.Identity.Kind() && k.size == len(octets) {
			return &wanted{k.flag, k.at, octets}
		}
	}
	return &wanted{flag: 0}
}

// identityKinds are the identities of a row: all but a Compute Engine instance's are octets in
// hexadecimal.
var identityKinds = []struct {
	kind     string
	flag     uint32
	at, size int
}{
	{poclog.IntelPPID, flagPPID, offChip, 16}, {poclog.AMDChipID, flagChipID, offChip, 64}, {poclog.IntelPIID, flagPIID, offPIID, 16},
	{poclog.TPMEK, flagEK, offEK, 32}, {poclog.TPMAK, flagAK, offAK, 32}, {poclog.QuoteKind, flagQuote, offQuote, 32},
	{poclog.AzureVM, flagAzureVM, offInstance, 16}, {poclog.GCEInstance, flagGCEInstance, offInstance, 16},
}
