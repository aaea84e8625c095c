package poclog

import (
	"fmt"
	"slices"
	"time"
)

// Marshal returns the leaf. It fails if a member is out of its range or the leaf is over MaxEntry.
func (e *Entry) Marshal() ([]byte, error) {
	w := encoder{buf: make([]byte, 0, 4096)}
	w.entry(e)
	// The decoder knows every rule, so that there is one place for them: what it refuses is not written.
	back, err := ParseLeaf(w.buf)
	if err == nil && back.Proof == nil {
		err = fmt.Errorf("not a proof")
	}
	if err != nil {
		return nil, fmt.Errorf("encode entry: %w", err)
	}
	return w.buf, nil
}

func (w *encoder) entry(e *Entry) {
	w.buf = append(w.buf, `{"v":1,"kind":"proof"`...)
	w.uint32("appraisal", e.Appraisal)
	w.str("profile", string(e.Profile))
	w.uint32("level", e.Level)
	w.str("realm", string(e.Realm))
	encodeStrings(w, "chassis", e.Chassis)
	encodeStrings(w, "keys", e.Keys)
	if e.Instance != "" {
		w.str("instance", string(e.Instance))
	}
	w.str("quote", string(e.Quote))
	if e.Boot != nil {
		w.hex("boot", e.Boot[:])
	}
	w.place(e.Place)
	w.endorsements(e.Endorsements)
	w.cvm(&e.CVM)
	w.tpm(e.TPM)
	w.fresh(e.Fresh)
	w.publishers(e.Publishers)
	encodeStrings(w, "checks", e.Checks)
	encodeStrings(w, "absent", e.Absent)
	w.evidence(&e.Evidence)
	w.time("appraised", e.Appraised)
	w.char('}')
}

func (w *encoder) place(p *Place) {
	if p == nil {
		return
	}
	w.open("place", '{')
	for _, c := range []struct {
		name  string
		claim Claim
	}{{"provider", p.Provider}, {"region", p.Region}, {"zone", p.Zone}} {
		if c.claim.Value == "" {
			continue
		}
		w.open(c.name, '{')
		w.str("value", c.claim.Value)
		encodeStrings(w, "by", c.claim.By)
		w.char('}')
	}
	w.char('}')
}

func (w *encoder) cvm(c *CVM) {
	w.open("cvm", '{')
	w.str("technology", c.Technology)
	w.hex("measurement", c.Measurement)
	if c.EndorsedBy != "" {
		w.str("endorsed_by", c.EndorsedBy)
	}
	if len(c.RTMRs) > 0 {
		w.open("rtmrs", '[')
		for i := range c.RTMRs {
			w.sep()
			w.bareHex(c.RTMRs[i][:])
		}
		w.char(']')
	}
	w.hex("report_data", c.ReportData[:])
	w.optionalHex("mrowner", c.MROwner)
	w.optionalHex("mrconfigid", c.MRConfigID)
	if t := c.TCB; t != nil {
		w.open("tcb", '{')
		w.str("status", t.Status)
		w.time("date", t.Date)
		encodeStrings(w, "advisories", t.Advisories)
		w.uint32("evaluation", t.Evaluation)
		w.char('}')
	}
	w.optionalHex("fmspc", c.FMSPC)
	w.optionalHex("pceid", c.PCEID)
	w.snp(c.SNP)
	w.char('}')
}

func (w *encoder) optionalHex(name string, b []byte) {
	if len(b) > 0 {
		w.hex(name, b)
	}
}

func (w *encoder) fresh(f *Fresh) {
	w.name("fresh")
	if f == nil {
		w.buf = append(w.buf, "null"...)
		return
	}
	w.char('{')
	w.str("origin", f.Origin)
	w.uint64("size", f.Size)
	w.hex("root", f.Root[:])
	w.hex("checkpoint", f.Checkpoint[:])
	w.hex("salt", f.Salt[:])
	w.hex("user_data", f.UserData[:])
	w.char('}')
}

func (w *encoder) evidence(v *EvidenceDigests) {
	w.open("evidence", '{')
	w.blob("bundle", v.Bundle)
	if v.Envelope != (Blob{}) {
		w.blob("envelope", v.Envelope)
	}
	if v.Collateral != (Blob{}) {
		w.blob("collateral", v.Collateral)
	}
	w.blob("policy", v.Policy)
	w.char('}')
}

