package poclog

// ScanEntry is the fast reader alone, and ProjectParsed the way past it.
func ScanEntry(leaf []byte) (p Projection, ok bool) {
	s := scanner{b: leaf}
	ok = len(leaf) <= MaxEntry && s.entry(&p)
	return p, ok
}
