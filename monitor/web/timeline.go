package web

import (
	"slices"
	"time"

	"github.com/poclog/poclog/monitor/query"
)

// A timeline is a drawing of proofs by place: a row a place, a mark a proof.
type timeline struct {
	Rows        []timelineRow
	Height      int
	First, Last time.Time
}

type timelineRow struct {
	Place    string
	Y, TextY int
	Marks    []mark
}

// A mark is a run of proofs that are drawn as one.
type mark struct {
	X, Width int // of 1000
	Proofs   int
	Bound    bool // of level 2
}

const (
	rowHeight   = 34
	rowsDrawn   = 12
	plotWidth   = 1000
	markOfProof = 3
)

// timelineOf draws statements, which are in the order of their appraisal. Nil: there is nothing to
// draw.
func timelineOf(statements []query.Statement) *timeline {
	if len(statements) == 0 {
		return nil
	}
	t := &timeline{First: statements[0].Appraised, Last: statements[len(statements)-1].Appraised}
	span := max(t.Last.Sub(t.First), time.Second)
	for _, st := range statements {
		place := st.Place.String()
		i := slices.IndexFunc(t.Rows, func(r timelineRow) bool { return r.Place == place })
		if i < 0 {
			if len(t.Rows) == rowsDrawn {
				continue // the table has it
			}
			i = len(t.Rows)
			t.Rows = append(t.Rows, timelineRow{Place: place, Y: i*rowHeight + 18, TextY: i*rowHeight + 13})
		}
		t.Rows[i].add(int(float64(plotWidth-markOfProof)*float64(st.Appraised.Sub(t.First))/float64(span)), st.Level == 2)
	}
	t.Height = len(t.Rows) * rowHeight
	return t
}

// add draws a proof: into the last mark where they touch.
func (r *timelineRow) add(x int, bound bool) {
	if n := len(r.Marks); n > 0 {
		if last := &r.Marks[n-1]; x <= last.X+last.Width && last.Bound == bound {
			last.Width, last.Proofs = x+markOfProof-last.X, last.Proofs+1
			return
		}
	}
	r.Marks = append(r.Marks, mark{X: x, Width: markOfProof, Proofs: 1, Bound: bound})
}

// A bar is a day of the growth chart.
type bar struct {
	X, Width            int
	BoundY, BoundHeight int // proofs of level 2, from the bottom
	LoneY, LoneHeight   int // and of level 0, on top of them
	Day                 time.Time
	Proofs              int
}

const chartHeight = 120

func barsOf(days []day) (bars []bar) {
	if len(days) == 0 {
		return nil
	}
	first := days[0].Day
	slots := int(days[len(days)-1].Day.Sub(first)/(24*time.Hour)) + 1
	most := 1
	for _, d := range days {
		most = max(most, d.Bound+d.Lone)
	}
	width := max(plotWidth/max(slots, 14), 2)
	for _, d := range days {
		b := bar{X: int(d.Day.Sub(first)/(24*time.Hour)) * width, Width: max(width-2, 1), Day: d.Day, Proofs: d.Bound + d.Lone}
		b.BoundHeight, b.LoneHeight = chartHeight*d.Bound/most, chartHeight*d.Lone/most
		b.BoundY = chartHeight - b.BoundHeight
		b.LoneY = b.BoundY - b.LoneHeight
		bars = append(bars, b)
	}
	return bars
}
