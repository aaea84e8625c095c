package monitor

import (
	"context"
	"hash/maphash"
	"iter"
	"math"
	"os"
	"slices"
	"sync"
)

// lookups find the rows of an identity without reading the others. They are in memory, 8 bytes for
// each identity of each row, and only where [Monitor.Index] was called.
type lookups struct {
	seed maphash.Seed

	mu   sync.RWMutex // guards logs; a lookup is never changed
	logs map[int]*lookup

	building sync.Mutex // held while they are extended
}

// A lookup is of one log.
type lookup struct {
	upTo uint64 // rows below it are in
	// refs have the hash of an identity in the upper half and its row in the lower, ascending. Two
	// identities of one hash cost reading a row too many.
	refs []uint64
}

// most is how many rows a lookup can name. Those above are read one by one.
const most = math.MaxUint32

func newLookups() *lookups { return &lookups{seed: maphash.MakeSeed(), logs: make(map[int]*lookup)} }

// key is the upper half of an identity's refs.
func (x *lookups) key(flag uint32, octets []byte) uint64 {
	var h maphash.Hash
	h.SetSeed(x.seed)
	_ = h.WriteByte(byte(flag ^ flag>>8)) // kinds of one value would only cost a row too many
	_, _ = h.Write(octets)
	return h.Sum64() &^ math.MaxUint32
}

// Index makes records of an identity, or of user data, quick to find: those that are there by now
// are no longer read one by one.
func (m *Monitor) Index(ctx context.Context) error {
	m.lookups.building.Lock()
	defer m.lookups.building.Unlock()
	logs, err := m.state.logs(ctx)
	if err != nil {
		return err
	}
	for _, l := range logs {
		if err := m.indexLog(ctx, l); err != nil {
			return err
		}
	}
	return nil
}

func (m *Monitor) indexLog(ctx context.Context, l *logState) error {
	x := m.lookups
	old := x.of(l.number)
	next := &lookup{upTo: min(l.next, most)}
	if next.upTo <= old.upTo {
		return nil
	}
	file, err := openRows(m.dir, l.number, l.next, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer file.close()
	var added []uint64
	err = file.each(ctx, old.upTo, next.upTo, func(index uint64, r *row) bool {
		added = x.refsOf(added, r, index)
		return true
	})
	if err != nil {
		return err
	}
	slices.Sort(added)
	next.refs = merge(old.refs, added)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.logs[l.number] = next
	return nil
}

// refsOf appends the refs of a row.
func (x *lookups) refsOf(refs []uint64, r *row, at uint64) []uint64 {
	if r.kind() != KindProof {
		return refs
	}
	for _, k := range identityKinds {
		if r.has(k.flag) {
			refs = append(refs, x.key(k.flag, r[k.at:k.at+k.size])|at)
		}
	}
	if speaks := r[offUserData:]; r.has(flagFresh) && [userDataSize]byte(speaks) != [userDataSize]byte{} {
		refs = append(refs, x.key(flagFresh, speaks)|at)
	}
	return refs
}

// merge is two ascending lists in one.
func merge(a, b []uint64) []uint64 {
	if len(a) == 0 {
		return slices.Clip(b)
	}
	out := make([]uint64, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if a[0] <= b[0] {
			out, a = append(out, a[0]), a[1:]
		} else {
			out, b = append(out, b[0]), b[1:]
		}
	}
	return append(append(out, a...), b...)
}

func (x *lookups) of(log int) *lookup {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if l := x.logs[log]; l != nil {
		return l
	}
	return new(lookup)
}

// near is how far apart rows may be that are read at once.
const near = 16

// spans yields from where to where the rows of a log have to be read for a filter, ascending and
// below end.
func (m *Monitor) spans(log int, f *Filter, end uint64) iter.Seq2[uint64, uint64] {
	return func(yield func(from, to uint64) bool) {
		w, from := f.wanted(), f.From
		if w != nil {
			l := m.lookups.of(log)
			key := m.lookups.key(w.flag, w.octets)
			i, _ := slices.BinarySearch(l.refs, key|min(from, most))
			for begin, to := uint64(0), uint64(0); ; i++ {
				at, more := uint64(0), i < len(l.refs) && l.refs[i]&^math.MaxUint32 == key
				if more {
					at = l.refs[i] & math.MaxUint32
					more = at < end
				}
				if more && to > 0 && at < to+near {
					to = at + 1
					continue
				}
				if to > begin && !yield(begin, to) {
					return
				}
				if begin, to = at, at+1; !more {
					break
				}
			}
			from = max(from, l.upTo)
		}
		if from < end {
			yield(from, end)
		}
	}
}
