package receipt_test

import (
	"bytes"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/testlog"
)

// A stand is an entry of a log of three leaves, with its challenge.
type stand struct {
	log       *testlog.Log
	key       *testlog.Signer
	leaf      []byte
	challenge []byte
	at        int // second of the first covering checkpoint
	auditor   bool
}

// standing puts an entry at number 1 of a log. Before it is a filler, and after it another.
func standing(origin string, at int, challenge []byte, change func(*poclog.Entry)) *stand {
	s := &stand{log: &testlog.Log{Origin: origin, Leaves: [][]byte{{1}}}, key: testlog.LogKey(origin), challenge: challenge, at: at}
	if challenge == nil {
		s.challenge = s.log.Checkpoint(1, s.signed(at-20)...)
	}
	leaf, err := entry(s.challenge, func(e *poclog.Entry) {
		e.Appraised = time.Unix(1_800_000_000+int64(at)-5, 0).UTC()
		if change != nil {
			change(e)
		}
	}).Marshal()
	if err != nil {
		panic(err) // an entry of the right form
	}
	s.leaf = leaf
	s.log.Leaves = append(s.log.Leaves, leaf, []byte("after"))
	return s
}

func (s *stand) signed(second int) []testlog.Cosigner {
	by := []testlog.Cosigner{by(s.key, second), by(w1, second), by(w2, second)}
	if s.auditor {
		by = append(by, testlog.Cosigner{Signer: auditor, At: at(second)})
	}
	return by
}

// receipt is of entry 1, in the tree of two leaves.
func (s *stand) receipt() []byte {
	r := &poclog.Receipt{Entry: s.leaf, Index: 1, Challenge: s.challenge, Inclusion: s.log.Inclusion(1, 2, s.log.Checkpoint(2, s.signed(s.at)...))}
	return marshal(r)
}

func (s *stand) audited() *stand {
	s.auditor = true
	return s
}

// after is an entry of the same log, at number 3, whose challenge has so many leaves.
func (s *stand) after(at int, challenged uint64, change func(*poclog.Entry)) *stand {
	f := standing(s.log.Origin, at, s.log.Checkpoint(challenged, s.signed(at-20)...), change)
	f.log.Leaves = append(bytesClone(s.log.Leaves), f.leaf)
	return f
}

func bytesClone(list [][]byte) [][]byte { return append([][]byte(nil), list...) }

// laterReceipt is of the last entry of a log.
func (s *stand) laterReceipt() []byte {
	n := uint64(len(s.log.Leaves))
	return marshal(&poclog.Receipt{Entry: s.leaf, Index: n - 1, Challenge: s.challenge, Inclusion: s.log.Inclusion(n-1, n, s.log.Checkpoint(n, s.signed(s.at)...))})
}

func inBoot(reset uint32) func(*poclog.Entry) {
	return func(e *poclog.Entry) { e.TPM.ResetCount = reset; e.Quote = quoteOf("q" + string(rune('0'+reset))) }
}

func quoteOf(name string) poclog.Identity {
	return poclog.Identity("quote:" + poclog.Sum([]byte(name)).String())
}

func onChip(digits string) func(*poclog.Entry) {
	return func(e *poclog.Entry) {
		e.Chassis = []poclog.Identity{poclog.Identity("intel:tdx:ppid:" + digits + "112233445566778899aabbccddeeff")}
		e.Quote = quoteOf("on " + digits)
	}
}

