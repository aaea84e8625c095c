package tpm

import (
	"crypto/sha512"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/poclog/poclog/verify"
)

// OIDGCEInstance is the extension of Compute Engine's AK certificates that names the instance.
var OIDGCEInstance = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 1, 21}

// A GCEInstance is what the extension says.
type GCEInstance struct {
	Zone            string // normalised: "us-central1-a"
	ProjectNumber   uint64
	ProjectID       string
	InstanceID      uint64
	InstanceName    string
	SecurityVersion uint64
	Production      bool // signed for a real instance, not for a test of Google's

	path string // before the zone's name, as written
	// Booleans that we do not use follow: those of tags 2 to 30 that are present, and those that
	// are true, as bits.
	present, set uint32
}

// ParseGCEInstance reads the extension of an AK certificate: SEQUENCE { zone UTF8String, project
// number INTEGER, project id UTF8String, instance id INTEGER, instance name UTF8String, [0]
// SEQUENCE { [0] security version INTEGER, [1] production BOOLEAN, … } }. A certificate without it,
// or with a malformed one, is a [verify.PlaceCert] error.
func ParseGCEInstance(cert *x509.Certificate) (*GCEInstance, error) {
	for _, e := range cert.Extensions {
		if !e.Id.Equal(OIDGCEInstance) {
			continue
		}
		g, err := parseGCEInstance(e.Value)
		if err != nil {
			return nil, verify.Failf(verify.PlaceCert, "instance extension of the AK certificate: %w", err)
		}
		return g, nil
	}
	return nil, verify.Failf(verify.PlaceCert, "the AK certificate has no instance extension %s", OIDGCEInstance)
}

// Region returns the region of the zone: "us-central1".
func (g *GCEInstance) Region() string { return RegionOf(g.Zone) }

func parseGCEInstance(der []byte) (*GCEInstance, error) {
	g := new(GCEInstance)
	outer := cryptobyte.String(der)
	var seq, tagged, security cryptobyte.String
	ok := outer.ReadASN1(&seq, casn1.SEQUENCE) && outer.Empty() &&
		readUTF8(&seq, &g.Zone) && seq.ReadASN1Integer(&g.ProjectNumber) && readUTF8(&seq, &g.ProjectID) &&
		seq.ReadASN1Integer(&g.InstanceID) && readUTF8(&seq, &g.InstanceName) &&
		seq.ReadASN1(&tagged, explicit(0)) && seq.Empty() && tagged.ReadASN1(&security, casn1.SEQUENCE) && tagged.Empty()
	if !ok {
		return nil, errors.New("malformed")
	}
	if err := g.parseSecurity(security); err != nil {
		return nil, err
	}
	name := NormalizeZone(g.Zone)
	g.path, g.Zone = g.Zone[:len(g.Zone)-len(name)], name
	if !isZone(g.Zone) || g.ProjectNumber == 0 || g.InstanceID == 0 {
		return nil, fmt.Errorf("zone %.80q, project %d, instance %d: want all three", g.Zone, g.ProjectNumber, g.InstanceID)
	}
	return g, nil
}

// parseSecurity reads the properties that we use; booleans with higher tags follow.
func (g *GCEInstance) parseSecurity(s cryptobyte.String) error {
	var v cryptobyte.String
	if !s.ReadASN1(&v, explicit(0)) || !v.ReadASN1Integer(&g.SecurityVersion) || !v.Empty() {
		return errors.New("security version: malformed")
	}
	if !s.ReadASN1(&v, explicit(1)) || !v.ReadASN1Boolean(&g.Production) || !v.Empty() {
		return errors.New("production flag: malformed")
	}
	for last := uint8(1); !s.Empty(); {
		var tag casn1.Tag
		var b bool
		if !s.ReadAnyASN1(&v, &tag) || tag&0xe0 != 0xa0 || uint8(tag)&0x1f <= last || !v.ReadASN1Boolean(&b) || !v.Empty() {
			return fmt.Errorf("security properties: malformed after [%d]", last)
		}
		last = uint8(tag) & 0x1f
		g.present |= 1 << last
		if b {
			g.set |= 1 << last
		}
	}
	return nil
}

func explicit(n uint8) casn1.Tag { return casn1.Tag(n).Constructed().ContextSpecific() }

func readUTF8(s *cryptobyte.String, out *string) bool {
	var v cryptobyte.String
	if !s.ReadASN1(&v, casn1.UTF8String) || len(v) == 0 || len(v) > 128 || !utf8.Valid(v) {
		return false
	}
	*out = string(v)
	return true
}

// Marshal returns the extension's value: for a parsed one, the same bytes.
func (g *GCEInstance) Marshal() ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
		addUTF8(b, g.path+g.Zone)
		b.AddASN1Uint64(g.ProjectNumber)
		addUTF8(b, g.ProjectID)
		b.AddASN1Uint64(g.InstanceID)
		addUTF8(b, g.InstanceName)
		b.AddASN1(explicit(0), func(b *cryptobyte.Builder) { b.AddASN1(casn1.SEQUENCE, g.addSecurity) })
	})
	return b.Bytes()
}

func (g *GCEInstance) addSecurity(b *cryptobyte.Builder) {
	b.AddASN1(explicit(0), func(b *cryptobyte.Builder) { b.AddASN1Uint64(g.SecurityVersion) })
	b.AddASN1(explicit(1), func(b *cryptobyte.Builder) { b.AddASN1Boolean(g.Production) })
	for tag := range uint8(31) {
		if g.present>>tag&1 == 1 {
			b.AddASN1(explicit(tag), func(b *cryptobyte.Builder) { b.AddASN1Boolean(g.set>>tag&1 == 1) })
		}
	}
}

func addUTF8(b *cryptobyte.Builder, s string) {
	b.AddASN1(casn1.UTF8String, func(b *cryptobyte.Builder) { b.AddBytes([]byte(s)) })
}

// NormalizeZone cuts the path that some sources put before a zone's name:
// "projects/1/zones/us-central1-a" is "us-central1-a".
func NormalizeZone(zone string) string { return zone[strings.LastIndexByte(zone, '/')+1:] }

// isZone reports whether a zone has the form <region>-<letter>, with labels of lower-case letters
// and digits: "us-central1-a", "us-south1-ai1b".
func isZone(zone string) bool {
	if len(zone) > 64 || RegionOf(zone) == "" {
		return false
	}
	for label := range strings.SplitSeq(zone, "-") {
		if label == "" || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789") != "" {
			return false
		}
	}
	return true
}

// RegionOf returns the region of a zone's name: "us-central1" of "us-central1-a".
func RegionOf(zone string) string { return zone[:max(0, strings.LastIndexByte(zone, '-'))] }

// PZID returns what Compute Engine puts into MROWNER: SHA-384 of the instance's JSON. (Hosts that
// do not yet leave MROWNER zero.)
func (g *GCEInstance) PZID() [48]byte {
	return sha512.Sum384(fmt.Appendf(nil, `{"instanceId":%d,"numericalProjectId":%d,"zone":"%s"}`, g.InstanceID, g.ProjectNumber, g.Zone))
}
