package tdx

import (
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"slices"
)

// A Platform is what a PCK certificate's SGX extension says of the chip (SGX PCK Certificate
// Profile, §1.3.5).
type Platform struct {
	PPID   [16]byte // stable for a chip
	PIID   [16]byte // platform instance; changes when provisioned anew; zero under the Processor CA
	FMSPC  [6]byte
	PCEID  [2]byte
	PCESVN uint16
	SVN    [16]byte // of the SGX TCB components
}

var (
	oidSGX    = asn1.ObjectIdentifier{1, 2, 840, 113741, 1, 13, 1}
	oidTCB    = append(slices.Clone(oidSGX), 2)
	oidPCESVN = append(slices.Clone(oidTCB), 17)
)

// sgxValue is one {OID, value} of the extension.
type sgxValue struct {
	ID    asn1.ObjectIdentifier
	Value asn1.RawValue
}

// parsePlatform reads the SGX extension of a PCK certificate. Every value that we use must be there
// once.
func parsePlatform(cert *x509.Certificate) (p Platform, err error) {
	var der []byte
	for _, e := range cert.Extensions {
		if e.Id.Equal(oidSGX) {
			der = e.Value
		}
	}
	if der == nil {
		return p, fmt.Errorf("no SGX extension %s", oidSGX)
	}
	values, err := sgxValues(der, oidSGX)
	if err != nil {
		return p, err
	}
	for _, f := range []struct {
		n   int
		dst []byte
	}{{1, p.PPID[:]}, {3, p.PCEID[:]}, {4, p.FMSPC[:]}} {
		if err := octets(values, f.n, f.dst); err != nil {
			return p, err
		}
	}
	if _, ok := values[6]; ok {
		if err := octets(values, 6, p.PIID[:]); err != nil {
			return p, err
		}
	}
	tcb, ok := values[2]
	if !ok {
		return p, fmt.Errorf("SGX extension: no TCB")
	}
	return p, p.parseTCB(tcb.FullBytes)
}

// sgxValues decodes a SEQUENCE OF {OID, value} whose OIDs are prefix.n.
func sgxValues(der []byte, prefix asn1.ObjectIdentifier) (map[int]asn1.RawValue, error) {
	var list []sgxValue
	if rest, err := asn1.Unmarshal(der, &list); err != nil || len(rest) > 0 {
		return nil, fmt.Errorf("SGX extension: malformed sequence (%d bytes after it): %w", len(rest), orEOF(err))
	}
	values := make(map[int]asn1.RawValue, len(list))
	for _, v := range list {
		if len(v.ID) != len(prefix)+1 || !v.ID[:len(prefix)].Equal(prefix) {
			return nil, fmt.Errorf("SGX extension: value %s under %s", v.ID, prefix)
		}
		n := v.ID[len(prefix)]
		if _, twice := values[n]; twice {
			return nil, fmt.Errorf("SGX extension: value %s twice", v.ID)
		}
		values[n] = v.Value
	}
	return values, nil
}

func orEOF(err error) error {
	if err == nil {
		return fmt.Errorf("trailing bytes")
	}
	return err
}

func octets(values map[int]asn1.RawValue, n int, dst []byte) error {
	v := values[n] // where there is none its tag is 0
	if v.Class != asn1.ClassUniversal || v.Tag != asn1.TagOctetString || len(v.Bytes) != len(dst) {
		return fmt.Errorf("SGX extension: value %s.%d: want %d octets", oidSGX, n, len(dst))
	}
	copy(dst, v.Bytes)
	return nil
}

func (p *Platform) parseTCB(der []byte) error {
	values, err := sgxValues(der, oidTCB)
	if err != nil {
		return err
	}
	for i := range p.SVN {
		n, err := small(values, i+1, 255)
		if err != nil {
			return err
		}
		p.SVN[i] = uint8(n)
	}
	n, err := small(values, oidPCESVN[len(oidPCESVN)-1], 65535)
	p.PCESVN = uint16(n)
	return err
}

func small(values map[int]asn1.RawValue, n, max int) (int, error) {
	var i int
	v, ok := values[n]
	if !ok {
		return 0, fmt.Errorf("SGX extension: no TCB value %d", n)
	}
	if rest, err := asn1.Unmarshal(v.FullBytes, &i); err != nil || len(rest) > 0 || i < 0 || i > max {
		return 0, fmt.Errorf("SGX extension: TCB value %d: want an integer from 0 to %d", n, max)
	}
	return i, nil
}
