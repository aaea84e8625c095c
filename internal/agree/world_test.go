package agree

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/testlog"
)

const origin, other = "log.test/2026", "log.test/b"

// start is about the time at which everything in this world is signed.
const start = 1_800_000_000

// A world has two logs and a few witnesses, and the tlog-policies of several readers.
type world struct {
	log, pq, log2 *testlog.Signer
	witnesses     []*testlog.Signer
	policies      []string
}

func newWorld() *world {
	w := &world{log: testlog.LogKey(origin), pq: testlog.MLDSAKey(origin), log2: testlog.LogKey(other)}
	for _, name := range []string{"w1.test", "w2.test", "w3.test", "audit.test"} {
		w.witnesses = append(w.witnesses, testlog.WitnessKey(name))
	}
	w.witnesses = append(w.witnesses, testlog.MLDSAKey("w4.test"))
	logs := "log " + w.log.VKey + "\nlog " + w.log2.VKey + "\n"
	names := ""
	for i, s := range w.witnesses {
		names += fmt.Sprintf("witness w%d %s\n", i+1, s.VKey)
	}
	w.policies = []string{
		"log " + w.log.VKey + "\nquorum none\n",
		"log " + w.log2.VKey + "\nquorum none\n",
		logs + "witness w1 " + w.witnesses[0].VKey + "\nquorum w1\n",
		logs + names + "group g 2 w1 w2 w3\nquorum g\n",
		logs + names + "group g all w1 w2\ngroup h any g w3\ngroup auditors any w4\nquorum h\n",
		logs + names + "log " + w.pq.VKey + "\ngroup g any w1 w5\ngroup auditors 2 w4 g\nquorum auditors\n",
		logs + names + "group auditors any w4\nquorum none\n",
	}
	return w
}

// policy is some tlog-policy, most often of few faults.
func (m *mutator) policy(w *world) []byte {
	keys := []string{w.log.VKey, w.log2.VKey, w.pq.VKey}
	for _, s := range w.witnesses {
		keys = append(keys, s.VKey)
	}
	names := []string{"a", "b", "c", "none", "auditors", "w1", "\xe2\x84\xaa", "a+b"}
	space := func() string { return pick(m, []string{" ", " ", " ", "  ", "\t", " \t ", "\v"}) }
	word := func(all ...string) string { return space() + pick(m, all) }
	var b strings.Builder
	for range 2 + m.IntN(8) {
		switch m.IntN(5) {
		case 0:
			b.WriteString("log" + word(keys[:3]...))
		case 1:
			b.WriteString("witness" + word(names...) + word(keys[3:]...))
		case 2:
			b.WriteString("group" + word(names...) + word("any", "all", "1", "2", "3", "0", "01", "+1", "9999999999999999999999"))
			for range m.IntN(4) {
				b.WriteString(word(names...))
			}
		case 3:
			b.WriteString(pick(m, []string{"", "#", " # x", "\t", "#\xff\xfe"}))
		case 4:
			b.WriteString("quorum" + word(names...))
		}
		if m.chance(6) {
			b.WriteString(space() + pick(m, []string{"https://w.test/a", "http://w.test", "http://", "https:///x", "ftp://w.test", "w.test", "https://w.test:99999", "https://[::1", "https://w.test/%zz", "HTTPS://w.test", "https://w.test\xff/", "https://user@w.test", "https://w.test?q", "https:w.test", "#"}))
		}
		b.WriteString(pick(m, []string{"\n", "\n", "\n", "\n", " \n", "\n\n", "\r\n"}))
	}
	return []byte(b.String())
}

// signers are some cosignatures of a checkpoint, sometimes two of one witness.
func (w *world) signers(m *mutator, log *testlog.Signer, at int64) (by []testlog.Cosigner) {
	if !m.chance(30) {
		by = append(by, testlog.Cosigner{Signer: log, At: time.Unix(at, 0)})
	}
	if m.chance(40) {
		by = append(by, testlog.Cosigner{Signer: w.pq, At: time.Unix(pick(m, []int64{0, at}), 0)})
	}
	for i, s := range w.witnesses {
		for range pick(m, []int{0, 1, 1, 1, 1, 1, 1, 2}) {
			if i == 4 && !m.chance(10) { // ML-DSA takes its time
				continue
			}
			t := at + int64(m.IntN(90)-30)
			if m.chance(40) {
				t = pick(m, []int64{0, 1, 59, 1<<63 - 1, 253402300799, 253402300800})
			}
			by = append(by, testlog.Cosigner{Signer: s, At: time.Unix(t, 0)})
		}
	}
	m.Shuffle(len(by), func(i, j int) { by[i], by[j] = by[j], by[i] })
	return by
}

