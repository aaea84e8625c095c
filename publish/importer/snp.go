package importer

import (
	"bytes"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/google/go-sev-guest/abi"
	"github.com/google/go-sev-guest/proto/sevsnp"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/octets"
	"github.com/poclog/poclog/verify/snp"
)

// SNP imports a SEV-SNP report: the chip-only profile. The first file has the report in any of the
// forms in which tools write it: the report alone (what the kernel gives under configfs, and
// snpguest writes), the firmware's response with its header, the report with the certificate table
// of an extended request after it, or go-sev-guest's Attestation in protobuf's binary or text form.
// Further files complete the certificates: PEM, DER, or a certificate table (the kernel's auxblob).
// What the chain does not need is left out and counted.
func SNP(file []byte, certs ...[]byte) (*Import, error) {
	im := &Import{Profile: poclog.SNP, Bundle: new(poclog.Bundle)}
	raw, _ := octets.Decode(file)
	report, pool, err := splitReport(raw)
	if err == nil {
		_, err = snp.ParseReport(report)
	}
	if err != nil {
		return nil, fmt.Errorf("SNP evidence: %w", wrongFile(file, KindSNPReport, err))
	}
	im.Bundle.Set(poclog.ItemSNPReport, report)
	if pool, err = certificatesOf(pool, certs, amdCertificates); err == nil {
		err = im.setSNPCerts(pool)
	}
	if err != nil {
		return nil, fmt.Errorf("SNP evidence: %w", err)
	}
	im.note("a SEV-SNP report alone shows a genuine chip and what runs on it, not where the chip stands: level 0")
	return im, nil
}

// responseHeader is what the firmware puts before a report: status 0, the report's size, and zeros
// (56860, MSG_REPORT_RSP).
const responseHeader = 32

// splitReport finds the report in a file, and what certificates stand beside it.
func splitReport(file []byte) (report []byte, certs [][]byte, err error) {
	if len(file) > MaxFile {
		return nil, nil, fmt.Errorf("%d bytes: want at most %d", len(file), MaxFile)
	}
	u32 := func(at int) uint32 { return binary.LittleEndian.Uint32(file[at:]) }
	switch {
	case len(file) >= responseHeader+snp.ReportSize && u32(0) == 0 && u32(4) == snp.ReportSize && allZero(file[8:responseHeader]):
		rest := file[responseHeader+snp.ReportSize:]
		if !allZero(rest) {
			return nil, nil, errors.New("bytes other than zero after the report of the firmware's response")
		}
		return file[responseHeader:][:snp.ReportSize], nil, nil
	case len(file) >= snp.ReportSize && u32(0) >= 2 && u32(0) < 16:
		report, rest := file[:snp.ReportSize], file[snp.ReportSize:]
		if allZero(rest) {
			return report, nil, nil
		}
		certs, err = certificateTable(rest)
		return report, certs, err
	}
	return attestationProto(file)
}

func allZero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }

// attestationProto reads go-sev-guest's Attestation.
func attestationProto(file []byte) (report []byte, certs [][]byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("go-sev-guest fails on the attestation: %.200v", p)
		}
	}()
	a := new(sevsnp.Attestation)
	if proto.Unmarshal(file, a) != nil || a.GetReport() == nil {
		a.Reset()
		if err := prototext.Unmarshal(file, a); err != nil || a.GetReport() == nil {
			return nil, nil, fmt.Errorf("%d bytes: want a report of %d bytes, alone, with a certificate table or a header, or go-sev-guest's Attestation", len(file), snp.ReportSize)
		}
	}
	if report, err = abi.ReportToAbiBytes(a.GetReport()); err != nil {
		return nil, nil, err
	}
	chain := a.GetCertificateChain()
	for _, der := range [][]byte{chain.GetVcekCert(), chain.GetVlekCert(), chain.GetAskCert(), chain.GetArkCert()} {
		if len(der) > 0 {
			certs = append(certs, der)
		}
	}
	return report, certs, nil
}

// maxTable is the largest number of entries of a certificate table; hosts give four or five.
const maxTable = 64

// certificateTable reads the table of an extended request (GHCB, 56421, "SNP Extended Guest
// Request"): entries of a GUID, an offset and a length, ended by one of zeros, and what they point
// to. Entries that are no certificates in DER are passed over, such as lists of revoked ones.
func certificateTable(table []byte) (certs [][]byte, err error) {
	const entry = 24
	for i := range maxTable {
		if len(table) < (i+1)*entry {
			break
		}
		e := table[i*entry:][:entry]
		if allZero(e) {
			return certs, nil
		}
		offset, size := binary.LittleEndian.Uint32(e[16:]), binary.LittleEndian.Uint32(e[20:])
		if uint64(offset)+uint64(size) > uint64(len(table)) {
			return nil, fmt.Errorf("certificate table: entry %d points beyond the end", i)
		}
		if _, err := x509.ParseCertificate(table[offset:][:size]); err == nil {
			certs = append(certs, table[offset:][:size])
		}
	}
	return nil, fmt.Errorf("certificate table of %d bytes: no end within %d entries", len(table), maxTable)
}

// amdCertificates reads certificates in PEM, in DER, or in a certificate table.
func amdCertificates(file []byte) ([][]byte, error) {
	if ders, err := Certificates(file); err == nil || len(file) > MaxFile || bytes.HasPrefix(bytes.TrimSpace(file), []byte("-----BEGIN")) {
		return ders, err
	}
	return certificateTable(file)
}

// isAMD tells AMD's certificates from those of attestation keys, by the names that AMD gives to all
// of its own.
func isAMD(c *x509.Certificate) bool {
	return strings.HasPrefix(c.Subject.CommonName, "SEV-") || strings.HasPrefix(c.Subject.CommonName, "ARK-")
}

// setSNPCerts finds the chain of the report's key among certificates. Without it nobody looks at
// the bundle, and the notes say so.
func (im *Import) setSNPCerts(pool [][]byte) error {
	if len(pool) > maxPool {
		return fmt.Errorf("%d certificates: want at most %d", len(pool), maxPool)
	}
	r, err := snp.ParseReport(im.Bundle.Get(poclog.ItemSNPReport))
	if err != nil {
		return err
	}
	certs, err := ParseCertificates(pool)
	if err != nil {
		return err
	}
	why := fmt.Errorf("there is no certificate of the %s that signed the report", r.Signer)
	for _, leaf := range certs {
		if leaf.Subject.CommonName != "SEV-"+strings.ToUpper(r.Signer.String()) {
			continue
		}
		item, err := snpChain(certs, leaf, r)
		if err == nil {
			im.Bundle.Set(poclog.ItemSNPCerts, item)
			if n := len(certs) - 3; n > 0 {
				im.note("%d certificates that the report's chain does not need are left out", n)
			}
			return nil
		}
		why = err
	}
	im.note("the chip's certificates are left out, so that nobody vouches for the chip: %v", why)
	return nil
}

// snpChain completes a leaf to its root, and holds the report to it.
func snpChain(certs []*x509.Certificate, leaf *x509.Certificate, r *snp.Report) ([]byte, error) {
	ca, err := issuer(certs, leaf)
	if err != nil {
		return nil, err
	}
	root, err := issuer(certs, ca)
	if err != nil {
		return nil, err
	}
	item := bytes.Join([][]byte{leaf.Raw, ca.Raw, root.Raw}, nil)
	c, err := snp.ParseChain(item)
	if err != nil {
		return nil, err
	}
	if err := c.CheckReport(r); err != nil {
		return nil, err
	}
	return item, r.CheckSignature(c)
}
