package attack

import (
	"bytes"

	"github.com/poclog/poclog/internal/must"
	"github.com/poclog/poclog/verify/tcglog"
)

// lastEvents returns the sizes of the last events of a log, from its end.
func lastEvents(kind tcglog.Kind, raw []byte, n int) (sizes []int) {
	l := must.Get(tcglog.Parse(kind, raw))
	for i := range n {
		e := l.Events[len(l.Events)-1-i]
		size := 4 + 4 + 4 + 4 + len(e.Data) // index, type, count of digests, size
		for _, d := range e.Digests {
			size += 2 + len(d)
		}
		sizes = append(sizes, size)
	}
	return sizes
}

// swapLast puts the last event of a log before the one before it.
func swapLast(kind tcglog.Kind, raw []byte) []byte {
	sizes := lastEvents(kind, raw, 2)
	last, before := len(raw)-sizes[0], len(raw)-sizes[0]-sizes[1]
	return bytes.Join([][]byte{raw[:before], raw[last:], raw[before:last]}, nil)
}