func (w *encoder) blob(name string, b Blob) {
	w.open(name, '{')
	w.hex("sha256", b.SHA256[:])
	w.uint32("size", b.Size)
	w.char('}')
}

// entry reads a proof from after its kind.
func (d *decoder) entry() (*Entry, error) {
	var e Entry
	if e.Appraisal = d.uint32("appraisal"); e.Appraisal == 0 {
		d.fail("appraisal 0: want at least 1")
	}
	d.enum("profile", (*string)(&e.Profile), profileNames)
	if e.Level = d.uint32("level"); e.Level != LevelChip && e.Level != LevelBound {
		d.fail("level %d: want 0 or 2", e.Level)
	}
	d.enum("realm", (*string)(&e.Realm), realmNames)
	d.identities(&e)
	if d.has("place") {
		e.Place = d.place()
	}
	if d.has("endorsements") {
		e.Endorsements = d.endorsements(e.Chassis)
	}
	d.cvm(&e.CVM)
	if d.has("tpm") {
		e.TPM = d.tpm()
	}
	e.Fresh = d.fresh()
	e.Publishers = d.publishers()
	e.Checks = decodeStrings[string](d, "checks", 40, maxChecks)
	e.Absent = decodeStrings[string](d, "absent", 40, maxChecks)
	d.evidence(&e.Evidence)
	e.Appraised = d.time("appraised")
	d.lit("}")
	if err := d.end(); err != nil {
		return nil, fmt.Errorf("parse entry: %w", err)
	}
	if (e.TPM == nil) != (e.Boot == nil) {
		return nil, fmt.Errorf("parse entry: boot and tpm come together or not at all")
	}
	if (len(e.Publishers) == 0) != (e.Evidence.Envelope == Blob{}) {
		return nil, fmt.Errorf("parse entry: publishers and their envelope come together or not at all")
	}
	return &e, nil
}

var (
	profileNames = names(Profiles())
	realmNames   = names([]Realm{Production, Lab})
	algNames     = []string{"sha1", "sha256", "sha384", "sha512"}

	technologyNames = []string{"tdx", "snp"}
	endorserNames   = []string{"provider", "policy"}
)

func names[S ~string](list []S) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = string(s)
	}
	return out
}

// enum reads a member whose value is one of a few.
func (d *decoder) enum(name string, dst *string, values []string) {
	d.name(name)
	d.oneOf(name, dst, values)
}

func (d *decoder) oneOf(name string, dst *string, values []string) {
	raw, _ := d.raw(maxName)
	for _, v := range values {
		if string(raw) == v {
			*dst = v
			return
		}
	}
	d.fail("%s %.40q: unknown", name, raw)
}

func (d *decoder) identities(e *Entry) {
	e.Chassis = d.identityList("chassis")
	e.Keys = d.identityList("keys")
	if d.has("instance") {
		e.Instance = d.identity()
	}
	d.name("quote")
	if e.Quote = d.identity(); d.err == nil && e.Quote.Kind() != QuoteKind {
		d.fail("quote %s: want kind %s", e.Quote, QuoteKind)
	}
	if d.has("boot") {
		e.Boot = new(Digest)
		d.hexInto(e.Boot[:])
	}
}

func (d *decoder) identity() Identity {
	raw, _ := d.raw(maxIdentity)
	if d.err != nil {
		return ""
	}
	id, err := ParseIdentity(string(raw))
	if err != nil {
		d.fail("%w", err)
	}
	return id
}

func (d *decoder) identityList(name string) []Identity {
	list := decodeSorted[Identity](d, name, maxIdentity, maxIdentities)
	for _, s := range list {
		if _, err := ParseIdentity(string(s)); err != nil {
			d.fail("%w", err)
			return nil
		}
	}
	return list
}

func (d *decoder) place() *Place {
	p := new(Place)
	d.lit("{")
	for _, c := range []struct {
		name  string
		claim *Claim
	}{{"provider", &p.Provider}, {"region", &p.Region}, {"zone", &p.Zone}} {
		if !d.has(c.name) {
			continue
		}
		d.lit("{")
		if c.claim.Value = d.str("value", maxName); c.claim.Value == "" {
			d.fail("%s: an empty value is left out", c.name)
		}
		c.claim.By = decodeSorted[string](d, "by", 40, maxSources)
		if len(c.claim.By) == 0 {
			d.fail("%s: want who said so", c.name)
		}
		d.lit("}")
	}
	d.lit("}")
	if p.Provider.Value == "" {
		d.fail("place without provider")
	}
	return p
}