// A history is a log with an entry that answers a challenge of the log, and its receipt.
type history struct {
	log       *testlog.Log
	index     uint64
	size      uint64
	challenge []byte
	receipt   *poclog.Receipt
}

// history publishes a leaf that is made of an entry, in a tree of a few others.
func (w *world) history(m *mutator, name string, entry *tree, mutate int) history {
	key, at := w.log, start+int64(m.IntN(200))
	if name == other {
		key = w.log2
	}
	h := history{log: &testlog.Log{Origin: name}, size: uint64(1 + m.IntN(9))}
	h.index = uint64(m.IntN(int(h.size)))
	for i := range h.size {
		h.log.Leaves = append(h.log.Leaves, fmt.Appendf(nil, "leaf %d", i))
	}
	covered := uint64(m.IntN(int(h.size)))
	h.challenge = h.log.Checkpoint(covered, w.signers(m, key, at)...)
	entry = entry.clone()
	if fresh := entry.get("fresh"); fresh != nil && fresh.kind == '{' {
		h.fresh(entry, name, covered)
	} else {
		h.challenge = nil
	}
	entry.set(quote(time.Unix(at+int64(pick(m, []int{0, 10, 20, 59, 60, 61, 100, 180, -60, -61, -100})), 0).UTC().Format(time.RFC3339)), "appraised")
	for range mutate {
		entry = m.tree(entry)
	}
	h.publish(w, m, key, entry.bytes(false), at)
	return h
}

// fresh gives an entry the history's challenge.
func (h *history) fresh(entry *tree, origin string, size uint64) {
	root := h.log.Root(size)
	digest := sha256.Sum256(h.challenge)
	entry.set(quote(origin), "fresh", "origin")
	entry.set(fmt.Sprintf(`"%d"`, size), "fresh", "size")
	entry.set(quote(hex.EncodeToString(root[:])), "fresh", "root")
	entry.set(quote(hex.EncodeToString(digest[:])), "fresh", "checkpoint")
}

func (h *history) publish(w *world, m *mutator, key *testlog.Signer, leaf []byte, at int64) {
	h.log.Leaves[h.index] = leaf
	h.receipt = &poclog.Receipt{Entry: leaf, Index: h.index, Challenge: h.challenge}
	h.receipt.Inclusion = h.log.Inclusion(h.index, h.size, h.log.Checkpoint(h.size, w.signers(m, key, at+20)...))
	if m.chance(4) {
		first := h.index + 1 + uint64(m.IntN(int(h.size-h.index)))
		i := h.log.Inclusion(h.index, first, h.log.Checkpoint(first, w.signers(m, key, at+10)...))
		h.receipt.First = &i
	}
}

// file is the receipt's file. The format is written here too, so that it can be wrong.
func file(r *poclog.Receipt) []byte {
	extra := &tree{kind: '{'}
	add := func(v *tree, name, raw string) { v.insert(len(v.kids), name, &tree{raw: raw}) }
	b64 := func(b []byte) string { return quote(base64.RawURLEncoding.EncodeToString(b)) }
	add(extra, "v", "1")
	add(extra, "entry", b64(r.Entry))
	if len(r.Challenge) > 0 {
		add(extra, "challenge", b64(r.Challenge))
	}
	if r.First != nil {
		first := &tree{kind: '{'}
		if len(r.First.Hashes) > 0 {
			first.insert(0, "hashes", hexes(r.First.Hashes))
		}
		add(first, "checkpoint", b64(r.First.Checkpoint))
		extra.insert(len(extra.kids), "first", first)
	}
	return envelope(extra, r)
}

func hexes(hashes [][sha256.Size]byte) *tree {
	v := &tree{kind: '['}
	for _, h := range hashes {
		v.kids = append(v.kids, &tree{raw: quote(hex.EncodeToString(h[:]))})
	}
	return v
}

func envelope(extra *tree, r *poclog.Receipt) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "c2sp.org/tlog-proof@v1\nextra %s\nindex %d\n", base64.StdEncoding.EncodeToString(extra.bytes(false)), r.Index)
	for _, h := range r.Inclusion.Hashes {
		b.WriteString(base64.StdEncoding.EncodeToString(h[:]) + "\n")
	}
	b.WriteString("\n")
	b.Write(r.Inclusion.Checkpoint)
	return b.Bytes()
}

