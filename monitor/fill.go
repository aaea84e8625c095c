package monitor

import (
	"bytes"
	"crypto/sha256"
	"slices"

	"github.com/poclog/poclog"
)

// banks and products are numbered by their places here, from 1: a new one goes to the end.
var (
	banks    = []string{"sha1", "sha256", "sha384", "sha512"}
	products = []string{"Genoa", "Milan", "Turin"}
)

// severalBanks marks a row whose PCRs are a digest of several banks' algorithms and digests.
const severalBanks = 0xff

// nothing is the digest of the user data of a proof that speaks for nothing.
var nothing = poclog.Sum(nil)

// fill makes a row of what a leaf says.
func (r *row) fill(kind Kind, p *poclog.Projection, leaf [sha256.Size]byte, seen int64, t *terms) {
	*r = row{}
	r[offKind] = byte(kind)
	copy(r[offLeaf:], leaf[:])
	r.put64(offFirstSeen, uint64(seen))
	if kind == KindProof || kind == KindConfig || kind == KindStatement {
		r.put64(offAppraised, uint64(p.Appraised))
	}
	if kind != KindProof {
		return
	}
	r[offProfile], r[offLevel], r[offRealm] = byte(1+slices.Index(profiles, p.Profile)), byte(p.Level), 1
	if p.Realm == poclog.Lab {
		r[offRealm] = 2
	}
	flags := r.fillIdentities(p) | r.fillTPM(p)
	copy(r[offMeasurement:], p.Measurement[:])
	if p.RTMRs != ([96]byte{}) {
		sum := sha256.Sum256(p.RTMRs[:])
		copy(r[offRTMRs:], sum[:])
	}
	r.put32(offEvaluation, p.Evaluation)
	copy(r[offBundle:], p.Bundle[:])
	if p.HasFresh {
		flags |= flagFresh
		r.put64(offFreshSize, p.Size)
		copy(r[offFreshRoot:], p.Root[:])
		if p.UserData != nothing {
			copy(r[offUserData:], p.UserData[:])
		}
	}
	if p.More {
		flags |= flagMore
	}
	if p.Joined {
		flags |= flagJoined
	}
	flags |= authentic(p)
	r.put32(offFlags, flags)
	r.fillTerms(p, t)
}

// authentic says which claims of a place the entry proves.
func authentic(p *poclog.Projection) (flags uint32) {
	for _, c := range []struct {
		claim poclog.ProjectedClaim
		flag  uint32
	}{{p.Provider, flagProviderAuthentic}, {p.Region, flagRegionAuthentic}, {p.Zone, flagZoneAuthentic}} {
		if c.claim.Authentic {
			flags |= c.flag
		}
	}
	return flags
}

func (r *row) fillIdentities(p *poclog.Projection) (flags uint32) {
	put := func(at int, octets []byte, flag uint32) {
		if len(bytes.TrimLeft(octets, "\x00")) > 0 {
			copy(r[at:], octets)
			flags |= flag
		}
	}
	put(offQuote, p.Quote[:], flagQuote)
	put(offAK, p.AK[:], flagAK)
	put(offEK, p.EK[:], flagEK)
	if p.ChipID != ([64]byte{}) {
		put(offChip, p.ChipID[:], flagChipID)
		r[offProduct] = byte(1 + slices.Index(products, p.Product))
	} else {
		put(offChip, p.PPID[:], flagPPID)
		put(offPIID, p.PIID[:], flagPIID)
		copy(r[offFMSPC:], p.FMSPC[:])
		copy(r[offPCEID:], p.PCEID[:])
	}
	switch {
	case p.VM != 0:
		r.put64(offInstance, p.Project)
		r.put64(offInstance+8, p.VM)
		flags |= flagGCEInstance
	case p.HasUUID:
		copy(r[offInstance:], p.UUID[:])
		flags |= flagAzureVM
	}
	return flags
}

func (r *row) fillTPM(p *poclog.Projection) (flags uint32) {
	if !p.HasTPM {
		return 0
	}
	copy(r[offBoot:], p.Boot[:])
	r.put32(offReset, p.ResetCount)
	r.put32(offRestart, p.RestartCount)
	r.put64(offClock, p.Clock)
	switch p.Firmwares {
	case 0:
	case 1:
		copy(r[offPCRs:], p.Firmware[0].Digest[:])
		r[offBank] = byte(1 + slices.Index(banks, p.Firmware[0].Alg))
	default:
		h := sha256.New()
		for _, b := range p.Firmware[:p.Firmwares] {
			h.Write([]byte{byte(1 + slices.Index(banks, b.Alg))})
			h.Write(b.Digest[:])
		}
		h.Sum(r[offPCRs:offPCRs])
		r[offBank] = severalBanks
	}
	if p.Safe {
		flags = flagSafe
	}
	return flags | flagTPM
}

func (r *row) fillTerms(p *poclog.Projection, t *terms) {
	for _, s := range []struct {
		at   int
		text []byte
	}{{offOrigin, p.Origin}, {offProvider, p.Provider.Value}, {offRegion, p.Region.Value}, {offZone, p.Zone.Value}, {offTCB, p.TCB}, {offKeyType, p.KeyType}} {
		r.put32(s.at, uint32(t.id(s.text)))
	}
}
