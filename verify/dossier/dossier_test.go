package dossier_test

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/torchwood/mpt"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/testlog"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/dossier"
	"github.com/poclog/poclog/verify/index"
	"github.com/poclog/poclog/verify/receipt"
	"github.com/poclog/poclog/verify/rule"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

const origin = "log.test/2026"

func at(second int) time.Time { return time.Unix(1_800_000_000+int64(second), 0).UTC() }

// lastSecond is the last that a file can have, of the year 9999.
const lastSecond = 253_402_300_799 - 1_800_000_000

var (
	logKey  = testlog.LogKey(origin)
	witness = testlog.WitnessKey("w.test")
	auditor = testlog.WitnessKey("audit.test")

	policyText = "log " + logKey.VKey + "\nwitness w " + witness.VKey + "\nwitness a " + auditor.VKey + "\ngroup auditors any a\nquorum w\n"
)

func policy(t testing.TB) *tlogpolicy.Policy {
	t.Helper()
	p, err := tlogpolicy.Parse([]byte(policyText))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Names of the tests' machines.
var (
	chipX = "intel:tdx:ppid:" + strings.Repeat("1a", 16)
	chipY = "intel:tdx:ppid:" + strings.Repeat("1b", 16)
	// chipAMD is of another maker.
	chipAMD = "amd:snp:chipid:" + strings.Repeat("3a", 64)
	akX     = "tpm:ak:" + strings.Repeat("5a", 32)
	akY     = "tpm:ak:" + strings.Repeat("5b", 32)
	vm      = "gce:instance:1:2"
)

// A book is a log whose writer keeps an index, honestly unless a test meddles.
type book struct {
	log       *testlog.Log
	numbers   map[string][]uint64
	meddle    func(name string, numbers []uint64) []uint64 // what the index says of a name
	algorithm uint32
	key       *testlog.Signer // of the log
}

func newBook() *book {
	return &book{log: &testlog.Log{Origin: origin}, numbers: make(map[string][]uint64), algorithm: index.Algorithm, key: logKey}
}

func (b *book) add(leaf []byte) uint64 {
	n := uint64(len(b.log.Leaves))
	b.log.Leaves = append(b.log.Leaves, leaf)
	names, err := index.Names(leaf)
	if err != nil {
		panic(err)
	}
	for _, name := range names {
		b.numbers[name] = append(b.numbers[name], n)
	}
	return n
}

func (b *book) config() {
	c := poclog.Config{Policy: poclog.BlobOf([]byte("policy")), Software: "poclog test", Time: at(0)}
	b.add(must(c.Marshal()))
}

// proof logs a proof of a chip in a zone of us-central1, in a boot of an AK.
func (b *book) proof(chip, ak, zone string, second int, change func(*poclog.Entry)) uint64 {
	boot := poclog.Sum(fmt.Appendf(nil, "boot %d", second))
	cp := b.log.Checkpoint(uint64(len(b.log.Leaves)), b.signed(second-30)...)
	body := must(tlogpolicy.ParseCheckpoint(cp))
	by := []string{"ak-certificate"}
	e := &poclog.Entry{
		Appraisal: 1, Profile: poclog.GCETDXvTPM, Level: poclog.LevelBound, Realm: poclog.Production,
		Chassis: []poclog.Identity{poclog.Identity(chip)}, Keys: []poclog.Identity{poclog.Identity(ak)}, Instance: poclog.Identity(vm),
		Quote: poclog.Identity("quote:" + poclog.Sum(fmt.Appendf(nil, "quote %d", second)).String()), Boot: &boot,
		Place: &poclog.Place{Provider: poclog.Claim{Value: "gce", By: by}, Region: poclog.Claim{Value: "us-central1", By: by}, Zone: poclog.Claim{Value: zone, By: by}},
		CVM: poclog.CVM{Technology: "tdx", Measurement: bytes.Repeat([]byte{7}, 48), EndorsedBy: "provider", FMSPC: []byte{1, 2, 3, 4, 5, 6}, PCEID: []byte{0, 0},
			TCB: &poclog.TCB{Status: "UpToDate", Date: at(0), Evaluation: 17}},
		TPM:      &poclog.TPM{KeyType: "ecc-p256", PCRDigest: make([]byte, 32), ExtraData: boot[:], Clock: uint64(second) * 1000, ResetCount: 5, Safe: true},
		Fresh:    &poclog.Fresh{Origin: b.log.Origin, Size: body.Size, Root: body.Root, Checkpoint: poclog.Sum(cp)},
		Checks:   []string{"tee.signature", "tpm.ak-template", "bind.ak-in-tee", "bind.tee-in-tpm", "place.certificate", "fresh.challenge"},
		Evidence: poclog.EvidenceDigests{Bundle: poclog.BlobOf([]byte("bundle")), Policy: poclog.BlobOf([]byte("policy"))}, Appraised: at(second),
	}
	if change != nil {
		change(e)
	}
	return b.add(must(e.Marshal()))
}

func signed(second int) []testlog.Cosigner {
	return []testlog.Cosigner{{Signer: logKey, At: at(second)}, {Signer: witness, At: at(second)}}
}

// signed are the signatures of the book's log and of the witness.
func (b *book) signed(second int) []testlog.Cosigner {
	return []testlog.Cosigner{{Signer: b.key, At: at(second)}, {Signer: witness, At: at(second)}}
}

func audited(second int) []testlog.Cosigner {
	return append(signed(second), testlog.Cosigner{Signer: auditor, At: at(second)})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// said is what the index says of a name, of entries below a size.
func (b *book) said(name string, size uint64) []uint64 {
	numbers := slices.DeleteFunc(slices.Clone(b.numbers[name]), func(n uint64) bool { return n >= size })
	if b.meddle != nil {
		return b.meddle(name, numbers)
	}
	return numbers
}

// tree is the map at a size.
func (b *book) tree(size uint64) (mpt.Tree, poclog.Digest) {
	m := mpt.NewMemTree()
	for name := range b.numbers {
		if said := b.said(name, size); len(said) > 0 {
			if err := m.Set(mpt.Key(index.KeyOf(name)), mpt.Val(index.Value{}.Chain(said))); err != nil {
				panic(err)
			}
		}
	}
	return m, poclog.Digest(must(m.Snap(0)).Hash)
}

// An order is what a dossier is made of.
type order struct {
	names     []string
	since     uint64 // 0: everything
	intervals bool
	by        []testlog.Cosigner // of the checkpoint that covers the index entry
	size      uint64             // that the index entry names, where a test lies
	below     uint64             // the index is of entries below it; 0: all
	paged     int                // entries of a page; 0 is two
	signedAt  []byte             // the checkpoint that it names, where a test lies
}

// bind writes the index of all entries so far, signed at a second, and makes a dossier.
func (b *book) bind(second int, o order) *poclog.Dossier {
	size := cmp.Or(o.below, uint64(len(b.log.Leaves)))
	signedAt := b.log.Checkpoint(size, b.signed(second)...)
	if o.signedAt != nil {
		signedAt = o.signedAt
	}
	m, root := b.tree(size)
	entry := poclog.IndexEntry{Algorithm: b.algorithm, Size: size, Checkpoint: poclog.Sum(signedAt), Root: root}
	if o.size != 0 {
		entry.Size = o.size
	}
	number := b.add(must(entry.Marshal()))
	if o.by == nil {
		o.by = b.signed(second + 5)
	}
	head := b.log.Checkpoint(number+1, o.by...)
	r := poclog.Receipt{Entry: b.log.Leaves[number], Index: number, Inclusion: b.log.Inclusion(number, number+1, head)}
	d := &poclog.Dossier{Index: must(r.Marshal()), Checkpoint: signedAt}
	if o.since > 0 {
		d.Since = b.log.Checkpoint(o.since, b.signed(1000)...)
	}
	all := make(map[uint64]bool)
	slices.Sort(o.names)
	for _, name := range o.names {
		n := poclog.DossierName{Name: name, Proof: must(m.Prove(mpt.Key(index.KeyOf(name))))}
		n.Numbers = b.suffix(&n, size, o.since)
		for _, x := range n.Numbers {
			all[x] = true
		}
		d.Names = append(d.Names, n)
	}
	b.page(d, all, number+1, o)
	return d
}

// suffix leaves out what is not asked for, but the last number before it.
func (b *book) suffix(n *poclog.DossierName, size, since uint64) []uint64 {
	numbers := b.said(n.Name, size)
	if since == 0 {
		return numbers
	}
	skip, _ := slices.BinarySearch(numbers, since)
	if skip = skip - 1; skip > 0 {
		before := poclog.Digest(index.Value{}.Chain(numbers[:skip]))
		n.Before = &before
		return numbers[skip:]
	}
	return numbers
}

// page fills in the entries.
func (b *book) page(d *poclog.Dossier, all map[uint64]bool, size uint64, o order) {
	var numbers []uint64
	for n := range all {
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	for chunk := range slices.Chunk(numbers, cmp.Or(o.paged, 2)) {
		p := poclog.DossierPage{Proof: must(dossier.ProofOf(size, chunk, b.node))}
		for _, n := range chunk {
			e := poclog.DossierEntry{Number: n, Leaf: b.log.Leaves[n]}
			if leaf := must(poclog.ParseLeaf(e.Leaf)); o.intervals && leaf.Proof != nil {
				second := int(leaf.Proof.Appraised.Sub(at(0)).Seconds())
				e.Challenge = b.refer(&p, leaf.Proof.Fresh.Size, size, b.signed(second-30))
				e.First = b.refer(&p, n+1, size, b.signed(second+10))
			}
			if leaf := must(poclog.ParseLeaf(e.Leaf)); o.intervals && leaf.Statement != nil {
				e.First = b.refer(&p, n+1, size, signed(min(int(leaf.Statement.Time.Unix()-at(0).Unix())+2, lastSecond)))
			}
			p.Entries = append(p.Entries, e)
		}
		d.Pages = append(d.Pages, p)
	}
}

// refer adds a checkpoint of the log.
func (b *book) refer(p *poclog.DossierPage, n, size uint64, by []testlog.Cosigner) uint32 {
	c := poclog.DossierCheckpoint{Checkpoint: b.log.Checkpoint(n, by...)}
	for _, h := range must(tlog.ProveTree(int64(size), int64(n), b.stored(size))) {
		c.Consistency = append(c.Consistency, h)
	}
	p.Checkpoints = append(p.Checkpoints, c)
	return uint32(len(p.Checkpoints))
}

func (b *book) stored(size uint64) tlog.HashReader {
	var all []tlog.Hash
	read := tlog.HashReaderFunc(func(at []int64) (out []tlog.Hash, err error) {
		for _, i := range at {
			out = append(out, all[i])
		}
		return out, nil
	})
	for i, leaf := range b.log.Leaves[:size] {
		all = append(all, must(tlog.StoredHashes(int64(i), leaf, read))...)
	}
	return read
}

// node is a subtree's root, by definition.
func (b *book) node(from, size uint64) ([32]byte, error) {
	return (&testlog.Log{Leaves: b.log.Leaves[from : from+size]}).Root(size), nil
}

// An honest log: chip X and its AK three times in one place, Y once, and a config entry.
func honest() *book {
	b := newBook()
	b.config()
	for i, second := range []int{1000, 2000, 3000} {
		b.proof(chipX, akX, "us-central1-a", second, nil)
		if i == 1 {
			b.proof(chipY, akY, "us-central1-b", second+1, func(e *poclog.Entry) { e.Instance = "gce:instance:1:3" })
		}
	}
	return b
}

func check(t testing.TB, d *poclog.Dossier, demands dossier.Demands) (*dossier.Answer, error) {
	t.Helper()
	return dossier.Check(must(d.Marshal()), policy(t), at(4000), demands)
}

func TestHonestDossiersAnswer(t *testing.T) {
	absent := "intel:tdx:ppid:" + strings.Repeat("99", 16)
	for _, intervals := range []bool{false, true} {
		a, err := check(t, honest().bind(3100, order{names: []string{chipX, akX, "config", absent}, intervals: intervals, by: audited(3105)}), dossier.Demands{
			Names: []string{chipX, absent}, Standing: receipt.Audited, MaxAge: time.Hour,
		})
		if err != nil {
			t.Fatal(err)
		}
		if a.Verdict != receipt.Audited || a.Size != 5 || a.Number != 5 || a.From != 0 || !a.Seen.Known || !a.Seen.Time.Equal(at(3100)) || len(a.Findings) != 0 {
			t.Errorf("answer %+v", a)
		}
		for _, n := range a.Names {
			want := map[string][]uint64{chipX: {1, 2, 4}, akX: {1, 2, 4}, "config": {0}, absent: {}}[n.Name]
			if !slices.Equal(n.Numbers, want) || n.Present != (len(want) > 0) {
				t.Errorf("%s: %+v", n.Name, n)
			}
		}
		if len(a.Entries) != 4 || a.Entries[1].T1.Known != intervals || a.Entries[1].T2.Known != intervals {
			t.Errorf("entries %+v", a.Entries)
		}
	}
}

func TestListsSinceATime(t *testing.T) {
	b := honest()
	d := b.bind(3100, order{names: []string{chipX}, since: 4}) // signed at 1000, before entry 4 was logged
	if d.Names[0].Before == nil || len(d.Names[0].Numbers) != 2 {
		t.Fatalf("names %+v", d.Names)
	}
	a, err := check(t, d, dossier.Demands{Since: at(1500)})
	if err != nil || a.From != 4 || !slices.Equal(a.Names[0].Numbers, []uint64{2, 4}) {
		t.Fatalf("%+v, %v", a, err)
	}
	for what, demands := range map[string]dossier.Demands{"everything": {}, "what was logged before": {Since: at(900)}} {
		if _, err := check(t, d, demands); stepOf(err) != "since" {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func stepOf(err error) verify.Check {
	var e *verify.Error
	if errors.As(err, &e) {
		return e.Check
	}
	return ""
}

func TestClonedChipIsFound(t *testing.T) {
	for _, c := range []struct {
		intervals bool
		severity  rule.Severity
	}{{true, rule.Contradiction}, {false, rule.Alert}} {
		b := honest()
		b.proof(chipX, akY, "us-central1-c", 3050, func(e *poclog.Entry) { e.Instance = "gce:instance:1:9" })
		a, err := check(t, b.bind(3100, order{names: []string{chipX}, intervals: c.intervals}), dossier.Demands{})
		if err != nil {
			t.Fatal(err)
		}
		if f := a.Gravest(); f == nil || f.Rule != "chip-in-two-places" || f.Severity != c.severity {
			t.Errorf("intervals %v: %+v", c.intervals, f)
		}
	}
}

// A receipt is cleared by a dossier that covers all that it names, and nothing else.
func TestReceiptsAreCleared(t *testing.T) {
	b := honest()
	d := b.bind(3100, order{names: []string{chipX, akX, vm}})
	verdictOf := func(number uint64) *receipt.Verdict {
		size := uint64(len(b.log.Leaves))
		second := int(must(poclog.ParseEntry(b.log.Leaves[number])).Appraised.Sub(at(0)).Seconds())
		r := poclog.Receipt{Entry: b.log.Leaves[number], Index: number, Inclusion: b.log.Inclusion(number, size, b.log.Checkpoint(size, signed(3200)...))}
		r.Challenge = b.log.Checkpoint(must(poclog.ParseEntry(b.log.Leaves[number])).Fresh.Size, signed(second-30)...)
		return must(receipt.Open(must(r.Marshal()), policy(t)))
	}
	a := must(check(t, d, dossier.Demands{}))
	if err := a.Clears(verdictOf(4)); err != nil {
		t.Error(err)
	}
	newer := b.proof(chipX, akX, "us-central1-a", 3150, nil)
	other := honest()
	for what, c := range map[string]struct {
		answer *dossier.Answer
		number uint64
		want   string
	}{
		"a chip that is not covered": {a, 3, "does not list entry 3"},
		"a newer receipt":            {a, newer, "newer"},
		"an AK that is not covered":  {must(check(t, other.bind(3100, order{names: []string{chipX, vm}}), dossier.Demands{})), 4, "says nothing of " + akX},
	} {
		if err := c.answer.Clears(verdictOf(c.number)); stepOf(err) != dossier.StepDossier || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", what, err)
		}
	}
	stranger := *a
	stranger.Origin = "other.test"
	if err := stranger.Clears(verdictOf(4)); stepOf(err) != dossier.StepDossier || !strings.Contains(err.Error(), "other.test") {
		t.Errorf("a dossier of another log: %v", err)
	}
	cloned := honest()
	cloned.proof(chipX, akX, "us-central1-c", 3050, nil)
	if err := must(check(t, cloned.bind(3100, order{names: []string{chipX, akX, vm}}), dossier.Demands{})).Clears(verdictOf(4)); err == nil || !strings.Contains(err.Error(), "chip-in-two-places") {
		t.Errorf("a clone beside it: %v", err)
	}
}

// A receipt is held to what another log has of its identities, too.
func TestReceiptsAreHeldToOtherLogs(t *testing.T) {
	entry := must(poclog.ParseEntry(honest().log.Leaves[1]))
	mine := &receipt.Verdict{Origin: "other.test", Index: 1, Entry: entry}
	of := func(zone string, names ...string) *dossier.Answer {
		b := newBook()
		b.config()
		if zone != "" {
			b.proof(chipX, akX, zone, 1010, nil)
		}
		return must(check(t, b.bind(3100, order{names: names}), dossier.Demands{}))
	}
	for _, zone := range []string{"", "us-central1-a"} { // absent; claimed in the same place
		if err := of(zone, chipX, akX, vm).Agrees(mine); err != nil {
			t.Errorf("zone %q: %v", zone, err)
		}
	}
	refusedAs(t, "the chip in another place", of("us-central1-c", chipX, akX, vm).Agrees(mine), dossier.StepDossier, "chip-in-two-places")
	refusedAs(t, "a list that is missing", of("", chipX, vm).Agrees(mine), dossier.StepDossier, "says nothing of "+akX)
	refusedAs(t, "no proof", of("", chipX).Agrees(&receipt.Verdict{Origin: "other.test"}), dossier.StepDossier, "kind")
}

func TestWithoutAPolicyThereIsNoAnswer(t *testing.T) {
	if _, err := dossier.Check(must(honest().bind(3100, order{names: []string{chipX}}).Marshal()), nil, at(4000), dossier.Demands{}); !errors.Is(err, receipt.ErrNoPolicy) {
		t.Error(err)
	}
}

// RootOf agrees with the definition for every set of leaves of small trees, and takes no other
// proof.
func TestPagesOfSmallTrees(t *testing.T) {
	b := newBook()
	for i := range 9 {
		b.log.Leaves = append(b.log.Leaves, []byte{byte(i)})
	}
	for size := uint64(1); size <= 9; size++ {
		for set := 1; set < 1<<size; set++ {
			var numbers []uint64
			var leaves []dossier.Leaf
			for n := range size {
				if set>>n&1 == 1 {
					numbers = append(numbers, n)
					leaves = append(leaves, dossier.Leaf{Number: n, Hash: receipt.LeafHash(b.log.Leaves[n])})
				}
			}
			proof := must(dossier.ProofOf(size, numbers, b.node))
			root, err := dossier.RootOf(size, leaves, proof)
			if err != nil || root != [32]byte(b.log.Root(size)) {
				t.Fatalf("size %d, leaves %v: %v", size, numbers, err)
			}
			if _, err := dossier.RootOf(size, leaves, append(slices.Clone(proof), [32]byte{})); err == nil {
				t.Fatalf("size %d, leaves %v: a hash too many", size, numbers)
			}
			if len(proof) > 0 {
				if _, err := dossier.RootOf(size, leaves, proof[1:]); err == nil {
					t.Fatalf("size %d, leaves %v: a hash too few", size, numbers)
				}
			}
			if _, err := dossier.RootOf(size, append(slices.Clone(leaves), leaves[len(leaves)-1]), proof); err == nil {
				t.Fatalf("size %d, leaves %v: a leaf twice", size, numbers)
			}
		}
	}
	if _, err := dossier.RootOf(3, []dossier.Leaf{{Number: 3}}, nil); err == nil {
		t.Error("a leaf beyond the tree")
	}
}
