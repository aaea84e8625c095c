package agree

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

// leaf is what some receipt is of: most often a proof.
func (c *corpus) leaf(m *mutator) *tree {
	return pick(m, c.leaves).clone()
}

// receipt is a receipt that is signed here, of an entry that may be anything, and what a reader may
// demand.
func (c *corpus) receipt(m *mutator) question {
	h := c.world.history(m, pick(m, []string{origin, origin, origin, other}), c.leaf(m), pick(m, []int{0, 0, 0, 1}))
	if m.chance(20) {
		leaf := pick(m, [][]byte{config, []byte(`{"v":1,"kind":"statement"}`), []byte(`{"v":2,"kind":"proof"}`), []byte("x"), {}, []byte(`{"v":1,"kind":"proof"}`), []byte(`{"v":1,"kind":"config"}`), []byte(`{"v":1,"kind":"proofs","x":1}`)})
		h.publish(c.world, m, c.world.log, leaf, start)
	}
	q := question{Op: "receipt", Policy: []byte(pick(m, c.world.policies)), Time: time.Unix(start+300, 0).UTC().Format(time.RFC3339), Demands: map[string]any{}, from: "a signed receipt"}
	c.demand(m, q.Demands)
	q.File = m.spoilReceipt(&h)
	return q
}

func (c *corpus) demand(m *mutator, d map[string]any) {
	if !m.chance(6) {
		d["level"] = 0
	}
	if !m.chance(3) {
		d["realm"] = "lab"
	}
	if m.chance(8) {
		d["place"] = pick(m, []string{"gce", "gce/us-central1", "gce/us-central1-a", "azure", "gce/lab-north1"})
	}
	if m.chance(8) {
		d["maxAge"] = 290 + m.IntN(60)
	}
	if m.chance(8) {
		d["maxInterval"] = 1 + m.IntN(60)
	}
}

// spoilReceipt is a receipt's file, as it is or as somebody changed it who cannot sign.
func (m *mutator) spoilReceipt(h *history) []byte {
	r := *h.receipt
	switch m.IntN(12) {
	case 0:
		return m.bytes(file(&r))
	case 1:
		return m.lines(file(&r))
	case 2:
		r.Inclusion.Checkpoint = m.lines(r.Inclusion.Checkpoint)
	case 3:
		r.Challenge = m.lines(r.Challenge)
	case 4:
		if r.First != nil {
			first := *r.First
			first.Checkpoint = m.lines(first.Checkpoint)
			r.First = &first
		}
	case 5:
		whole := string(file(&r))
		lines := strings.SplitN(whole, "\n", 3)
		extra, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(lines[1], "extra "))
		if err != nil {
			panic(err)
		}
		lines[1] = "extra " + base64.StdEncoding.EncodeToString(m.tree(parseTree(extra)).bytes(false))
		return []byte(strings.Join(lines, "\n"))
	case 6:
		r.Index = pick(m, []uint64{0, 1, r.Index + 1, h.size, 1 << 62, 1 << 63, 1<<64 - 1})
	}
	return file(&r)
}

var ruleIDs = []string{
	"quote-replayed", "ak-on-two-chips", "ek-on-two-chips", "instance-on-two-chips", "piid-on-two-ppids", "chip-static-changed", "chip-in-two-places", "two-aks-for-instance", "two-tpms-on-chassis",
	"boot-forked", "tpm-rewound", "collateral-regressed", "interval-inverted", "entry-not-reproducible", "no-rule",
}

