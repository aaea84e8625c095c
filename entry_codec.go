package poclog

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/poclog/poclog/internal/canon"
)

// Marshal returns the leaf. It fails if a member is out of its range or the leaf is over MaxEntry.
func (e *Entry) Marshal() ([]byte, error) {
	leaf, err := canon.Write(MaxEntry, func(c *canon.Codec) {
		c.Lit(proofStart)
		e.code(c)
	})
	if err != nil {
		return nil, fmt.Errorf("encode entry: %w", err)
	}
	return leaf, nil
}

// proofStart is how each leaf of kind "proof" that this software knows begins.
const proofStart = `{"v":1,"kind":"proof"`

// code is a proof from after its kind.
func (e *Entry) code(c *canon.Codec) {
	c.Member("appraisal").Uint32(&e.Appraisal)
	c.Check(e.Appraisal > 0, "appraisal 0: want at least 1")
	canon.OneOf(c.Member("profile"), "profile", &e.Profile, profileList)
	c.Member("level").Uint32(&e.Level)
	c.Check(e.Level == LevelChip || e.Level == LevelBound, "level %d: want 0 or 2", e.Level)
	canon.OneOf(c.Member("realm"), "realm", &e.Realm, realmList)
	e.codeIdentities(c)
	canon.OptionalOf(c, "place", &e.Place, func(p *Place) { p.code(c) })
	e.codeEndorsements(c)
	e.CVM.code(c.Member("cvm"))
	canon.OptionalOf(c, "tpm", &e.TPM, func(t *TPM) { t.code(c) })
	e.codeFresh(c)
	codePublishers(c, &e.Publishers)
	canon.Strings(c, "checks", &e.Checks, maxCheckID, maxChecks)
	canon.Strings(c, "absent", &e.Absent, maxCheckID, maxChecks)
	e.Evidence.code(c.Member("evidence"))
	c.Member("appraised").Time(&e.Appraised)
	c.Lit("}")
	if !e.isOfOneMaker() {
		c.Failf("an entry of profile %s: want a cvm and a chassis of its maker's", e.Profile)
	}
	c.Check((e.TPM == nil) == (e.Boot == nil), "boot and tpm come together or not at all")
	c.Check((len(e.Publishers) == 0) == (e.Evidence.Envelope == Blob{}), "publishers and their envelope come together or not at all")
}

var (
	profileList = Profiles()
	realmList   = []Realm{Production, Lab}
	algNames    = []string{"sha1", "sha256", "sha384", "sha512"}

	technologyNames = []string{"tdx", "snp"}
	endorserNames   = []string{"provider", "policy"}
)

func (e *Entry) codeIdentities(c *canon.Codec) {
	for _, l := range []struct {
		name  string
		list  *[]Identity
		kinds []string
	}{{"chassis", &e.Chassis, chassisKinds}, {"keys", &e.Keys, keyKinds}} {
		canon.OptionalList(c, l.name, l.list, maxIdentities, func(id *Identity) { codeIdentity(c, id, l.kinds) })
		canon.Ascending(c, l.name, *l.list, func(a, b Identity) bool { return a < b })
	}
	if c.Optional("instance", e.Instance != "") {
		codeIdentity(c, &e.Instance, instanceKinds)
	}
	codeIdentity(c.Member("quote"), &e.Quote, quoteKinds)
	canon.OptionalOf(c, "boot", &e.Boot, func(d *Digest) { c.Hex(d[:]) })
}

// The kinds of identities that stand in a member.
var (
	chassisKinds  = []string{IntelPPID, IntelPIID, AMDChipID, TPMEK}
	keyKinds      = []string{TPMAK, TPMEK}
	instanceKinds = []string{GCEInstance, AzureVM}
	quoteKinds    = []string{QuoteKind}
)

func codeIdentity(c *canon.Codec, id *Identity, kinds []string) {
	canon.Str(c, id, maxIdentity)
	if c.Err() != nil {
		return
	}
	if _, err := ParseIdentity(string(*id)); err != nil {
		c.Failf("%w", err)
	}
	if !slices.Contains(kinds, id.Kind()) {
		c.Failf("%s: want an identity of kind %s", *id, strings.Join(kinds, ", "))
	}
}

func (p *Place) code(c *canon.Codec) {
	c.Object(func() {
		p.Provider.code(c, "provider")
		p.Region.code(c, "region")
		p.Zone.code(c, "zone")
	})
	c.Check(p.Provider.Value != "", "place without provider")
}

