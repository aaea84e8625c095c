package agree

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/testlog"
	"github.com/poclog/poclog/verify/index"
)

// An indexed log has entries that are much alike, an index of some of them, and its receipt.
type indexed struct {
	w       *world
	log     *testlog.Log
	key     *testlog.Signer // the log's
	placed  []placed        // by number
	numbers map[string][]uint64
	values  []keyed
	asked   []string // names that a dossier is of, beside those that are there
	wrong   string   // the name of which the index is wrong, if there is one
	size    uint64   // of the index
	tree    uint64   // of the receipt's checkpoint
	at      int64    // when the index's checkpoint is signed
	named   []byte   // the index's checkpoint
	index   uint64   // number of the index entry
	signed  []byte
}

// placed is an entry where it stands, with its challenge and the first checkpoint that covers it.
type placed struct {
	challenge, first []byte
	covered          uint64 // size of the challenge
	at               int64
}

func (c *corpus) indexed(m *mutator, wrong bool) *indexed {
	return c.indexedOf(m, origin, c.claims(m), wrong)
}

// indexedOf is such a log of a name, with entries of two kinds.
func (c *corpus) indexedOf(m *mutator, name string, pair [2]*tree, wrong bool) *indexed {
	x := &indexed{w: c.world, log: &testlog.Log{Origin: name}, key: c.world.log, numbers: map[string][]uint64{}, at: start}
	if name == other {
		x.key = c.world.log2
	}
	for i := range uint64(1 + m.IntN(7)) {
		x.at += pick(m, []int64{30, 300, 3600, 100_000})
		x.publish(m, i, pair[m.IntN(2)].clone())
	}
	x.finish(m, wrong)
	return x
}

// finish makes the index of what was published, right or wrong, and commits to it.
func (x *indexed) finish(m *mutator, wrong bool) {
	x.size = uint64(len(x.log.Leaves))
	if m.chance(8) {
		x.size = uint64(m.IntN(len(x.log.Leaves) + 1))
	}
	for i, leaf := range x.log.Leaves[:x.size] {
		if l, err := poclog.ParseLeaf(leaf); err == nil {
			for _, name := range index.NamesOf(l) {
				x.numbers[name] = append(x.numbers[name], uint64(i))
			}
		}
	}
	if wrong {
		x.wrong = pick(m, x.names())
		x.numbers[x.wrong] = pick(m, [][]uint64{nil, {0}, {x.size / 2}, append(x.numbers[x.wrong], x.size)})
	}
	x.commit(m)
}