// madeContradictions are of entries that no evidence gives: what the file shows is receipts, orders
// and rules.
func madeContradictions() map[string]contradictionVector {
	all := make(map[string]contradictionVector)
	policy := "log " + testlog.LogKey(origin).VKey + "\nlog " + testlog.LogKey("other.test").VKey + "\nwitness w1 " + w1.VKey + "\nwitness w2 " + w2.VKey +
		"\nwitness a " + auditor.VKey + "\ngroup g all w1 w2\ngroup auditors any a\nquorum g\n"
	untimed := "log " + testlog.LogKey(origin).VKey + "\nlog " + testlog.LogKey("other.test").VKey + "\nquorum none\n"
	add := func(name, desc, policy, rule, expect string, claims ...poclog.Showing) {
		file, err := (&poclog.Contradiction{Rule: rule, Claims: claims}).Marshal()
		if err != nil {
			panic(name + ": " + err.Error())
		}
		all[name] = contradictionVector{Desc: desc, Contradiction: string(file), Policy: policy, Realm: poclog.Production, Expect: expect}
	}
	show := func(receipt []byte) poclog.Showing { return poclog.Showing{Receipt: receipt} }
	const rewound = "tpm-rewound"
	e := standing(origin, 100, nil, inBoot(5))
	f := e.after(200, 3, inBoot(4))
	proof := func(n uint64) [][32]byte { return f.log.Inclusion(1, n, nil).Hashes }
	covered := poclog.Showing{Receipt: f.laterReceipt(), Covered: proof(3)}
	add("order-by-tree", "no witness gives a time; the later challenge's tree has the earlier entry", untimed, rewound, "alert logged: nobody", show(e.receipt()), covered)
	add("order-not-shown", "the same without the proof of order", untimed, rewound, "refused: rule", show(e.receipt()), show(f.laterReceipt()))
	add("order-by-times", "witnesses' times show the order", policy, rewound, "alert logged: nobody", show(e.receipt()), show(f.laterReceipt()))
	small := e.after(200, 1, inBoot(4))
	add("order-tree-too-small", "the challenge's tree ends before the earlier entry", untimed, rewound, "refused: order", show(e.receipt()), poclog.Showing{Receipt: small.laterReceipt(), Covered: proof(3)})
	add("order-of-itself", "a proof of order by the earlier entry, whose challenge has no later one", untimed, rewound, "refused: order", poclog.Showing{Receipt: e.receipt(), Covered: proof(3)}, show(f.laterReceipt()))
	add("order-of-one", "a proof of order beside a single entry", policy, "interval-inverted", "refused: order", poclog.Showing{Receipt: e.receipt(), Covered: proof(3)})

	a, b := standing("log.test/2026", 100, nil, onChip("00")), standing("other.test", 300, nil, onChip("11"))
	const cloned = "ak-on-two-chips"
	add("two-logs", "one AK on two chips in one boot, in two logs", policy, cloned, "alert logged: nobody", show(a.receipt()), show(b.receipt()))
	add("two-logs-out-of-order", "the same, by descending origin", policy, cloned, "refused: claims", show(b.receipt()), show(a.receipt()))
	add("audited", "auditors signed both trees: their word implicates nobody", policy, cloned, "alert audited: nobody",
		show(standing("log.test/2026", 100, nil, onChip("00")).audited().receipt()), show(standing("other.test", 300, nil, onChip("11")).audited().receipt()))
	add("audited-one", "auditors signed one of the trees", policy, cloned, "alert logged: nobody", show(standing("log.test/2026", 100, nil, onChip("00")).audited().receipt()), show(b.receipt()))
	moved := standing("other.test", 300, nil, func(e *poclog.Entry) { onChip("11")(e); e.TPM.ResetCount = 9 })
	add("moved", "one AK on two chips, in another boot: information is no contradiction", policy, cloned, "refused: rule", show(a.receipt()), show(moved.receipt()))
	lab := standing("other.test", 300, nil, func(e *poclog.Entry) { onChip("11")(e); e.Realm = poclog.Lab })
	add("two-realms", "entries of two realms", policy, cloned, "refused: claims", show(a.receipt()), show(lab.receipt()))
	add("ahead-of-interval", "one of the entries was appraised outside its interval", policy, cloned, "refused: interval",
		show(a.receipt()), show(standing("other.test", 300, nil, func(e *poclog.Entry) { onChip("11")(e); e.Appraised = at(900) }).receipt()))

	const regressed = "collateral-regressed"
	older := func(appraised int) *stand {
		return e.after(appraised+5, 3, func(e *poclog.Entry) { inBoot(6)(e); e.CVM.TCB.Evaluation = 16; e.Appraised = at(appraised) })
	}
	add("collateral-regressed", "judged by older collateral over a minute later: the log signed it itself", policy, regressed, "contradiction logged: log:"+origin, show(e.receipt()), show(older(95+61).laterReceipt()))
	add("collateral-regressed-at-once", "judged by older collateral a minute later: two admissions at once", policy, regressed, "refused: rule", show(e.receipt()), show(older(95+60).laterReceipt()))
	add("interval-honest", "an entry that is in its interval", policy, "interval-inverted", "refused: rule", show(e.receipt()))
	add("interval-at-skew", "appraised a minute after a checkpoint covered it", policy, "interval-inverted", "refused: rule", show(standing(origin, 100, nil, func(e *poclog.Entry) { e.Appraised = at(160) }).receipt()))
	add("interval-over-skew", "appraised over a minute after a checkpoint covered it", policy, "interval-inverted", "contradiction logged: log:"+origin, show(standing(origin, 100, nil, func(e *poclog.Entry) { e.Appraised = at(161) }).receipt()))
	config := &stand{log: &testlog.Log{Origin: origin, Leaves: [][]byte{{1}, configLeaf()}}, key: testlog.LogKey(origin), leaf: configLeaf(), at: 100}
	add("config", "a configuration is no proof", policy, cloned, "refused: claims", show(config.receipt()), show(b.receipt()))

	// A malformed leaf, of this appraisal and of a later one.
	const reproduced = "entry-not-reproducible"
	malformed := func(leaf []byte) *stand {
		return &stand{log: &testlog.Log{Origin: origin, Leaves: [][]byte{{1}, leaf}}, key: testlog.LogKey(origin), leaf: leaf, at: 100}
	}
	spaced := append(bytes.Clone(e.leaf), ' ')
	add("malformed", "a proof with a space at its end, which no evidence gives", policy, reproduced, "contradiction reappraised: log:"+origin, show(malformed(spaced).receipt()))
	later := bytes.Replace(spaced, []byte(`"appraisal":1`), []byte(`"appraisal":2`), 1)
	add("malformed-of-later-appraisal", "a malformed proof of a later appraisal: this reader cannot say", policy, reproduced, "refused: rule", show(malformed(later).receipt()))
	add("unknown-leaf", "a leaf of an unknown kind is not malformed", policy, reproduced, "refused: claims", show(malformed([]byte(`{"v":1,"kind":"observation"}`)).receipt()))
	add("well-formed-without-evidence", "a proof whose evidence is not in the file", policy, reproduced, "refused: reappraisal", show(e.receipt()))
	return all
}