func (x *Claim) code(c *canon.Codec, name string) {
	if !c.Optional(name, x.Value != "") {
		return
	}
	c.Object(func() {
		canon.Word(c.Member("value"), name, &x.Value, maxName)
		canon.Sorted(c, "by", &x.By, maxCheckID, maxSources)
	})
	if len(x.By) == 0 {
		c.Failf("%s: want who said so", name)
	}
}

func (m *CVM) code(c *canon.Codec) {
	c.Object(func() {
		canon.OneOf(c.Member("technology"), "technology", &m.Technology, technologyNames)
		c.Member("measurement").HexBytes(&m.Measurement, 48, 48)
		if c.Optional("endorsed_by", m.EndorsedBy != "") {
			canon.OneOf(c, "endorsed_by", &m.EndorsedBy, endorserNames)
		}
		m.codeRTMRs(c)
		c.Member("report_data").Hex(m.ReportData[:])
		c.OptionalRegister("mrowner", &m.MROwner, 48)
		c.OptionalRegister("mrconfigid", &m.MRConfigID, 48)
		canon.OptionalOf(c, "tcb", &m.TCB, func(t *TCB) { t.code(c) })
		c.OptionalHex("fmspc", &m.FMSPC, 6)
		c.OptionalHex("pceid", &m.PCEID, 2)
		canon.OptionalOf(c, "snp", &m.SNP, func(s *SNPReport) { s.code(c) })
	})
	if !m.ofItsTechnology() {
		c.Failf("cvm of technology %s: want snp for snp and fmspc and pceid for tdx, and no member of the other", m.Technology)
	}
}

// isOfOneMaker reports whether profile, TEE and chassis are of one maker of chips.
func (e *Entry) isOfOneMaker() bool {
	isSNP := e.CVM.Technology == "snp"
	return isSNP == e.Profile.isSNP() && !slices.ContainsFunc(e.Chassis, func(id Identity) bool {
		kind := id.Kind()
		return isSNP && (kind == IntelPPID || kind == IntelPIID) || !isSNP && kind == AMDChipID
	})
}

// ofItsTechnology reports whether the members are those of the technology.
func (m *CVM) ofItsTechnology() bool {
	if m.Technology == "snp" {
		return m.SNP != nil && len(m.RTMRs)+len(m.MROwner)+len(m.MRConfigID)+len(m.FMSPC)+len(m.PCEID) == 0 && m.TCB == nil
	}
	return m.SNP == nil && len(m.FMSPC) > 0 && len(m.PCEID) > 0
}

func (m *CVM) codeRTMRs(c *canon.Codec) {
	canon.OptionalList(c, "rtmrs", &m.RTMRs, 4, func(r *[48]byte) { c.Hex(r[:]) })
	isZero := !slices.ContainsFunc(m.RTMRs, func(r [48]byte) bool { return r != [48]byte{} })
	c.Check(len(m.RTMRs) == 0 || len(m.RTMRs) == 4 && !isZero, "rtmrs: want four; all zero are left out")
}

func (t *TCB) code(c *canon.Codec) {
	c.Object(func() {
		canon.Word(c.Member("status"), "status", &t.Status, maxTCBWord)
		c.Member("date").Time(&t.Date)
		canon.Sorted(c, "advisories", &t.Advisories, maxTCBWord, maxAdvisories)
		c.Member("evaluation").Uint32(&t.Evaluation)
	})
}

// snpSigners are the keys that sign SEV-SNP reports.
var snpSigners = []string{"vcek", "vlek"}

func (s *SNPReport) code(c *canon.Codec) {
	c.Object(func() {
		canon.OneOf(c.Member("product"), "product", &s.Product, snpProducts)
		canon.OneOf(c.Member("signer"), "signer", &s.Signer, snpSigners)
		c.Member("policy").Uint64(&s.Policy)
		c.Member("guest_svn").Uint32(&s.GuestSVN)
		c.Member("reported_tcb").Hex(s.Reported[:])
		c.Member("committed_tcb").Hex(s.Committed[:])
		c.Member("launch_tcb").Hex(s.Launch[:])
		c.OptionalRegister("id_key", &s.IDKey, 48)
		c.OptionalRegister("host_data", &s.HostData, 32)
	})
}