// contradiction is two entries that are much alike, with their receipts and what a rule is said to
// find.
func (c *corpus) contradiction(m *mutator) question {
	entry := c.claims(m)
	v := &tree{kind: '{'}
	add := func(name string, kid *tree) { v.insert(len(v.kids), name, kid) }
	add("v", &tree{raw: "1"})
	id := pick(m, ruleIDs)
	add("rule", &tree{raw: quote(id)})
	claims := &tree{kind: '['}
	n := pick(m, []int{2, 2, 2, 2, 1})
	if id == "interval-inverted" || id == "entry-not-reproducible" {
		n = pick(m, []int{1, 1, 1, 2})
	}
	one := c.world.history(m, origin, entry[0], pick(m, []int{0, 0, 0, 0, 0, 1}))
	two := one
	for i := range n {
		h := one
		if i == 1 {
			two = c.later(m, &one, entry[1])
			h = two
		}
		claim := &tree{kind: '{'}
		claim.insert(0, "receipt", &tree{raw: quote(base64.RawURLEncoding.EncodeToString(file(h.receipt)))})
		if size := max(one.index+1, two.challenged()); i == 1 && size <= uint64(len(two.log.Leaves)) && m.chance(2) {
			covered := two.log.Inclusion(one.index, size, nil)
			if len(covered.Hashes) > 0 {
				claim.insert(1, "covered", hexes(covered.Hashes))
			}
		}
		claims.kids = append(claims.kids, claim)
	}
	add("claims", claims)
	if m.chance(8) {
		v = m.tree(v)
	}
	return question{Op: "contradiction", Realm: pick(m, []string{"lab", "production"}), Policy: []byte(pick(m, c.world.policies)), File: seal(v), from: "signed receipts under " + id}
}

// challenged is the size of the tree that the history's entry names.
func (h *history) challenged() (n uint64) {
	if v := parseTreeOrNil(h.receipt.Entry); v != nil {
		if size := v.get("fresh", "size"); size != nil {
			fmt.Sscanf(size.raw, `"%d"`, &n)
		}
	}
	return min(n, uint64(len(h.log.Leaves)))
}

func parseTreeOrNil(b []byte) (v *tree) {
	defer func() {
		if recover() != nil {
			v = nil
		}
	}()
	return parseTree(b)
}

// later is a history of the same log in which another entry comes after the first.
func (c *corpus) later(m *mutator, one *history, entry *tree) history {
	if m.chance(5) {
		return c.world.history(m, pick(m, []string{origin, other}), entry, 0)
	}
	l := *one.log
	l.Leaves = append([][]byte(nil), l.Leaves...)
	h := history{log: &l, index: one.size + uint64(m.IntN(3)), size: one.size + 3}
	for i := one.size; i < h.size; i++ {
		l.Leaves = append(l.Leaves, fmt.Appendf(nil, "later leaf %d", i))
	}
	at := start + int64(m.IntN(7200))
	covered := one.size
	h.challenge = l.Checkpoint(covered, c.world.signers(m, c.world.log, at)...)
	entry = entry.clone()
	if fresh := entry.get("fresh"); fresh != nil && fresh.kind == '{' {
		h.fresh(entry, origin, covered)
	} else {
		h.challenge = nil
	}
	entry.set(quote(time.Unix(at+int64(m.IntN(30)), 0).UTC().Format(time.RFC3339)), "appraised")
	h.publish(c.world, m, c.world.log, entry.bytes(false), at)
	return h
}

// seal gives a contradiction its digest.
func seal(v *tree) []byte {
	v = v.clone()
	for i, n := range v.names {
		if n == "sha256" {
			v.remove(i)
			break
		}
	}
	b := v.bytes(false)
	if v.kind != '{' || len(v.kids) == 0 {
		return b
	}
	b = b[:len(b)-1]
	digest := sha256.Sum256(b)
	return append(b, `,"sha256":"`+hex.EncodeToString(digest[:])+`"}`...)
}

func (c *corpus) splitView(m *mutator) question {
	a, b := uint64(m.IntN(9)), uint64(m.IntN(9))
	if a > b && !m.chance(5) {
		a, b = b, a
	}
	file := makeSplitView(c.world, a, b, time.Unix(start, 0), time.Unix(start, 0), m.chance(5))
	q := question{Op: "split-view", Policy: []byte(pick(m, c.world.policies)), File: file, from: fmt.Sprintf("a split view at %d and %d", a, b)}
	switch m.IntN(6) {
	case 0:
		q.File = m.bytes(file)
	case 1, 2:
		q.File = m.tree(parseTree(file)).bytes(false)
	}
	return q
}
