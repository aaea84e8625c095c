package monitor

import "hash/maphash"

// An index finds entries that share an identity and differ in what the rules say should not differ
// (rule.Rule.Facets). For every key, value and log it knows the latest entry, in a slot of 24
// bytes; those of one key lie together. Keys and values are hashed under a secret of the process: nobody can choose two that fall
// together, and by chance two values of one key do so once in 2^64.
//
// Slots lie in shards that grow one at a time and by a half, so that neither growth nor what it
// leaves empty takes much memory.
type index struct {
	seed   maphash.Seed
	shards [shards]shard
	warmed uint64 // see warm
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
	key   uint64 // hash of the key; never 0, which marks a free slot
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

func newIndex() *index {
	x := &index{seed: maphash.MakeSeed()}
	for i := range x.shards {
		x.shards[i].slots = make([]slot, 16)
	}
	return x
}

// A facet is a key that entries share and the value in which they may differ, both hashed.
type facet struct {
	key, value uint64
	rising     bool
}

func (s *shard) at(key uint64) int {
	// The upper bits of the hash chose the shard; the middle ones choose the slot.
	return int((key << 8 >> 32) * uint64(len(s.slots)) >> 32)
}

// after returns the place after one.
func (s *shard) after(i int) int {
	if i++; i < len(s.slots) {
		return i
	}
	return 0
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
		i = s.after(i)
	}
	s.slots[i] = x
}

func (s *shard) grow() {
	old := s.slots
	s.slots = make([]slot, len(old)+len(old)/2)
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

// warm has the processor fetch the slots of facets at once, which lie anywhere in memory, and not
// one after the other as each is added.
func (x *index) warm(facets []facet) {
	for _, f := range facets {
		s := x.shard(f.key)
		x.warmed ^= s.slots[s.at(f.key)].key
	}
}

// add takes an entry's facet, and calls found for every entry that it has to be compared with.
//
// A value that is new to its key is compared with every other. One that its key had before, but not
// last, is compared with what came between. And whatever other value an entry has that is not
// proven to be older is compared, for it may overlap.
func (x *index) add(a arrival, f facet, found func(ref)) {
	if f.rising {
		x.addRising(a, f, found)
		return
	}
	s := x.shard(f.key)
	var mine, oldest *slot
	values, elsewhere := 0, false
	for i := s.at(f.key); s.slots[i].key != 0; i = s.after(i) {
		switch c := &s.slots[i]; {
		case c.key != f.key:
		case c.ref.log() != a.log:
			elsewhere = true
		default:
			if values++; c.value == f.value {
				mine = c
			} else if oldest == nil || c.ref.index() < oldest.ref.index() {
				oldest = c
			}
		}
	}
	isNew, isCurrent := mine == nil, mine != nil && mine.ref&current != 0
	if (oldest != nil || elsewhere) && !(isCurrent && a.after == 0) {
		s.compare(a, f, isNew, isCurrent, found)
	}
	latest := refOf(a.log, a.index) | current
	switch {
	case mine != nil:
		mine.ref = latest
	case values >= maxValues:
		oldest.value, oldest.ref = f.value, latest
	default:
		s.insert(slot{key: f.key, value: f.value, ref: latest})
	}
}

// compare calls found for the entries of other values that one has to be compared with. No other
// value is its log's current one any more.
func (s *shard) compare(a arrival, f facet, isNew, isCurrent bool, found func(ref)) {
	for i := s.at(f.key); s.slots[i].key != 0; i = s.after(i) {
		c := &s.slots[i]
		if c.key != f.key || c.value == f.value {
			continue
		}
		changed := isNew || !isCurrent && c.ref&current != 0
		overlaps := c.ref.log() == a.after && c.ref.index() >= a.treeSize
		if changed || overlaps {
			found(c.ref &^ current)
		}
		if c.ref.log() == a.log {
			c.ref &^= current
		}
	}
}

// addRising takes a value that should never fall. The two greatest entries so far are kept: the
// greatest may be too young to be proven older than one that comes late.
func (x *index) addRising(a arrival, f facet, found func(ref)) {
	s := x.shard(f.key)
	var top, second *slot
	for i := s.at(f.key); s.slots[i].key != 0; i = s.after(i) {
		switch c := &s.slots[i]; {
		case c.key != f.key || c.ref.log() != a.log:
		case top == nil || c.value > top.value:
			top, second = c, top
		default:
			second = c
		}
	}
	me := slot{key: f.key, value: f.value, ref: refOf(a.log, a.index)}
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