func (d *decoder) cvm(c *CVM) {
	d.open("cvm", '{')
	d.enum("technology", &c.Technology, technologyNames)
	d.name("measurement")
	c.Measurement = d.fixedHex(48)
	if d.has("endorsed_by") {
		d.oneOf("endorsed_by", &c.EndorsedBy, endorserNames)
	}
	if d.has("rtmrs") {
		c.RTMRs = d.rtmrs()
	}
	d.name("report_data")
	d.hexInto(c.ReportData[:])
	c.MROwner = d.nonZeroHex("mrowner", 48)
	c.MRConfigID = d.nonZeroHex("mrconfigid", 48)
	if d.has("tcb") {
		c.TCB = d.tcb()
	}
	if d.has("fmspc") {
		c.FMSPC = d.fixedHex(6)
	}
	if d.has("pceid") {
		c.PCEID = d.fixedHex(2)
	}
	if d.has("snp") {
		c.SNP = d.snp()
	}
	d.lit("}")
	if d.err == nil && (c.SNP != nil) != (c.Technology == "snp") {
		d.fail("snp: want it for technology snp, and for no other")
	}
}

func (d *decoder) fixedHex(n int) []byte {
	b := make([]byte, n)
	d.hexInto(b)
	return b
}

// nonZeroHex reads an optional register that is left out when it is all zero.
func (d *decoder) nonZeroHex(name string, n int) []byte {
	if !d.has(name) {
		return nil
	}
	b := d.fixedHex(n)
	if !slices.ContainsFunc(b, func(c byte) bool { return c != 0 }) {
		d.fail("%s: all zero is left out", name)
	}
	return b
}

func (d *decoder) rtmrs() [][48]byte {
	list := make([][48]byte, 0, 4)
	d.lit("[")
	for d.next() {
		if len(list) == 4 {
			d.fail("rtmrs: more than four")
			break
		}
		list = append(list, [48]byte{})
		d.hexInto(list[len(list)-1][:])
	}
	if len(list) != 4 || list[0] == [48]byte{} && list[1] == list[0] && list[2] == list[0] && list[3] == list[0] {
		d.fail("rtmrs: want four; all zero are left out")
	}
	return list
}

func (d *decoder) tcb() *TCB {
	t := new(TCB)
	d.lit("{")
	t.Status = d.str("status", 40)
	t.Date = d.time("date")
	t.Advisories = decodeSorted[string](d, "advisories", 40, maxAdvisories)
	t.Evaluation = d.uint32("evaluation")
	d.lit("}")
	if t.Status == "" {
		d.fail("tcb: no status")
	}
	return t
}

func (d *decoder) fresh() *Fresh {
	d.name("fresh")
	if d.try("null") {
		return nil
	}
	f := new(Fresh)
	d.lit("{")
	if f.Origin = d.str("origin", maxName); f.Origin == "" {
		d.fail("fresh: no origin")
	}
	f.Size = d.uint64("size")
	f.Root = d.digest("root")
	f.Checkpoint = d.digest("checkpoint")
	f.Salt = d.digest("salt")
	f.UserData = d.digest("user_data")
	d.lit("}")
	return f
}

func (d *decoder) evidence(v *EvidenceDigests) {
	d.open("evidence", '{')
	v.Bundle = d.blob("bundle")
	v.Envelope = d.optionalBlob("envelope")
	v.Collateral = d.optionalBlob("collateral")
	v.Policy = d.blob("policy")
	d.lit("}")
}

func (d *decoder) blob(name string) Blob { d.name(name); return d.blobBody() }

func (d *decoder) optionalBlob(name string) (b Blob) {
	if d.has(name) {
		if b = d.blobBody(); b == (Blob{}) {
			d.fail("%s: none is left out", name)
		}
	}
	return b
}

func (d *decoder) blobBody() (b Blob) {
	d.lit("{")
	b.SHA256 = d.digest("sha256")
	b.Size = d.uint32("size")
	d.lit("}")
	return b
}

// UnixTime returns the time of a whole number of seconds since 1970, in UTC, as entries hold it.
func UnixTime(seconds int64) time.Time { return time.Unix(seconds, 0).UTC() }
