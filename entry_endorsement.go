package poclog

import (
	"bytes"
	"cmp"
	"slices"
	"time"
)

// An Endorsement is what someone who is neither chip maker nor provider signed about the machine. It is no place: docs/format.md §7 says what may be
// relied on.
type Endorsement struct {
	Kind  CollateralKind // AllianceToken or OwnerEndorsement
	By    Digest         // who signed: an alliance's Ed25519 key itself, or the SHA-256 of an owner's root certificate, as the policy lists them
	Of    Identity       // what it is about: the chip or, for an owner, the platform instance; one of the entry's chassis
	Says  string         // the registry's label of the machine, or the owner's name; see [CanSay]
	From  time.Time      // when the registry said so, zero where it gives no time; or from when the machine is the owner's; whole seconds
	Until time.Time      // until when it is the owner's; zero for a registry's, which says nothing of later
}

var endorsementKinds = names([]CollateralKind{AllianceToken, OwnerEndorsement})

// CanSay reports whether s can stand in an entry as what an endorsement says.
func CanSay(s string) bool { return s != "" && len(s) <= maxSays && printable(s) }

// CompareEndorsements gives the order of an entry's list: by kind, then by signer.
func CompareEndorsements(a, b Endorsement) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), slices.Compare(a.By[:], b.By[:]))
}

func (w *encoder) endorsements(list []Endorsement) {
	if len(list) == 0 {
		return
	}
	w.open("endorsements", '[')
	for _, x := range list {
		w.sep()
		w.char('{')
		w.str("kind", string(x.Kind))
		w.hex("by", x.By[:])
		w.str("of", string(x.Of))
		w.str("says", x.Says)
		if x.Kind == OwnerEndorsement || !x.From.IsZero() {
			w.time("from", x.From)
		}
		if x.Kind == OwnerEndorsement {
			w.time("until", x.Until)
		}
		w.char('}')
	}
	w.char(']')
}

func (d *decoder) endorsements(chassis []Identity) []Endorsement {
	var list []Endorsement
	d.lit("[")
	for d.next() {
		if len(list) == maxCollateralItems {
			d.fail("endorsements: more than %d", maxCollateralItems)
			return nil
		}
		x := d.endorsement()
		if d.err == nil && !slices.Contains(chassis, x.Of) {
			d.fail("endorsement of %s: it is none of the chassis", x.Of)
		}
		if n := len(list); d.err == nil && n > 0 && CompareEndorsements(list[n-1], x) >= 0 {
			d.fail("endorsements: %s by %s: repeated or out of order", x.Kind, x.By)
		}
		list = append(list, x)
	}
	if d.err == nil && len(list) == 0 {
		d.fail("endorsements: an empty list is left out")
	}
	return list
}

func (d *decoder) endorsement() (x Endorsement) {
	d.lit("{")
	d.enum("kind", (*string)(&x.Kind), endorsementKinds)
	x.By = d.digest("by")
	d.name("of")
	x.Of = d.identity()
	if x.Says = d.str("says", maxSays); d.err == nil && !CanSay(x.Says) {
		d.fail("endorsement: it says nothing")
	}
	switch {
	case x.Kind == OwnerEndorsement:
		x.From = d.time("from")
	case d.has("from"):
		if x.From = d.bareTime(); x.From.IsZero() {
			d.fail("endorsement: a time that is not known is left out")
		}
	}
	if x.Kind == OwnerEndorsement {
		if x.Until = d.time("until"); d.err == nil && x.Until.Before(x.From) {
			d.fail("endorsement: it ends before it begins")
		}
	}
	d.lit("}")
	return x
}

// endorsements reads the list as the decoder does. named is the part of the entry that names identities, the chassis first.
func (s *scanner) endorsements(named []byte) {
	chassis, ok := bytes.CutPrefix(named, []byte(`,"chassis":[`))
	end := bytes.IndexByte(chassis, ']')
	if !ok || end < 0 {
		s.bad = true
		return
	}
	var before, one [1 + 32]byte // kind and signer
	for n := 0; ; n++ {
		s.endorsement(&one, chassis[:end])
		if s.bad || n == maxCollateralItems || n > 0 && bytes.Compare(before[:], one[:]) >= 0 {
			s.bad = true
			return
		}
		before = one
		if s.try("]") {
			return
		}
		s.lit(",")
	}
}

// noTime is the zero time in Unix seconds.
var noTime = time.Time{}.Unix()

func (s *scanner) endorsement(key *[1 + 32]byte, chassis []byte) {
	s.lit(`{"kind":`)
	key[0] = 0
	if !s.try(`"alliance-token"`) {
		s.lit(`"owner-endorsement"`)
		key[0] = 1
	}
	s.lit(`,"by":`)
	s.hex(key[1:])
	s.lit(`,"of":`)
	start := s.off
	of := s.str(maxIdentity)
	// Between two quotes of the list stands an identity, or the comma after one.
	if s.bad || bytes.IndexByte(of, ',') >= 0 || !bytes.Contains(chassis, s.b[start:s.off]) {
		s.bad = true
		return
	}
	s.lit(`,"says":`)
	said := s.str(maxSays)
	s.bad = s.bad || len(said) == 0
	if s.try(`}`) {
		s.bad = s.bad || key[0] == 1
		return
	}
	s.lit(`,"from":`)
	from := s.time()
	s.bad = s.bad || key[0] == 0 && from == noTime
	if key[0] == 1 {
		s.lit(`,"until":`)
		s.bad = s.time() < from || s.bad
	}
	s.lit("}")
}