func (t *TPM) code(c *canon.Codec) {
	c.Object(func() {
		canon.Str(c.Member("key_type"), &t.KeyType, maxKeyType)
		if !isKeyType(t.KeyType) {
			c.Failf("key_type %q: want rsa-2048 to rsa-4096, ecc-p256 or ecc-p384", t.KeyType)
		}
		canon.List(c.Member("pcrs"), "pcrs", &t.PCRs, maxBanks, func(b *PCRBank) { b.code(c) })
		c.Member("pcr_digest").HexBytes(&t.PCRDigest, 1, 64)
		if c.Optional("extra_data", len(t.ExtraData) > 0) {
			c.HexBytes(&t.ExtraData, 1, 64)
		}
		c.Member("clock").Uint64(&t.Clock)
		c.Member("reset_count").Uint32(&t.ResetCount)
		c.Member("restart_count").Uint32(&t.RestartCount)
		c.Member("safe").Bool(&t.Safe)
		c.Member("firmware").Uint64(&t.Firmware)
	})
}

func (b *PCRBank) code(c *canon.Codec) {
	c.Object(func() {
		canon.OneOf(c.Member("alg"), "alg", &b.Alg, algNames)
		canon.List(c.Member("selected"), "selected", &b.Selected, maxPCRs, func(n *uint8) {
			canon.Uint(c, n, 8)
			if *n >= maxPCRs {
				c.Failf("selected PCR %d: want ascending numbers from 0 to 31", *n)
			}
		})
		canon.Ascending(c, "selected", b.Selected, func(a, b uint8) bool { return a < b })
		canon.OptionalOf(c, "firmware", &b.Firmware, func(d *Digest) { c.Hex(d[:]) })
	})
}

func (e *Entry) codeFresh(c *canon.Codec) {
	if c.Member("fresh").Either("null", e.Fresh == nil) {
		return
	}
	if c.Reading() {
		e.Fresh = new(Fresh)
	}
	f := e.Fresh
	c.Object(func() {
		canon.Word(c.Member("origin"), "fresh", &f.Origin, maxName)
		c.Member("size").Uint64(&f.Size)
		c.Member("root").Hex(f.Root[:])
		c.Member("checkpoint").Hex(f.Checkpoint[:])
		c.Member("salt").Hex(f.Salt[:])
		c.Member("user_data").Hex(f.UserData[:])
	})
}

func (e *Entry) codeEndorsements(c *canon.Codec) {
	canon.OptionalList(c, "endorsements", &e.Endorsements, maxCollateralItems, func(x *Endorsement) {
		x.code(c)
		c.Check(slices.Contains(e.Chassis, x.Of), "endorsement of %s: it is none of the chassis", x.Of)
	})
	for i := 1; i < len(e.Endorsements); i++ {
		x := e.Endorsements[i]
		c.Check(CompareEndorsements(e.Endorsements[i-1], x) < 0, "endorsements: %s by %s: repeated or out of order", x.Kind, x.By)
	}
}

func (x *Endorsement) code(c *canon.Codec) {
	c.Object(func() {
		canon.OneOf(c.Member("kind"), "kind", &x.Kind, endorsementKinds)
		c.Member("by").Hex(x.By[:])
		codeIdentity(c.Member("of"), &x.Of, chassisKinds)
		canon.Word(c.Member("says"), "says", &x.Says, maxSays)
		if x.Kind != OwnerEndorsement {
			c.OptionalTime("from", &x.From)
		} else {
			c.Member("from").Time(&x.From)
			c.Member("until").Time(&x.Until)
			c.Check(!x.Until.Before(x.From), "endorsement: it ends before it begins")
		}
	})
}

func codePublishers(c *canon.Codec, list *[]Digest) {
	canon.OptionalList(c, "publishers", list, MaxSignatures, func(d *Digest) { c.Hex(d[:]) })
	canon.Ascending(c, "publishers", *list, func(a, b Digest) bool { return slices.Compare(a[:], b[:]) < 0 })
}

func (v *EvidenceDigests) code(c *canon.Codec) {
	c.Object(func() {
		v.Bundle.code(c.Member("bundle"))
		v.Envelope.codeOptional(c, "envelope")
		v.Collateral.codeOptional(c, "collateral")
		v.Policy.code(c.Member("policy"))
	})
}

func (b *Blob) codeOptional(c *canon.Codec, name string) {
	if c.Optional(name, *b != Blob{}) {
		b.code(c)
		if *b == (Blob{}) {
			c.Failf("%s: none is left out", name)
		}
	}
}

func (b *Blob) code(c *canon.Codec) {
	c.Object(func() {
		c.Member("sha256").Hex(b.SHA256[:])
		c.Member("size").Uint32(&b.Size)
	})
}

// UnixTime returns the time of a whole number of seconds since 1970, in UTC, as entries hold it.
func UnixTime(seconds int64) time.Time { return time.Unix(seconds, 0).UTC() }
