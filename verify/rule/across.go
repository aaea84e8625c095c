package rule

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/poclog/poclog"
)

// maxFirsts bounds how many classes of one facet every claim is compared with.
const maxFirsts = 16

// A Sight is a claim as far as it is known from its leaf's projection. Most claims agree with all
// others in what the rules look at, and their entries need not be parsed.
type Sight struct {
	Origin string // of the log
	Index  uint64 // the entry's number in it
	Entry  *poclog.Projection

	// Dated says that T1, T2 or Rooted of the claim are known: where they are not, no rule finds an
	// order.
	Dated bool

	At int // by which the claim is asked for
}

// Sight is the claim's own.
func (c *Claim) Sight(at int) Sight {
	p := c.Entry.Projection()
	return Sight{c.Origin, c.Index, &p, true, at}
}

// Across runs the rules over all claims and returns one finding of each rule, severity and subject,
// in the order of the claims' numbers. Claims of one facet with one value agree, and are not
// compared with each other: the work grows with the number of claims and not with its square. Of
// claims with different values each is compared with its neighbours by number, which are the
// nearest in time, and with the first of each value.
func (l Limits) Across(claims []*Claim) []*Finding {
	sights := make([]Sight, len(claims))
	for i, c := range claims {
		sights[i] = c.Sight(i)
	}
	return l.AcrossSights(sights, func(at int) *Claim { return claims[at] })
}

// AcrossSights is [Limits.Across] of claims that are asked for where their sights differ.
func (l Limits) AcrossSights(sights []Sight, claim func(at int) *Claim) []*Finding {
	sights = slices.Clone(sights)
	slices.SortStableFunc(sights, func(a, b Sight) int {
		return cmp.Or(cmp.Compare(a.Origin, b.Origin), cmp.Compare(a.Index, b.Index))
	})
	f := finder{limits: l, seen: make(map[string]bool)}
	for i := range sights {
		if !sights[i].Dated {
			continue // rules of one claim judge its times
		}
		for _, found := range Judge(claim(sights[i].At)) {
			f.add(found)
		}
	}
	var comparing []*comparison
	for i := range all {
		if all[i].Check != nil && all[i].Facets != nil {
			comparing = append(comparing, newComparison(&all[i], l, claim))
		}
	}
	var v View
	for i := range sights {
		v.of(sights[i].Origin, sights[i].Entry)
		for _, c := range comparing {
			c.take(&v, &sights[i])
		}
	}
	for _, c := range comparing {
		for _, found := range c.found {
			f.add(found)
		}
	}
	return f.found
}

// A finder collects findings.
type finder struct {
	limits Limits
	found  []*Finding
	seen   map[string]bool
}

func (f *finder) add(found *Finding) {
	if found == nil {
		return
	}
	key := found.Rule + " " + string(found.Severity) + " " + string(found.Subject)
	if !f.seen[key] {
		f.seen[key] = true
		f.found = append(f.found, found)
	}
}

// A class is the claims with one value of a facet, as far as others are compared with it.
type class struct {
	value string
	rank  uint64
	first *Sight
}

// A group is what is known of one facet.
type group struct {
	last    class // the claim before
	classes []class
	one     [1]class // where classes begin: most groups have one
	top     [2]class // of the greatest values so far: the greatest may be too young to be proven older than a later claim
}

// A comparison is one rule's, over claims by number.
type comparison struct {
	finder
	rule   *Rule
	claim  func(at int) *Claim
	groups map[string]*group
	sight  *Sight // at hand
	put    func(Facet)

	key, value []byte
}

func newComparison(r *Rule, l Limits, claim func(at int) *Claim) *comparison {
	c := &comparison{finder: finder{limits: l, seen: make(map[string]bool)}, rule: r, claim: claim, groups: make(map[string]*group)}
	c.put = c.join
	return c
}

// take compares the next claim with those before it from which it differs.
func (c *comparison) take(v *View, s *Sight) {
	c.sight = s
	c.rule.Facets(v, c.put)
}

// joined appends parts, each after its length.
func joined(to []byte, parts ...[]byte) []byte {
	for _, p := range parts {
		to = append(binary.BigEndian.AppendUint16(to, uint16(len(p))), p...)
	}
	return to
}

// join compares the claim at hand with those that share a facet and differ in its value.
func (c *comparison) join(f Facet) {
	c.key = append(c.key[:0], c.sight.Entry.Realm...)
	for i := range f.Key {
		c.key = joined(c.key, f.Key[i])
	}
	g := c.groups[string(c.key)]
	if g == nil {
		g = new(group)
		g.classes = g.one[:0]
		c.groups[string(c.key)] = g
	}
	if c.rule.Rising {
		c.rise(g, class{rank: f.Rank, first: c.sight})
		return
	}
	c.value = joined(joined(c.value[:0], f.Value[0]), f.Value[1])
	me := class{g.last.value, 0, c.sight}
	if g.last.first == nil || me.value != string(c.value) {
		me.value = string(c.value)
		c.run(&g.last, &me)
	}
	known := false
	for i := range g.classes {
		if g.classes[i].value == me.value {
			known = true
		} else {
			c.run(&g.classes[i], &me)
		}
	}
	if !known && len(g.classes) < maxFirsts {
		g.classes = append(g.classes, me)
	}
	g.last = me
}

// rise compares a claim with those of the greatest ranks so far.
func (c *comparison) rise(g *group, me class) {
	for i := range g.top {
		if o := &g.top[i]; o.first != nil && c.mayFall(o, &me) {
			c.run(o, &me)
		}
	}
	switch top := &g.top; {
	case top[0].first == nil || me.rank > top[0].rank:
		g.top = [2]class{me, top[0]}
	case top[1].first == nil || me.rank > top[1].rank:
		top[1] = me
	}
}

// mayFall reports whether a rising rule can find anything of a claim and one with a greater number.
func (c *comparison) mayFall(o, me *class) bool {
	if c.rule.ByNumber {
		return me.rank < o.rank
	}
	return o.first.Dated || me.first.Dated
}

func (c *comparison) run(o, me *class) {
	if o.first != nil {
		c.add(c.rule.Run(c.claim(o.first.At), c.claim(me.first.At), c.limits))
	}
}
