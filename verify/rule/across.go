package rule

import (
	"cmp"
	"slices"
)

// maxFirsts bounds how many classes of one facet every claim is compared with.
const maxFirsts = 16

// Across runs the rules over all claims and returns one finding of each rule, severity and subject,
// in the order of the claims' numbers. Claims of one facet with one value agree, and are not
// compared with each other: the work grows with the number of claims and not with its square. Of
// claims with different values each is compared with its neighbours by number, which are the
// nearest in time, and with the first of each value.
func (l Limits) Across(claims []*Claim) []*Finding {
	claims = slices.Clone(claims)
	slices.SortStableFunc(claims, func(a, b *Claim) int {
		return cmp.Or(cmp.Compare(a.Origin, b.Origin), cmp.Compare(a.Index, b.Index))
	})
	f := finder{limits: l, seen: make(map[string]bool)}
	for _, c := range claims {
		for _, found := range Judge(c) {
			f.add(found)
		}
	}
	views := make([]*View, len(claims))
	for i, c := range claims {
		views[i] = c.View()
	}
	for i := range all {
		f.rule(&all[i], claims, views)
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
	first *Claim
}

// A group is what is known of one facet.
type group struct {
	last    class // the claim before
	classes []class
	top     [2]class // of the greatest values so far: the greatest may be too young to be proven older than a later claim
}

func (f *finder) rule(r *Rule, claims []*Claim, views []*View) {
	if r.Check == nil || r.Facets == nil {
		return
	}
	groups := make(map[string]*group)
	var key []byte
	for i, c := range claims {
		r.Facets(views[i], func(facet Facet) {
			key = append(append(key[:0], c.Entry.Realm...), 0)
			key = joined(key, facet.Key[:])
			g := groups[string(key)]
			if g == nil {
				g = new(group)
				groups[string(key)] = g
			}
			f.join(r, g, class{string(joined(nil, facet.Value[:])), facet.Rank, c})
		})
	}
}

// joined appends parts, with a zero octet after each. No identity and no word has one.
func joined(to []byte, parts [][]byte) []byte {
	for _, p := range parts {
		to = append(append(to, p...), 0)
	}
	return to
}

// join compares a claim with those of its group from which it differs.
func (f *finder) join(r *Rule, g *group, c class) {
	against := func(o class) {
		if o.first != nil && o.value != c.value {
			f.add(r.Run(o.first, c.first, f.limits))
		}
	}
	if r.Rising {
		for _, o := range g.top {
			if o.first != nil {
				f.add(r.Run(o.first, c.first, f.limits))
			}
		}
		switch top := &g.top; {
		case top[0].first == nil || c.rank > top[0].rank:
			g.top = [2]class{c, top[0]}
		case top[1].first == nil || c.rank > top[1].rank:
			top[1] = c
		}
		return
	}
	against(g.last)
	known := false
	for _, o := range g.classes {
		known = known || o.value == c.value
		against(o)
	}
	if !known && len(g.classes) < maxFirsts {
		g.classes = append(g.classes, c)
	}
	g.last = c
}
