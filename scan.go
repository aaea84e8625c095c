package poclog

import "bytes"

func (s *scanner) entry(p *Projection) bool {
	s.lit(`{"v":1,"kind":"proof","appraisal":`)
	if s.number(max32) == 0 {
		return false
	}
	s.lit(`,"profile":`)
	p.Profile = oneOf(s.str(maxName), profileList)
	s.lit(`,"level":`)
	p.Level = uint32(s.number(max32))
	s.lit(`,"realm":`)
	p.Realm = oneOf(s.str(maxName), realmList)
	if s.bad || p.Profile == "" || p.Realm == "" || p.Level != LevelChip && p.Level != LevelBound {
		return false
	}
	from := s.off
	s.identities(p)
	named := s.b[from:s.off]
	hasBoot := s.try(`,"boot":`)
	if hasBoot {
		s.hex(p.Boot[:])
	}
	if s.try(`,"place":{`) {
		s.place(p)
	}
	if s.try(`,"endorsements":[`) {
		s.endorsements(named)
	}
	s.cvm(p)
	if p.HasTPM = s.try(`,"tpm":{`); p.HasTPM {
		s.tpm(p)
	}
	s.fresh(p)
	published := s.try(`,"publishers":[`)
	if published {
		s.publishers()
	}
	if s.try(`,"checks":`) {
		var passed joins
		s.strings(40, maxChecks, func(_, check []byte) bool { passed.take(check); return true })
		p.Joined = p.HasTPM && passed == allJoins
	}
	p.hints()
	if s.try(`,"absent":`) {
		s.strings(40, maxChecks, nil)
	}
	enveloped := s.evidence(p)
	s.lit(`,"appraised":`)
	p.Appraised = s.time()
	s.lit("}")
	return !s.bad && s.off == len(s.b) && hasBoot == p.HasTPM && published == enveloped
}

func (s *scanner) identities(p *Projection) {
	for _, list := range []struct {
		name  string
		kinds []string
	}{{`,"chassis":`, chassisKinds}, {`,"keys":`, keyKinds}} {
		if !s.try(list.name) {
			continue
		}
		s.strings(maxIdentity, maxIdentities, func(before, one []byte) bool {
			return inOrder(before, one) && isOfKind(one, list.kinds) && p.identity(one)
		})
	}
	if s.try(`,"instance":`) {
		if id := s.str(maxIdentity); !isOfKind(id, instanceKinds) || !p.identity(id) {
			s.bad = true
		}
	}
	s.lit(`,"quote":`)
	if id := s.str(maxIdentity); s.bad || !isOfKind(id, quoteKinds) || !p.identity(id) {
		s.bad = true
	}
}

// isOfKind reports whether an identity begins with one of some kinds. It need not be one.
func isOfKind(id []byte, kinds []string) bool {
	for _, k := range kinds {
		if len(id) > len(k) && id[len(k)] == ':' && string(id[:len(k)]) == k {
			return true
		}
	}
	return false
}

func (s *scanner) place(p *Projection) {
	s.lit(`"provider":{`)
	s.claim(p, &p.Provider)
	if s.try(`,"region":{`) {
		s.claim(p, &p.Region)
	}
	if s.try(`,"zone":{`) {
		s.claim(p, &p.Zone)
	}
	s.lit("}")
}

// claim reads a claim. Whether a source may authenticate it also depends on the profile and the
// provider, which stand before it.
func (s *scanner) claim(p *Projection, c *ProjectedClaim) {
	s.lit(`"value":`)
	c.Value = s.str(maxName)
	s.lit(`,"by":[`)
	var before []byte
	for n := 0; ; n++ {
		by := s.str(40)
		if s.bad || n == maxSources || len(by) == 0 || !inOrder(before, by) {
			s.bad = true
			return
		}
		before = by
		c.Authentic = c.Authentic || authenticates(p.Profile, p.Provider.Value, by)
		if s.try("]") {
			break
		}
		s.lit(",")
	}
	s.lit("}")
	s.bad = s.bad || len(c.Value) == 0
}

func (s *scanner) cvm(p *Projection) {
	s.lit(`,"cvm":{"technology":`)
	isSNP := s.try(`"snp"`)
	if !isSNP {
		s.lit(`"tdx"`)
	}
	s.bad = s.bad || isSNP != p.Profile.isSNP() || isSNP && !(allZero(p.PPID[:]) && allZero(p.PIID[:])) || !isSNP && !allZero(p.ChipID[:])
	s.lit(`,"measurement":`)
	s.hex(p.Measurement[:])
	if s.try(`,"endorsed_by":`) && !s.try(`"provider"`) {
		s.lit(`"policy"`)
	}
	if !isSNP && s.try(`,"rtmrs":[`) {
		s.rtmrs(p)
	}
	s.lit(`,"report_data":`)
	s.skip(64)
	if isSNP {
		s.snp(p)
	} else {
		s.tdx(p)
	}
	s.lit("}")
}

// tdx reads what follows a TDX quote's report data.
func (s *scanner) tdx(p *Projection) {
	for _, m := range []string{`,"mrowner":`, `,"mrconfigid":`} {
		if s.try(m) && s.skip(48) {
			s.bad = true
		}
	}
	if s.try(`,"tcb":{"status":`) {
		s.tcb(p)
	}
	s.lit(`,"fmspc":`)
	s.hex(p.FMSPC[:])
	s.lit(`,"pceid":`)
	s.hex(p.PCEID[:])
}

