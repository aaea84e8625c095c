package amd

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/binary"
	"math/big"
	"slices"
)

// A Chip is a processor. Its key signs reports for the TCB version that its certificate has.
type Chip struct {
	Name string
	ID   [64]byte // of Turin, the first 8 octets
	TCB  [8]byte  // octets as in reports

	maker *Maker
	key   *ecdsa.PrivateKey
	cert  *x509.Certificate
	certs []byte // VCEK, ASK, ARK: DER
}

// DefaultTCB is the firmware that chips have: bootloader 4, SNP 24, microcode 219; of Turin also
// FMC 1.
func (m *Maker) DefaultTCB() [8]byte {
	if isTurin(m.Product) {
		return [8]byte{1, 4, 0, 24, 0, 0, 0, 219}
	}
	return [8]byte{4, 0, 0, 0, 0, 0, 24, 219}
}

// NewChip makes the chip of a name with a firmware; zero is [Maker.DefaultTCB].
func (m *Maker) NewChip(label string, tcb [8]byte) *Chip {
	if tcb == [8]byte{} {
		tcb = m.DefaultTCB()
	}
	c := &Chip{Name: label, TCB: tcb, maker: m}
	n := len(c.ID)
	if isTurin(m.Product) {
		n = 8
	}
	copy(c.ID[:], octets(n, m.seed, label, "chip id"))
	keyLabel := label + "\n" + string(tcb[:]) // the key is derived from the chip's secret and the firmware's version
	c.key = chipKey(m.seed, keyLabel)
	c.cert = m.keyCertificate(c.key.Public(), tcb, c.ID[:], "", new(big.Int).SetBytes(octets(16, m.seed, keyLabel, "serial")))
	c.certs = slices.Concat(c.cert.Raw, m.ask.Cert.Raw, m.ark.Cert.Raw)
	return c
}

// Certs returns the chip's certificates: VCEK, ASK and ARK, DER, concatenated.
func (c *Chip) Certs() []byte { return c.certs }

// A Cloud's key, which AMD made for all of its chips (VLEK).
type CloudKey struct {
	key   *ecdsa.PrivateKey
	cert  *x509.Certificate
	certs []byte
}

// NewCloudKey makes the key of a cloud that AMD knows by a name, for a firmware.
func (m *Maker) NewCloudKey(csp string, tcb [8]byte) *CloudKey {
	if tcb == [8]byte{} {
		tcb = m.DefaultTCB()
	}
	label := "cloud\n" + csp + "\n" + string(tcb[:])
	k := &CloudKey{key: chipKey(m.seed, label)}
	k.cert = m.keyCertificate(k.key.Public(), tcb, nil, csp, new(big.Int).SetBytes(octets(16, m.seed, label, "serial")))
	k.certs = slices.Concat(k.cert.Raw, m.asvk.Cert.Raw, m.ark.Cert.Raw)
	return k
}

// Certs returns the key's certificates: VLEK, ASVK and ARK, DER, concatenated.
func (k *CloudKey) Certs() []byte { return k.certs }

// A Guest is what a report says of a guest and its platform. Zero TCB versions are the chip's.
type Guest struct {
	Version     uint32 // of the report: 2 to 5; 0 is 3
	Measurement [48]byte
	ReportData  [64]byte
	HostData    [32]byte
	IDKey       [48]byte
	GuestSVN    uint32
	VMPL        uint32
	Debug       bool
	MigrateMA   bool
	Masked      bool // the host masks CHIP_ID

	Current, Reported, Committed, Launch [8]byte
}

// policy of guests: any ABI from 0.31, SMT, and the bit that is always set.
const (
	policyBase    = 31 | 1<<16 | 1<<17
	policyMigrate = 1 << 18
	policyDebug   = 1 << 19
)

// Report makes a report of a guest on this chip, signed by the chip's own key or by a cloud's that
// was loaded into it.
func (c *Chip) Report(g Guest, loaded *CloudKey) []byte {
	r := make([]byte, 0x4a0)
	le := binary.LittleEndian
	if g.Version == 0 {
		g.Version = 3
	}
	policy := uint64(policyBase)
	if g.Debug {
		policy |= policyDebug
	}
	if g.MigrateMA {
		policy |= policyMigrate
	}
	le.PutUint32(r, g.Version)
	le.PutUint32(r[0x04:], g.GuestSVN)
	le.PutUint64(r[0x08:], policy)
	le.PutUint32(r[0x30:], g.VMPL)
	le.PutUint32(r[0x34:], 1)
	le.PutUint64(r[0x40:], 0x25) // SMT, ECC, alias check done
	key := c.key
	if loaded != nil {
		key = loaded.key
		le.PutUint32(r[0x48:], 1<<2)
	}
	copy(r[0x50:], g.ReportData[:])
	copy(r[0x90:], g.Measurement[:])
	copy(r[0xc0:], g.HostData[:])
	copy(r[0xe0:], g.IDKey[:])
	copy(r[0x140:], octets(32, c.maker.seed, c.Name, "report id"))
	for i := 0x160; i < 0x180; i++ {
		r[i] = 0xff // no migration agent
	}
	for at, tcb := range map[int][8]byte{0x38: g.Current, 0x180: g.Reported, 0x1e0: g.Committed, 0x1f0: g.Launch} {
		if tcb == [8]byte{} {
			tcb = c.TCB
		}
		copy(r[at:], tcb[:])
	}
	if g.Version >= 3 {
		copy(r[0x188:], map[string][]byte{"Milan": {0x19, 1, 1}, "Genoa": {0x19, 0x11, 1}, "Turin": {0x1a, 2, 1}}[c.maker.Product])
	}
	if !g.Masked {
		copy(r[0x1a0:], c.ID[:])
	}
	for _, at := range []int{0x1e8, 0x1ec} {
		copy(r[at:], []byte{21, 55, 1}) // build, minor, major
	}
	copy(r[0x2a0:], signReport(key, r[:0x2a0]))
	return r
}

// Sign signs a report anew, after its signed part was changed.
func (c *Chip) Sign(report []byte, loaded *CloudKey) {
	key := c.key
	if loaded != nil {
		key = loaded.key
	}
	copy(report[0x2a0:], signReport(key, report[:0x2a0]))
}
