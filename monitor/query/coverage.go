package query

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/monitor"
	"github.com/poclog/poclog/verify"
)

// A Span is a time from From on, up to and without To.
type Span struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// A Covered is a span that proofs cover without a gap, with what they prove.
type Covered struct {
	Span
	Proofs int      `json:"proofs"` // whose windows make up the span
	Places []string `json:"places"` // by first proof; the unproven place is ""
}

// A Coverage says when proofs covered an identity: the third level of the Proof of Cloud Alliance,
// continuous assurance.
type Coverage struct {
	Span
	Window  time.Duration `json:"-"`
	Proofs  int           `json:"proofs"`  // whose windows reach into the span
	Covered []Covered     `json:"covered"` // in order; between two is a gap
	Gaps    []Span        `json:"gaps"`    // in order
	Share   float64       `json:"share"`   // of the span that is covered, 0 to 1
}

// A Point is one fresh proof: evidence that was made at At at the earliest.
type Point struct {
	At    time.Time
	Place string // as Place.String gives it
}

// Cover says how much of a span the proofs cover, if each stands for a window of time that begins
// with it. A proof from before the span counts for what its window reaches into it. The span must
// not be empty, and the window be over 0. The points are sorted in place.
func Cover(points []Point, window time.Duration, span Span) Coverage {
	slices.SortStableFunc(points, func(a, b Point) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Place, b.Place)) })
	c := Coverage{Span: span, Window: window, Covered: []Covered{}, Gaps: []Span{}}
	for _, p := range points {
		from, to := verify.Later(p.At, span.From), verify.Earlier(p.At.Add(window), span.To)
		if !from.Before(to) {
			continue
		}
		c.Proofs++
		last := len(c.Covered) - 1
		if last < 0 || from.After(c.Covered[last].To) {
			c.Covered = append(c.Covered, Covered{Span: Span{from, from}})
			last++
		}
		s := &c.Covered[last]
		s.To, s.Proofs = verify.Later(s.To, to), s.Proofs+1
		if !slices.Contains(s.Places, p.Place) {
			s.Places = append(s.Places, p.Place)
		}
	}
	c.measure()
	return c
}

// measure finds the gaps, and the share of what is covered.
func (c *Coverage) measure() {
	at, covered := c.From, time.Duration(0)
	for _, s := range c.Covered {
		if at.Before(s.From) {
			c.Gaps = append(c.Gaps, Span{at, s.From})
		}
		at, covered = s.To, covered+s.To.Sub(s.From)
	}
	if at.Before(c.To) {
		c.Gaps = append(c.Gaps, Span{at, c.To})
	}
	c.Share = float64(covered) / float64(c.To.Sub(c.From))
}

// FreshProofs returns the points of the records that prove freshness and a place: level 2, and an
// answer to a challenge. What is historical or unproven covers nothing. A point's time is that of
// its appraisal, which the log says: the evidence is older by the challenge's life time at most.
func FreshProofs(records iter.Seq2[*monitor.Record, error]) ([]Point, error) {
	var points []Point
	for r, err := range records {
		if err != nil {
			return nil, err
		}
		if r.Kind == monitor.KindProof && r.Fresh != nil && r.Level >= poclog.LevelBound {
			points = append(points, Point{At: r.Appraised, Place: Proven(r).String()})
		}
	}
	return points, nil
}

// Bar draws a coverage in n columns. A column is '█' where all of its time is covered, '▒' where a
// part is, '·' where nothing is: it never rounds a gap away.
func (c *Coverage) Bar(n int) string {
	cells := make([]rune, n)
	length := c.To.Sub(c.From)
	for i := range cells {
		cell := Span{c.From.Add(length / time.Duration(n) * time.Duration(i)), c.From.Add(length / time.Duration(n) * time.Duration(i+1))}
		if i == n-1 {
			cell.To = c.To
		}
		cells[i] = '·'
		switch covered := c.within(cell); {
		case covered == cell.To.Sub(cell.From):
			cells[i] = '█'
		case covered > 0:
			cells[i] = '▒'
		}
	}
	return string(cells)
}

// within returns how much of a part of the span is covered.
func (c *Coverage) within(s Span) (d time.Duration) {
	for _, covered := range c.Covered {
		if from, to := verify.Later(covered.From, s.From), verify.Earlier(covered.To, s.To); from.Before(to) {
			d += to.Sub(from)
		}
	}
	return d
}

// Percent gives the share as people read it: "100 %" and "0 %" are exact, what rounds to them says
// so.
func (c *Coverage) Percent() string {
	p := c.Share * 100
	switch {
	case len(c.Gaps) == 0:
		return "100 %"
	case len(c.Covered) == 0:
		return "0 %"
	case p > 99.9:
		return "over 99.9 %"
	case p < 0.1:
		return "under 0.1 %"
	}
	return fmt.Sprintf("%.1f %%", p)
}
