package gce

import (
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/poclog/poclog/internal/lab/cert"
	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/verify/tpm"
)

// A TPM is a VM's vTPM, which the provider runs. Its attestation key is derived from its seed: it
// stays for the life of the instance.
type TPM struct {
	AK           crypto.Signer
	Public       []byte          // TPMT_PUBLIC
	Chain        []byte          // certificates up to and with the root: DER, concatenated
	Instance     tpm.GCEInstance // zero of a vTPM that is not Compute Engine's
	ResetCount   uint32
	RestartCount uint32
	Safe         bool
	Firmware     uint64
	Image        *Image // what the registers hold; nil holds nothing since a reset

	clock uint64    // milliseconds, at the time on
	on    time.Time // since when it runs; zero when it does not
}

// Selection is what VMs of this cloud quote: the registers that the firmware, boot loader and
// kernel extend, in two banks.
var Selection = []tpm.PCRSelection{{Alg: tpm.SHA256, PCRs: quotedPCRs}, {Alg: tpm.SHA384, PCRs: quotedPCRs}}

var quotedPCRs = []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 14}

// vTPMFirmware is the firmware version of Compute Engine's TPMs.
const vTPMFirmware = 0x2020031200120003

// newTPM makes an instance's TPM and certifies its key.
func (c *Cloud) newTPM(g tpm.GCEInstance, useRSA bool) (*TPM, error) {
	label := fmt.Sprintf("endorsement seed of %d in %d", g.InstanceID, g.ProjectNumber)
	var ak crypto.Signer = chip.NewKey(c.Seed, label)
	if useRSA {
		ak = NewRSAKey(c.Seed, label)
	}
	cert, err := c.Certify(ak.Public(), g)
	if err != nil {
		return nil, err
	}
	t, err := NewTPM(ak, cert)
	if err != nil {
		return nil, err
	}
	t.Instance, t.Firmware = g, vTPMFirmware
	return t, nil
}

// NewTPM makes a TPM that is off, with its attestation key and the key's certificates.
func NewTPM(ak crypto.Signer, chain []byte) (*TPM, error) {
	public, err := tpm.AKPublic(ak.Public(), nil)
	if err != nil {
		return nil, err
	}
	return &TPM{AK: ak, Public: public, Chain: chain, Safe: true}, nil
}

// Certify issues an AK certificate with the extension that names an instance, and returns its
// chain. The provider alone can.
func (c *Cloud) Certify(key crypto.PublicKey, g tpm.GCEInstance) ([]byte, error) {
	ext, err := g.Marshal()
	if err != nil {
		return nil, fmt.Errorf("certify instance %d: %w", g.InstanceID, err)
	}
	t := &x509.Certificate{
		Subject: pkix.Name{
			CommonName: strconv.FormatUint(g.InstanceID, 10), OrganizationalUnit: []string{g.ProjectID}, Locality: []string{g.Zone},
			Organization: []string{"poclog laboratory"},
		},
		NotBefore: c.from, NotAfter: c.from.AddDate(validYears, 0, 0), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtraExtensions: []pkix.Extension{{Id: tpm.OIDGCEInstance, Value: ext}},
	}
	return cert.Chain(c.akCA.Sign(complete(c.Seed, t), key), c.akCA.Cert, c.akRoot.Cert), nil
}

// Start powers the TPM on, as after a reset.
func (t *TPM) Start(now time.Time, img *Image) {
	t.stop(now)
	t.on, t.Image = now, img
	t.ResetCount++
	t.RestartCount = 0
}

// stop powers it off in order: it keeps its clock.
func (t *TPM) stop(now time.Time) {
	t.clock = t.Clock(now)
	t.on, t.Image = time.Time{}, nil
}

// Clock returns for how long it has been running in all, in milliseconds.
func (t *TPM) Clock(now time.Time) uint64 {
	if t.on.IsZero() || now.Before(t.on) {
		return t.clock
	}
	return t.clock + uint64(now.Sub(t.on).Milliseconds())
}

// SetClock makes the clock show a time, in milliseconds: what restoring a snapshot does.
func (t *TPM) SetClock(clock uint64, now time.Time) { t.clock, t.on = clock, now }

// Quote answers TPM2_Quote over [Selection]: the quote's item and the values of the registers.
func (t *TPM) Quote(extraData []byte, now time.Time) (quote, values []byte, err error) {
	return t.QuoteOf(extraData, now, Selection)
}

// QuoteOf quotes a selection of registers.
func (t *TPM) QuoteOf(extraData []byte, now time.Time, selection []tpm.PCRSelection) (quote, values []byte, err error) {
	if t.on.IsZero() || t.Image == nil {
		return nil, nil, errors.New("the TPM is off")
	}
	ak, err := tpm.ParsePublic(t.Public)
	if err != nil {
		return nil, nil, err
	}
	for _, s := range selection {
		values = append(values, t.Image.PCRs(s.Alg, s.PCRs)...)
	}
	a := tpm.Attestation{
		AK: ak, ExtraData: extraData, Clock: t.Clock(now), ResetCount: t.ResetCount, RestartCount: t.RestartCount, Safe: t.Safe,
		Firmware: t.Firmware, Selection: selection, Values: values,
	}
	quote, err = tpm.SignQuote(a.Marshal(), t.AK)
	return quote, values, err
}
