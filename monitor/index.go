package monitor

import "hash/maphash"

// An index finds entries that share an identity and differ in what the rules say should not differ
// (rule.Rule.Facets). For every key, value and log it knows the latest entry, in a slot of 24
// bytes. Keys and values are hashed under a secret of the process: nobody can choose two that fall
// together, and by chance two values of one key do so once in 2^64.
//
// Slots lie in shards that grow one at a time and by a half, so that neither growth nor what it
// leaves empty takes much memory.
type index struct {
	seed   maphash.Seed
	shards [shards]shard
}

const (
	shards = 256
	// maxValues is how many values of one key are told apart. One that honest machines have is used
	// up by moving for years; further ones take the place of the oldest.
	maxValues = 64
)

type shard struct {
	slots []slot
	used  int
}

// A slot is a key and a value with the latest entry that has both, in one log.
type slot struct {
	key   uint64 // hash of the key and the log; never 0, which marks a free slot
	value uint64 // hash of the value; of rising facets, the value
	ref   ref
}

// A ref names an entry: its log's number in the upper 15 bits below the sign, its index in the
// lower 48. The sign bit marks the value that its key has now in its log.
type ref uint64

const (
	current   ref = 1 << 63
	indexBits     = 48
)

func refOf(log int, index uint64) ref { return ref(log)<<indexBits | ref(index) }
func (r ref) log() int                { return int(r &^ current >> indexBits) }
func (r ref) index() uint64           { return uint64(r) & (1<<indexBits - 1) }

func newIndex() *index { return &index{seed: maphash.MakeSeed()} }

// A facet is a key that entries share and the value in which they may differ, both hashed.
type facet struct {
	key, value uint64
	rising     bool
}

func (s *shard) at(key uint64) int {
	// The upper bits of the hash chose the shard; the middle ones choose the slot.
	return int((key << 8 >> 32) * uint64(len(s.slots)) >> 32)
}

// slotsOf calls f for every slot of a key in a shard, until it returns false.
func (s *shard) slotsOf(key uint64, f func(*slot) bool) {
	if len(s.slots) == 0 {
		return
	}
	for i := s.at(key); s.slots[i].key != 0; {
		if s.slots[i].key == key && !f(&s.slots[i]) {
			return
		}
		if i++; i == len(s.slots) {
			i = 0
		}
	}
}

func (s *shard) insert(x slot) {
	if (s.used+1)*5 > len(s.slots)*4 {
		s.grow()
	}
	s.place(x)
	s.used++
}

func (s *shard) place(x slot) {
	i := s.at(x.key)
	for s.slots[i].key != 0 {
		if i++; i == len(s.slots) {
			i = 0
		}
	}
	s.slots[i] = x
}

func (s *shard) grow() {
	old := s.slots
	s.slots = make([]slot, max(16, len(old)+len(old)/2))
	for _, x := range old {
		if x.key != 0 {
			s.place(x)
		}
	}
}

func (x *index) shard(key uint64) *shard { return &x.shards[key>>56] }

// hash is never zero.
func (x *index) hash(b []byte) uint64 {
	if h := maphash.Bytes(x.seed, b); h != 0 {
		return h
	}
	return 1
}

// inLog is the key of a facet in one log.
func inLog(key uint64, log int) uint64 {
	k := key ^ uint64(log)*0x9e3779b97f4a7c15
	k ^= k >> 29
	if k *= 0xbf58476d1ce4e5b9; k == 0 {
		return 1
	}
	return k
}

// size returns how many slots are used, and how many bytes all take.
func (x *index) size() (used, bytes int) {
	for i := range x.shards {
		used += x.shards[i].used
		bytes += len(x.shards[i].slots) * 24
	}
	return used, bytes
}

// An arrival is an entry that comes into the index.
type arrival struct {
	log   int
	index uint64
	// after is the log whose tree of treeSize entries the entry's challenge is made of, or 0: those
	// below were certainly made before.
	after    int
	treeSize uint64
}

// add takes an entry's facet, and calls found for every entry that it has to be compared with; logs
// are all that are followed.
//
// A value that is new to its key is compared with every other. One that its key had before, but not
// last, is compared with what came between. And whatever other value an entry has that is not
// proven to be older is compared, for it may overlap.
func (x *index) add(a arrival, f facet, logs []int, found func(ref)) {
	if f.rising {
		x.addRising(a, f, found)
		return
	}
	own := inLog(f.key, a.log)
	s := x.shard(own)
	var mine, oldest *slot
	values := 0
	s.slotsOf(own, func(c *slot) bool {
		values++
		if c.value == f.value {
			mine = c
		} else if oldest == nil || c.ref.index() < oldest.ref.index() {
			oldest = c
		}
		return true
	})
	isNew, isCurrent := mine == nil, mine != nil && mine.ref&current != 0
	if isCurrent { // what may overlap is in one log alone
		only := [1]int{a.after}
		if logs = only[:]; a.after == 0 || a.after == a.log && values == 1 {
			logs = nil
		}
	}
	x.compare(a, f, logs, isNew, isCurrent, found)
	if !isCurrent {
		s.slotsOf(own, func(c *slot) bool { c.ref &^= current; return true })
	}
	latest := refOf(a.log, a.index) | current
	switch {
	case mine != nil:
		mine.ref = latest
	case values >= maxValues:
		oldest.value, oldest.ref = f.value, latest
	default:
		s.insert(slot{key: own, value: f.value, ref: latest})
	}
}

func (x *index) compare(a arrival, f facet, logs []int, isNew, isCurrent bool, found func(ref)) {
	for _, log := range logs {
		key := inLog(f.key, log)
		x.shard(key).slotsOf(key, func(c *slot) bool {
			if c.value == f.value {
				return true
			}
			changed := isNew || !isCurrent && c.ref&current != 0
			overlaps := log == a.after && c.ref.index() >= a.treeSize
			if changed || overlaps {
				found(c.ref &^ current)
			}
			return true
		})
	}
}

// addRising takes a value that should never fall. The two greatest entries so far are kept: the
// greatest may be too young to be proven older than one that comes late.
func (x *index) addRising(a arrival, f facet, found func(ref)) {
	key := inLog(f.key, a.log)
	s := x.shard(key)
	var top, second *slot
	s.slotsOf(key, func(c *slot) bool {
		switch {
		case top == nil || c.value > top.value:
			top, second = c, top
		default:
			second = c
		}
		return second == nil
	})
	me := slot{key: key, value: f.value, ref: refOf(a.log, a.index)}
	switch {
	case top == nil:
		s.insert(me)
	case f.value > top.value && second == nil:
		s.insert(me)
	case f.value > top.value:
		*second = me
	case f.value < top.value:
		found(top.ref)
		if second != nil && f.value < second.value {
			found(second.ref)
		}
	}
}
