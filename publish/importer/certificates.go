package importer

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/poclog/poclog/internal/octets"
	"github.com/poclog/poclog/verify/tpm"
)

// Certificates reads the certificates of a file, in PEM or DER, one after the other, and cuts the
// zeros with which clouds pad them. DER may be written in hexadecimal or base64. What is no
// certificate is refused.
func Certificates(file []byte) ([][]byte, error) {
	if len(file) > MaxFile {
		return nil, fmt.Errorf("%d bytes: want at most %d", len(file), MaxFile)
	}
	b, form := octets.Decode(file)
	if form == octets.PEM {
		return pemCertificates(file)
	}
	return derCertificates(b)
}

// certificatesOf reads files of certificates, after those of a pool.
func certificatesOf(pool, files [][]byte, read func(file []byte) ([][]byte, error)) ([][]byte, error) {
	for i, f := range files {
		list, err := read(f)
		if err != nil {
			return nil, fmt.Errorf("file %d of certificates: %w", i+1, err)
		}
		pool = append(pool, list...)
	}
	return pool, nil
}

func pemCertificates(file []byte) (ders [][]byte, err error) {
	block, rest := pem.Decode(file)
	for ; block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("PEM block %.40q: want CERTIFICATE", block.Type)
		}
		der, err := derCertificates(block.Bytes)
		if err != nil {
			return nil, err
		}
		ders = append(ders, der...)
	}
	if rest = bytes.TrimSpace(rest); len(rest) > 0 {
		return nil, fmt.Errorf("%.30q after the last certificate", rest)
	}
	return ders, nil
}

func derCertificates(b []byte) (ders [][]byte, err error) {
	for len(ders) == 0 || !allZero(b) {
		if len(ders) == maxPool {
			return nil, fmt.Errorf("over %d certificates", maxPool)
		}
		der, err := tpm.TrimCertificate(b)
		if err != nil {
			return nil, errors.New("no certificate in PEM or DER")
		}
		if _, err := x509.ParseCertificate(der); err != nil {
			return nil, fmt.Errorf("certificate %d: %w", len(ders)+1, err)
		}
		ders, b = append(ders, der), b[len(der):]
	}
	return ders, nil
}
