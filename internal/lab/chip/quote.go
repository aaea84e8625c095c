package chip

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/hex"

	"github.com/poclog/poclog/internal/lab/cert"
	"github.com/poclog/poclog/internal/must"
)

// A Platform is one chip.
type Platform struct {
	Name   string
	PPID   [16]byte
	PIID   [16]byte
	FMSPC  [6]byte
	PCEID  [2]byte
	PCESVN uint16
	SVN    [16]byte

	pck   issued
	chain []byte // PEM

	quoting         Key    // the quoting enclave's attestation key
	qeReport, qeSig []byte // the same for every quote
}

// DefaultFMSPC is the family of platforms that have none of their own.
var DefaultFMSPC = [6]byte{0xb0, 0xc0, 0x6f}

// NewPlatform makes the chip of a name. Change sets what is to differ; nil changes nothing.
func (m *Maker) NewPlatform(name string, change func(*Platform)) *Platform {
	p := &Platform{Name: name, FMSPC: DefaultFMSPC, PCESVN: 11, quoting: NewKey(m.seed, "attestation key\n"+name)}
	copy(p.PPID[:], octets(16, m.seed, name, "ppid"))
	copy(p.PIID[:], octets(16, m.seed, name, "piid"))
	for i := range p.SVN {
		p.SVN[i] = 3
	}
	if change != nil {
		change(p)
	}
	p.pck = m.issue("Intel SGX PCK Certificate", m.ca, false, []pkix.Extension{sgxExtension(p)})
	p.chain = cert.PEM(p.pck.Cert, m.ca.Cert, m.root.Cert)
	p.qeReport = quotingEnclave(p.quoting.xy())
	p.qeSig = p.pck.key.raw(p.qeReport)
	return p
}

// WithEnclave is the same chip where another enclave than the maker's quotes: the PCK key certifies
// the report of any enclave. Offsets in a report are those of sgx_report_body_t.
func (p *Platform) WithEnclave(change func(report []byte)) *Platform {
	c := *p
	c.qeReport = bytes.Clone(p.qeReport)
	change(c.qeReport)
	c.qeSig = p.pck.key.raw(c.qeReport)
	return &c
}

// authData is what the quoting enclave adds to its key.
var authData = func() []byte {
	b := make([]byte, 32)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}()

// Identity of the quoting enclave.
var (
	qeMRSigner   = must.Get(hex.DecodeString("dc9e2a7c6f948f17474e34a7fc43ed030f7c1563f1babddf6340c82e0e54a8c5")) // Intel's: appraisals ask for it in every realm
	qeAttributes = []byte{0x11, 0, 0, 0, 0, 0, 0, 0, 0xe7, 0, 0, 0, 0, 0, 0, 0}
)

const (
	qeProdID = 2
	qeSVN    = 8
)

// quotingEnclave makes the report of a quoting enclave that vouches for an attestation key.
func quotingEnclave(key []byte) []byte {
	r := make([]byte, 384)
	copy(r[48:], qeAttributes)
	copy(r[64:], bytes.Repeat([]byte{0x0e}, 32)) // MRENCLAVE
	copy(r[128:], qeMRSigner)
	binary.LittleEndian.PutUint16(r[256:], qeProdID)
	binary.LittleEndian.PutUint16(r[258:], qeSVN)
	sum := sha256.Sum256(append(bytes.Clone(key), authData...))
	copy(r[320:], sum[:])
	return r
}

// A TD is what a quote says of a trust domain.
type TD struct {
	Version    int // of the quote: 4 (also 0) or 5
	BodyType   int // of version 5: 2 for TDX 1.0 (also 0), 3 for 1.5
	MRTD       [48]byte
	RTMRs      [4][48]byte
	MROwner    [48]byte
	MRConfigID [48]byte
	ReportData [64]byte
	Debug      bool
	SVN        [16]byte // TEE_TCB_SVN; zero is defaultTDXSVN
}

// defaultTDXSVN is the TDX module's version and SVN.
var defaultTDXSVN = [16]byte{5, 1, 6}

// Measurements of the laboratory's TDX module.
var (
	mrSEAM       = bytes.Repeat([]byte{0x5e}, 48)
	mrSignerSEAM = make([]byte, 48)
)

// body encodes the TD report.
func (td *TD) body() []byte {
	svn := td.SVN
	if svn == [16]byte{} {
		svn = defaultTDXSVN
	}
	attributes := []byte{0, 0, 0, 0x10, 0, 0, 0, 0} // SEPT_VE_DISABLE
	if td.Debug {
		attributes[0] = 1
	}
	b := bytes.Join([][]byte{
		svn[:], mrSEAM, mrSignerSEAM, make([]byte, 8), attributes, {0xe7, 0, 6, 0, 0, 0, 0, 0}, td.MRTD[:], td.MRConfigID[:], td.MROwner[:],
		make([]byte, 48), td.RTMRs[0][:], td.RTMRs[1][:], td.RTMRs[2][:], td.RTMRs[3][:], td.ReportData[:],
	}, nil)
	if td.Version == 5 && td.BodyType == 3 {
		b = append(append(b, svn[:]...), make([]byte, 48)...)
	}
	return b
}

// signed encodes what the attestation key signs.
func (td *TD) signed() []byte {
	version := td.Version
	if version == 0 {
		version = 4
	}
	header := binary.LittleEndian.AppendUint16(nil, uint16(version))
	header = binary.LittleEndian.AppendUint16(header, 2)
	header = binary.LittleEndian.AppendUint32(header, 0x81)
	vendor, _ := hex.DecodeString("939a7233f79c4ca9940a0db3957f0607")
	header = append(append(append(header, 0, 0, 0, 0), vendor...), make([]byte, 20)...)
	body := td.body()
	if version == 5 {
		kind := max(td.BodyType, 2)
		header = binary.LittleEndian.AppendUint16(header, uint16(kind))
		header = binary.LittleEndian.AppendUint32(header, uint32(len(body)))
	}
	return append(header, body...)
}

// Quote makes a quote of a TD on this chip, without padding. It costs one signature.
func (p *Platform) Quote(td TD) []byte {
	q := td.signed()
	signature := p.quoting.raw(q)
	u16, u32 := binary.LittleEndian.AppendUint16, binary.LittleEndian.AppendUint32
	inner := append(bytes.Clone(p.qeReport), p.qeSig...)
	inner = append(u16(inner, uint16(len(authData))), authData...)
	inner = append(u32(u16(inner, 5), uint32(len(p.chain))), p.chain...)
	data := append(bytes.Clone(signature), p.quoting.xy()...)
	data = append(u32(u16(data, 6), uint32(len(inner))), inner...)
	return append(u32(q, uint32(len(data))), data...)
}
