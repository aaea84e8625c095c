package monitor

import (
	"bytes"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/rule"
)

// decide judges a pair by its records, if that is enough: where the rules find nothing, or that
// something moved, whatever is still unknown of the two entries. That is nearly all of what honest
// operation gives, and asks no log. A nil judging has to be judged by the entries themselves, or
// later, if an entry has no record yet.
//
// What records do not hold is presumed against the pair: the counters of two keys are compared as
// if they were one TPM's; a challenge is taken to cover what its size covers; and evidence may have
// been made as early, and logged as late, as the logs' own times allow. A log whose times are not
// so is shown to lie (interval-inverted), and an entry that is out of its log's order is always
// looked at (enter).
//
// Records of the batch that made the pair count, too; it is nil where the pair is durable. The
// caller holds r.mu, or no log is being read.
func (r *run) decide(p pending, of *batch) (*judging, error) {
	if p.a == p.b {
		return nil, nil
	}
	var sides [2]recorded
	for i, side := range []ref{p.a, p.b} {
		t := r.tail(side.log())
		if t == nil {
			return nil, nil
		}
		row, err := t.recorded(side.index(), of)
		if err != nil || row == nil {
			return nil, err
		}
		sides[i] = recorded{t, side.index(), row}
	}
	found, ok := byRecords(r.m.cfg.Limits, sides[0], sides[1])
	if !ok {
		return nil, nil
	}
	j := &judging{r: r, pair: p, began: r.m.cfg.Clock()}
	for _, f := range found {
		j.alerts = append(j.alerts, alertOf(f, j.refs()))
	}
	return j, nil
}

// recorded returns an entry's record, durable or in a batch of the log, or nil if there is none yet.
func (t *tail) recorded(index uint64, b *batch) (*row, error) {
	if b != nil && b.of == t && index >= b.first && index-b.first < uint64(b.n) {
		return b.rows.row(int(index - b.first)), nil
	}
	if index >= t.l.next {
		return nil, nil
	}
	return t.rows.one(index)
}

// A recorded is an entry as its log's records have it.
type recorded struct {
	tail  *tail
	index uint64
	row   *row
}

// byRecords runs the rules of two entries by their records, and reports whether that decides.
func byRecords(l rule.Limits, a, b recorded) (found []*rule.Finding, ok bool) {
	if !sameStory(a, b) {
		return nil, false
	}
	e, f := a.claim(), b.claim()
	if mayPrecede(e, f) && mayPrecede(f, e) {
		return nil, false // an order that is not certain hides the other one
	}
	// The order that there may be, and none: what is found must be the same.
	unordered := func(c rule.Claim) *rule.Claim { c.T1, c.T2, c.Rooted = time.Time{}, time.Time{}, false; return &c }
	found = l.Compare(e, f)
	without := l.Compare(unordered(*e), unordered(*f))
	for _, x := range append(without, found...) {
		if x.Severity != rule.Information {
			return nil, false
		}
	}
	return found, len(found) == len(without)
}

// mayPrecede reports whether e's evidence may have been made certainly before f's: by what is
// presumed of either, whatever speaks for the other order.
func mayPrecede(e, f *rule.Claim) bool {
	first, second := *e, *f
	first.T1, first.Rooted, second.T2 = time.Time{}, false, time.Time{}
	return rule.Before(&first, &second)
}

// sameStory reports whether records of two proofs hold what the rules would look at. Where places,
// TPMs or stories of one boot differ they do not: the rules ask for exact times, and for what the
// records hold a digest of.
func sameStory(a, b recorded) bool {
	e, f := a.row, b.row
	if e.kind() != KindProof || f.kind() != KindProof || e.has(flagMore) || f.has(flagMore) {
		return false
	}
	if chip := e.chipOctets(); chip != nil && bytes.Equal(chip, f.chipOctets()) {
		for _, id := range sayings {
			if x, y := a.tail.keyer.says(id, e), b.tail.keyer.says(id, f); x != 0 && y != 0 && x != y {
				return false
			}
		}
	}
	sameBoot := bytes.Equal(e[offReset:offReset+8], f[offReset:offReset+8])
	sameAK := e.has(flagAK) && f.has(flagAK) && bytes.Equal(e[offAK:offAK+32], f[offAK:offAK+32])
	return !sameAK || !sameBoot || sameStories(e, f)
}

// slack is by how much a log's time may differ from a quorum's, on either side.
const slack = 2 * verify.MaxSkew

// claim is a claim by a record: as much of the entry as the rules look at.
func (x recorded) claim() *rule.Claim {
	at := poclog.UnixTime(x.row.appraised())
	c := &rule.Claim{Origin: x.tail.l.origin, Index: x.index, Rooted: true, Entry: x.row.entry(x.tail.terms), T2: at.Add(-slack)}
	if x.row.has(flagFresh) {
		c.T1 = at.Add(slack)
	}
	return c
}

// joinedChecks are those that bind AK and TEE ([poclog.Entry.Joined]).
var joinedChecks = []string{"bind.ak-in-tee", "bind.tee-in-tpm", "tpm.ak-template"}

// entry is as much of a proof as its record holds and the rules look at. It has no place, no
// registers and no banks.
func (r *row) entry(terms *terms) *poclog.Entry {
	e := &poclog.Entry{
		Profile: r.profile(), Level: uint32(r[offLevel]), Realm: r.realm(), Appraised: time.Unix(r.appraised(), 0).UTC(), Instance: r.instance(),
		Quote: r.identity(flagQuote, poclog.QuoteKind, offQuote, 32),
	}
	put := func(list *[]poclog.Identity, id poclog.Identity) {
		if id != "" {
			*list = append(*list, id)
		}
	}
	put(&e.Chassis, r.chip())
	put(&e.Chassis, r.identity(flagPIID, poclog.IntelPIID, offPIID, 16))
	ek := &e.Keys
	if r.isMetal() {
		ek = &e.Chassis
	}
	put(ek, r.identity(flagEK, poclog.TPMEK, offEK, 32))
	put(&e.Keys, r.identity(flagAK, poclog.TPMAK, offAK, 32))
	if r.has(flagTPM) {
		e.TPM = &poclog.TPM{ResetCount: r.u32(offReset), RestartCount: r.u32(offRestart), Clock: r.u64(offClock), Safe: r.has(flagSafe), KeyType: terms.text(r.term(offKeyType))}
	}
	if r.has(flagJoined) {
		e.Checks = joinedChecks
	}
	if r.has(flagFresh) {
		e.Fresh = &poclog.Fresh{Origin: terms.text(r.term(offOrigin)), Size: r.u64(offFreshSize), Root: r.digest(offFreshRoot)}
	}
	r.platform(&e.CVM, terms)
	return e
}

// platform is what never changes of a chip, and what judged it.
func (r *row) platform(c *poclog.CVM, terms *terms) {
	if r.has(flagChipID) {
		if n := int(r[offProduct]); n >= 1 && n <= len(products) {
			c.SNP = &poclog.SNPReport{Product: products[n-1]}
		}
		return
	}
	c.FMSPC, c.PCEID = r[offFMSPC:offFMSPC+6], r[offPCEID:offPCEID+2]
	if r.term(offTCB) != 0 {
		c.TCB = &poclog.TCB{Evaluation: r.u32(offEvaluation)}
	}
}