func (s *scanner) rtmrs(p *Projection) {
	s.hex(p.RTMRs[:48])
	s.lit(",")
	s.hex(p.RTMRs[48:])
	s.lit(",")
	zero2 := s.skip(48)
	s.lit(",")
	zero3 := s.skip(48)
	s.lit("]")
	s.bad = s.bad || zero2 && zero3 && allZero(p.RTMRs[:])
}

func (s *scanner) tcb(p *Projection) {
	p.TCB = s.str(40)
	s.lit(`,"date":`)
	s.time()
	if s.try(`,"advisories":`) {
		s.strings(40, maxAdvisories, inOrder)
	}
	s.lit(`,"evaluation":`)
	p.Evaluation = uint32(s.number(max32))
	s.lit("}")
	s.bad = s.bad || len(p.TCB) == 0
}

func (s *scanner) snp(p *Projection) {
	s.lit(`,"snp":{"product":`)
	p.Product = oneOf(s.str(maxName), snpProducts)
	s.lit(`,"signer":`)
	signer := oneOf(s.str(maxName), snpSigners)
	s.bad = s.bad || p.Product == "" || signer == ""
	s.lit(`,"policy":`)
	s.wide()
	s.lit(`,"guest_svn":`)
	s.number(max32)
	for _, m := range []string{`,"reported_tcb":`, `,"committed_tcb":`, `,"launch_tcb":`} {
		s.lit(m)
		s.skip(8)
	}
	if s.try(`,"id_key":`) && s.skip(48) || s.try(`,"host_data":`) && s.skip(32) {
		s.bad = true
	}
	s.lit("}")
}

func (s *scanner) tpm(p *Projection) {
	s.lit(`"key_type":`)
	if p.KeyType = s.str(maxKeyType); s.bad || !isKeyType(string(p.KeyType)) {
		s.bad = true
		return
	}
	s.lit(`,"pcrs":[`)
	for n := 0; !s.bad && !s.try("]"); n++ {
		if n > 0 {
			s.lit(",")
		}
		if n == maxBanks {
			s.bad = true
			return
		}
		s.bank(p)
	}
	s.lit(`,"pcr_digest":`)
	s.octets(64)
	if s.try(`,"extra_data":`) {
		s.octets(64)
	}
	s.lit(`,"clock":`)
	p.Clock = s.wide()
	s.lit(`,"reset_count":`)
	p.ResetCount = uint32(s.number(max32))
	s.lit(`,"restart_count":`)
	p.RestartCount = uint32(s.number(max32))
	s.lit(`,"safe":`)
	if p.Safe = s.try("true"); !p.Safe {
		s.lit("false")
	}
	s.lit(`,"firmware":`)
	s.wide()
	s.lit("}")
}

func (s *scanner) bank(p *Projection) {
	s.lit(`{"alg":`)
	alg := oneOf(s.str(maxName), algNames)
	s.lit(`,"selected":[`)
	next := uint64(0)
	for n := 0; !s.bad && !s.try("]"); n++ {
		if n > 0 {
			s.lit(",")
		}
		pcr := s.number(31)
		s.bad = s.bad || pcr < next
		next = pcr + 1
	}
	if s.try(`,"firmware":`) {
		p.Firmware[p.Firmwares].Alg = alg
		s.hex(p.Firmware[p.Firmwares].Digest[:])
		p.Firmwares++
	}
	s.lit("}")
	s.bad = s.bad || alg == ""
}

func (s *scanner) fresh(p *Projection) {
	s.lit(`,"fresh":`)
	if s.try("null") {
		return
	}
	p.HasFresh = true
	s.lit(`{"origin":`)
	p.Origin = s.str(maxName)
	s.lit(`,"size":`)
	p.Size = s.wide()
	s.lit(`,"root":`)
	s.hex(p.Root[:])
	for _, m := range []string{`,"checkpoint":`, `,"salt":`} {
		s.lit(m)
		s.skip(32)
	}
	s.lit(`,"user_data":`)
	s.hex(p.UserData[:])
	s.lit("}")
	s.bad = s.bad || len(p.Origin) == 0
}

func (s *scanner) publishers() {
	var before, one Digest
	for n := 0; ; n++ {
		s.hex(one[:])
		if s.bad || n == MaxSignatures || n > 0 && bytes.Compare(before[:], one[:]) >= 0 {
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

// evidence reports whether there is an envelope.
func (s *scanner) evidence(p *Projection) (enveloped bool) {
	s.lit(`,"evidence":{"bundle":{"sha256":`)
	s.hex(p.Bundle[:])
	s.lit(`,"size":`)
	s.number(max32)
	s.lit("}")
	enveloped = s.optionalBlob(`,"envelope":{"sha256":`)
	s.optionalBlob(`,"collateral":{"sha256":`)
	s.lit(`,"policy":{"sha256":`)
	s.skip(32)
	s.lit(`,"size":`)
	s.number(max32)
	s.lit("}}")
	return enveloped
}

// optionalBlob reads a blob that is left out where there is none.
func (s *scanner) optionalBlob(open string) bool {
	if !s.try(open) {
		return false
	}
	zero := s.skip(32)
	s.lit(`,"size":`)
	size := s.number(max32)
	s.lit("}")
	s.bad = s.bad || zero && size == 0
	return true
}

// endorsements reads the list as the decoder does. named is the part of the entry that names
// identities, the chassis first.
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
	if key[0] == 1 {
		s.lit(`,"until":`)
		s.bad = s.time() < from || s.bad
	}
	s.lit("}")
}