// names are those that the index has, and one that it has not.
func (x *indexed) names() []string {
	out := append([]string{"intel:tdx:ppid:99999999999999999999999999999999"}, x.asked...)
	for n := range x.numbers {
		out = append(out, n)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (x *indexed) publish(m *mutator, i uint64, entry *tree) {
	for range m.IntN(3) {
		m.claim(entry)
	}
	leaf, p := x.prove(m, i, entry)
	switch {
	case m.chance(4):
		leaf = m.statementLeaf(m.sealed(m.statement(hexID("intel:tdx:ppid:", 16, 1+m.IntN(2)), 1+m.IntN(9), nil), 1+m.IntN(2)), start)
	case m.chance(6):
		leaf = pick(m, [][]byte{config, []byte(`{"v":1,"kind":"statement"}`), []byte("x"), []byte(`{"v":1,"kind":"proof"}`)})
	}
	x.add(m, leaf, p)
}

// prove is a proof with its challenge.
func (x *indexed) prove(m *mutator, i uint64, entry *tree) (leaf []byte, p placed) {
	p = placed{at: x.at, covered: uint64(m.IntN(int(i) + 1))}
	p.challenge = x.log.Checkpoint(p.covered, x.w.signers(m, x.key, x.at)...)
	h := history{log: x.log, challenge: p.challenge}
	if fresh := entry.get("fresh"); fresh != nil && fresh.kind == '{' {
		h.fresh(entry, x.log.Origin, p.covered)
	} else {
		p.challenge = nil
	}
	entry.set(quote(time.Unix(x.at+int64(m.IntN(40)), 0).UTC().Format(time.RFC3339)), "appraised")
	return entry.bytes(false), p
}

// add adds a leaf, and the first checkpoint that covers it.
func (x *indexed) add(m *mutator, leaf []byte, p placed) {
	x.log.Leaves = append(x.log.Leaves, leaf)
	p.first = x.log.Checkpoint(uint64(len(x.log.Leaves)), x.w.signers(m, x.key, x.at+40)...)
	x.placed = append(x.placed, p)
}

// commit logs the index entry and signs a tree with it.
func (x *indexed) commit(m *mutator) {
	for name, numbers := range x.numbers {
		if len(numbers) > 0 {
			x.values = append(x.values, keyed{index.KeyOf(name), valueOf([32]byte{}, numbers)})
		}
	}
	sort.Slice(x.values, func(i, j int) bool { return bytes.Compare(x.values[i].key[:], x.values[j].key[:]) < 0 })
	x.at += 60
	size := x.size
	if m.chance(30) {
		size = min(size+1, uint64(len(x.log.Leaves)))
	}
	x.named = x.log.Checkpoint(size, x.w.signers(m, x.key, x.at)...)
	root := mapRoot(x.values)
	leaf := fmt.Appendf(nil, `{"v":1,"kind":"index","algorithm":%d,"size":"%d","checkpoint":"%x","root":"%x"}`, 1+m.IntN(30)/29, x.size, sha256.Sum256(x.named), root)
	x.index = uint64(len(x.log.Leaves))
	x.log.Leaves = append(x.log.Leaves, leaf)
	for i := range m.IntN(3) {
		x.log.Leaves = append(x.log.Leaves, fmt.Appendf(nil, "later %d", i))
	}
	x.tree = uint64(len(x.log.Leaves))
	x.signed = x.log.Checkpoint(x.tree, x.w.signers(m, x.key, x.at+20)...)
}

// receipt is of any entry, in the tree that the index's receipt is of.
func (x *indexed) receipt(i uint64) []byte {
	r := &poclog.Receipt{Entry: x.log.Leaves[i], Index: i, Inclusion: x.log.Inclusion(i, x.tree, x.signed)}
	if i < uint64(len(x.placed)) {
		r.Challenge = x.placed[i].challenge
		if !bytes.HasPrefix(x.log.Leaves[i], []byte(`{"v":1,"kind":"proof"`)) {
			r.Challenge = nil
		}
	}
	return file(r)
}

type keyed struct{ key, value [32]byte }

// valueOf chains numbers, by the definition.
func valueOf(v [32]byte, numbers []uint64) [32]byte {
	for _, n := range numbers {
		b := append([]byte("poclog/index/number/v1\n"), v[:]...)
		v = sha256.Sum256(append(b, byte(n>>56), byte(n>>48), byte(n>>40), byte(n>>32), byte(n>>24), byte(n>>16), byte(n>>8), byte(n)))
	}
	return v
}

func bitOf(key [32]byte, bit int) byte { return key[bit/8] >> (7 - bit%8) & 1 }

// parted splits keys that are sorted where they first differ.
func parted(all []keyed) (bit, at int) {
	for bitOf(all[0].key, bit) == bitOf(all[len(all)-1].key, bit) {
		bit++
	}
	return bit, sort.Search(len(all), func(i int) bool { return bitOf(all[i].key, bit) == 1 })
}

// mapRoot is the root of a map, by the definition.
func mapRoot(all []keyed) [32]byte {
	switch len(all) {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return sha256.Sum256(append(all[0].key[:], all[0].value[:]...))
	}
	bit, at := parted(all)
	l, r := mapRoot(all[:at]), mapRoot(all[at:])
	return sha256.Sum256(append(append(l[:], r[:]...), byte(bit)))
}

// mapProof shows what a map says of a key.
func mapProof(all []keyed, key [32]byte) []byte {
	if len(all) == 0 {
		return []byte("mptproof\x00")
	}
	var path []byte
	for len(all) > 1 {
		bit, at := parted(all)
		own, beside := all[:at], all[at:]
		if bitOf(key, bit) == 1 {
			own, beside = beside, own
		}
		h := mapRoot(beside)
		path = append(append([]byte{byte(bit)}, h[:]...), path...)
		all = own
	}
	head := []byte("mptproof\x01")
	if all[0].key != key {
		head = append([]byte("mptproof\x02"), all[0].key[:]...)
	}
	return append(append(head, all[0].value[:]...), path...)
}

// consistency is RFC 6962's SUBPROOF.
func consistency(m int, leaves [][]byte, whole bool) [][32]byte {
	if m == len(leaves) {
		if whole {
			return nil
		}
		return [][32]byte{rootOf(leaves)}
	}
	k := 1
	for k*2 < len(leaves) {
		k *= 2
	}
	if m <= k {
		return append(consistency(m, leaves[:k], whole), rootOf(leaves[k:]))
	}
	return append(consistency(m-k, leaves[k:], false), rootOf(leaves[:k]))
}

// without are the greatest subtrees that hold none of the numbers.
func without(leaves [][]byte, first uint64, numbers []uint64) [][32]byte {
	n := uint64(len(leaves))
	from := sort.Search(len(numbers), func(i int) bool { return numbers[i] >= first })
	if from == len(numbers) || numbers[from] >= first+n {
		return [][32]byte{rootOf(leaves)}
	}
	if n == 1 {
		return nil
	}
	k := uint64(1)
	for k*2 < n {
		k *= 2
	}
	return append(without(leaves[:k], first, numbers), without(leaves[k:], first+k, numbers)...)
}

var (
	b64url = base64.RawURLEncoding.EncodeToString
	b64    = base64.StdEncoding.EncodeToString
)

func (t *tree) add(name string, kid *tree) { t.insert(len(t.kids), name, kid) }

// said is what the index says of a name, of the numbers from the last below since on.
func (x *indexed) said(v *tree, name string, since uint64) (numbers []uint64) {
	v.add("name", &tree{raw: quote(name)})
	v.add("proof", &tree{raw: quote(b64url(mapProof(x.values, index.KeyOf(name))))})
	numbers = x.numbers[name]
	from := max(0, sort.Search(len(numbers), func(i int) bool { return numbers[i] >= since })-1)
	if whole(name) && len(numbers)%7 != 6 {
		from = 0
	}
	if from > 0 {
		before := valueOf([32]byte{}, numbers[:from])
		v.add("before", &tree{raw: quote(hex.EncodeToString(before[:]))})
		numbers = numbers[from:]
	}
	if len(numbers) > 0 {
		list := &tree{kind: '['}
		for _, n := range numbers {
			list.kids = append(list.kids, &tree{raw: fmt.Sprintf(`"%d"`, n)})
		}
		v.add("numbers", list)
	}
	return numbers
}

// whole says whether a dossier lists a name's entries from the first.
func whole(name string) bool {
	return name == "config" || strings.HasPrefix(name, "statements:") || strings.HasPrefix(name, "registrar:")
}

// dossier is a dossier of some names. Leaves are single values in it.
func (x *indexed) dossier(m *mutator) *tree {
	d := &tree{kind: '{'}
	d.add("v", &tree{raw: "1"})
	d.add("index", &tree{raw: quote(b64url(x.receipt(x.index)))})
	d.add("checkpoint", &tree{raw: quote(b64url(x.named))})
	since := uint64(0)
	if m.chance(3) {
		since = uint64(m.IntN(int(x.size) + 1))
		d.add("since", &tree{raw: quote(b64url(x.log.Checkpoint(since, x.w.signers(m, x.key, x.at-100)...)))})
	}
	names, listed := &tree{kind: '['}, map[uint64]bool{}
	few := m.IntN(3)
	for _, n := range x.names() {
		if few == 0 && m.chance(2) && len(names.kids) > 0 {
			continue
		}
		v := &tree{kind: '{'}
		for _, n := range x.said(v, n, since) {
			listed[n] = true
		}
		names.kids = append(names.kids, v)
	}
	d.add("names", names)
	if pages := x.pages(m, listed); len(pages.kids) > 0 {
		d.add("pages", pages)
	}
	return d
}

func (x *indexed) pages(m *mutator, listed map[uint64]bool) *tree {
	var all []uint64
	for n := range listed {
		if n < x.index {
			all = append(all, n)
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i] < all[j] })
	pages, intervals := &tree{kind: '['}, !m.chance(3)
	for len(all) > 0 {
		n := 1 + m.IntN(len(all))
		pages.kids = append(pages.kids, x.page(m, all[:n], intervals))
		all = all[n:]
	}
	return pages
}

func (x *indexed) page(m *mutator, numbers []uint64, intervals bool) *tree {
	page, entries, checkpoints := &tree{kind: '{'}, &tree{kind: '['}, &tree{kind: '['}
	refer := func(e *tree, name string, signed []byte, size uint64) {
		if len(signed) == 0 || m.chance(6) {
			return
		}
		c := &tree{kind: '{'}
		c.add("checkpoint", &tree{raw: quote(b64url(signed))})
		if size > 0 && size < x.tree {
			c.add("consistency", hexes(consistency(int(size), x.log.Leaves[:x.tree], true)))
		}
		checkpoints.kids = append(checkpoints.kids, c)
		e.add(name, &tree{raw: fmt.Sprint(len(checkpoints.kids))})
	}
	for _, n := range numbers {
		e := &tree{kind: '{'}
		e.add("number", &tree{raw: fmt.Sprintf(`"%d"`, n)})
		e.add("leaf", &tree{raw: string(x.log.Leaves[n])})
		if p := x.placed[n]; intervals {
			if bytes.HasPrefix(x.log.Leaves[n], []byte(`{"v":1,"kind":"proof"`)) {
				refer(e, "challenge", p.challenge, p.covered)
			}
			refer(e, "first", p.first, n+1)
		}
		entries.kids = append(entries.kids, e)
	}
	page.add("entries", entries)
	if hashes := without(x.log.Leaves[:x.tree], 0, numbers); len(hashes) > 0 {
		page.add("proof", hexes(hashes))
	}
	if len(checkpoints.kids) > 0 {
		page.add("checkpoints", checkpoints)
	}
	return page
}

// spoilt is a file of the log's, as it is or as somebody changed it who cannot sign.
func (m *mutator) spoilt(v *tree) []byte {
	switch m.IntN(8) {
	case 0, 1:
		return m.tree(v).bytes(false)
	case 2:
		return m.bytes(v.bytes(false))
	case 3:
		if whole := parseTreeOrNil(v.bytes(false)); whole != nil {
			return m.tree(whole).bytes(false)
		}
	}
	return v.bytes(false)
}

func (x *indexed) ask(m *mutator, q *question) {
	q.Policy, q.Time = []byte(pick(m, x.w.policies)), time.Unix(x.at+60, 0).UTC().Format(time.RFC3339)
	q.Demands = map[string]any{}
	if !m.chance(3) {
		q.Demands["realm"] = "lab"
	}
}

// dossier is a dossier of a log that is made here, and what a reader demands of it.
func (c *corpus) dossier(m *mutator) question {
	x := c.indexed(m, m.chance(6))
	q := question{Op: "dossier", from: "a dossier of a log that is made here"}
	x.ask(m, &q)
	if !m.chance(3) {
		q.Demands["since"] = time.Unix(x.at-pick(m, []int64{-60, 0, 60, 100, 1000}), 0).UTC().Format(time.RFC3339)
	}
	if m.chance(8) {
		q.Demands["verdict"] = "audited"
	}
	if m.chance(8) {
		q.Demands["maxAge"] = 30 + m.IntN(60)
	}
	if m.chance(8) {
		q.Demands["names"] = []string{pick(m, x.names())}
	}
	q.File = m.spoilt(x.dossier(m))
	return q
}

// stapled is a receipt with a dossier that may clear it, and now and then one of another log.
func (c *corpus) stapled(m *mutator) question {
	pair := c.claims(m)
	if !m.chance(3) {
		pair[1] = pair[0]
	}
	x := c.indexedOf(m, origin, pair, m.chance(6))
	q := question{Op: "stapled", from: "a receipt with dossiers"}
	x.ask(m, &q)
	if m.chance(2) {
		q.Policy = []byte(c.world.policies[0])
	}
	if !m.chance(6) {
		q.Demands["level"] = 0
	}
	q.File = x.receipt(uint64(m.IntN(len(x.placed))))
	if !m.chance(12) {
		q.Dossiers = append(q.Dossiers, m.spoilt(x.dossier(m)))
	}
	if m.chance(3) {
		q.Policy = []byte(pick(m, c.world.policies[2:4]))
		for range m.IntN(2) {
			m.claim(pair[m.IntN(2)])
		}
		d := c.indexedOf(m, other, pair, false).dossier(m)
		q.Dossiers = append(q.Dossiers, d.bytes(false))
	}
	return q
}

// indexWrong is what the index says of a name, and an entry that it may be wrong about.
func (c *corpus) indexWrong(m *mutator) question {
	x := c.indexed(m, !m.chance(4))
	name := x.wrong
	if name == "" {
		name = pick(m, x.names())
	}
	v := &tree{kind: '{'}
	v.add("v", &tree{raw: "1"})
	v.add("rule", &tree{raw: `"index-wrong"`})
	v.add("index", &tree{raw: quote(b64url(x.receipt(x.index)))})
	x.said(v, name, uint64(m.IntN(4)))
	v.add("entry", &tree{raw: quote(b64url(x.receipt(uint64(m.IntN(int(x.size) + 1)))))})
	q := question{Op: "index-wrong", from: "an index that may be wrong"}
	x.ask(m, &q)
	q.File = m.spoilt(v)
	return q
}