// splitView is two histories of a log.
func splitView(w *world) []byte {
	return makeSplitView(w, 3, 5, time.Unix(start, 0), time.Unix(start, 0), false)
}

func makeSplitView(w *world, a, b uint64, ta, tb time.Time, one bool) []byte {
	l, k := &testlog.Log{Origin: origin}, &testlog.Log{Origin: origin}
	for i := range max(a, b) {
		l.Leaves = append(l.Leaves, fmt.Appendf(nil, "leaf %d", i))
		k.Leaves = append(k.Leaves, fmt.Appendf(nil, "other %d", i))
	}
	if one {
		k = l
	}
	v := &tree{kind: '{'}
	add := func(name, raw string) { v.insert(len(v.kids), name, &tree{raw: raw}) }
	b64 := base64.RawURLEncoding.EncodeToString
	add("v", "1")
	add("origin", quote(origin))
	add("a", quote(b64(l.Checkpoint(a, testlog.Cosigner{Signer: w.log, At: ta}))))
	add("b", quote(b64(k.Checkpoint(b, testlog.Cosigner{Signer: w.log, At: tb}))))
	left, right := nodes(k.Leaves, a, b)
	if a == b {
		left, right = nil, nil
	}
	if len(left) > 0 {
		v.insert(len(v.kids), "left", hexes(left))
	}
	if len(right) > 0 {
		v.insert(len(v.kids), "right", hexes(right))
	}
	return v.bytes(false)
}

// nodes are those of a tree over the leaves before and after a number of leaves, by the definition.
func nodes(leaves [][]byte, at, size uint64) (left, right [][sha256.Size]byte) {
	var walk func(from, to uint64)
	walk = func(from, to uint64) {
		switch {
		case from == to:
		case to <= at:
			left = append(left, rootOf(leaves[from:to]))
		case from >= at:
			right = append(right, rootOf(leaves[from:to]))
		default:
			k := uint64(1)
			for k*2 < to-from {
				k *= 2
			}
			walk(from, from+k)
			walk(from+k, to)
		}
	}
	walk(0, size)
	return left, right
}

func rootOf(leaves [][]byte) [sha256.Size]byte {
	l := &testlog.Log{Leaves: leaves}
	return [sha256.Size]byte(l.Root(uint64(len(leaves))))
}

// restamp gives some cosignature line of a note another time, as its holder can, who cannot sign
// it.
func restamp(m *mutator, note []byte) []byte {
	lines := strings.Split(string(note), "\n")
	at := m.IntN(len(lines))
	if i := strings.LastIndexByte(lines[at], ' '); i > 0 {
		if b, err := base64.StdEncoding.DecodeString(lines[at][i+1:]); err == nil && len(b) > 12 {
			binary.BigEndian.PutUint64(b[4:], pick(m, []uint64{0, 1, start, 1 << 63, 1<<64 - 1}))
			lines[at] = lines[at][:i+1] + base64.StdEncoding.EncodeToString(b)
		}
	}
	return []byte(strings.Join(lines, "\n"))
}

// lines changes the lines of a note: whoever holds a receipt can do so.
func (m *mutator) lines(note []byte) []byte {
	lines := strings.SplitAfter(string(note), "\n")
	i, j := m.IntN(len(lines)), m.IntN(len(lines))
	switch m.IntN(6) {
	case 0:
		lines[i], lines[j] = lines[j], lines[i]
	case 1:
		lines[i] = ""
	case 2:
		lines[i] += lines[j]
	case 3:
		if strings.HasPrefix(lines[i], "— ") {
			lines[i] = strings.Repeat(lines[i], pick(m, []int{2, 15, 16, 17, 32, 33, 62, 64, 65, 100, 101}))
		}
	case 4:
		return restamp(m, note)
	case 5:
		lines[i] += pick(m, []string{"— w9.test AAAAAAAA\n", "— w9.test AAAA\n", "— w9.test AAAAAA==\n", "— w9.test \n", "— w9.test  AAAAAAAA\n", "—w9.test AAAAAAAA\n", "— w\u2003.test AAAAAAAA\n", "— w1.test AAAAAAAA\n", "extension\n", "— a+b AAAAAAAA\n", "— \xff AAAAAAAA\n"})
	}
	return []byte(strings.Join(lines, ""))
}
