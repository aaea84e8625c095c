package attest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/publish/importer"
	"github.com/poclog/poclog/verify/tpm"
)

// Where TPMs keep their EK's certificate (TCG EK Credential Profile 2.6, §2.2.1.4 and §2.2.1.5).
const (
	nvEKCertRSA tpm2.TPMHandle = 0x01c00002
	nvEKCertECC tpm2.TPMHandle = 0x01c0000a
)

// launchPCRs hold a dynamic launch.
var launchPCRs = []int{17, 18}

// metalAK opens the AK that a bare-metal provider certified, under the policy that holds it to the
// launch.
func metalAK(t transport.TPM, o *Options) (*key, error) {
	certs, err := importer.ParseCertificates(o.AKCerts)
	if err != nil {
		return nil, &MissingError{PieceAK, err, CertifyAK}
	}
	k, err := openMetalAK(t, o, certs)
	if err != nil {
		return nil, &MissingError{PieceAK, err, CertifyAK}
	}
	if k.handle.Auth, err = launchSession(t, k.public); err != nil {
		k.unload(t)
		return nil, &MissingError{PieceAK, err, BootLaunch}
	}
	return k, nil
}

func openMetalAK(t transport.TPM, o *Options, certs []*x509.Certificate) (*key, error) {
	if o.AKHandle == 0 && len(o.AKTemplate) == 0 {
		return nil, errors.New("no attestation key is named")
	}
	if len(certs) == 0 {
		return nil, errors.New("the AK has no certificate of the provider")
	}
	if o.AKHandle != 0 {
		k, err := persistent(t, o.AKHandle)
		if err != nil {
			return nil, err
		}
		if k.cert = certOf(k, certs); k.cert == nil {
			return nil, fmt.Errorf("none of %d certificates is of the key at %#08x", len(certs), uint32(o.AKHandle))
		}
		return k, nil
	}
	return makeMetalAK(t, o.AKTemplate, certs)
}

// makeMetalAK makes the AK as a primary key. Tools write a key's public area with the point or
// modulus in it; as a template this makes another key, so that both are tried, in both hierarchies
// that an AK may be in.
func makeMetalAK(t transport.TPM, template []byte, certs []*x509.Certificate) (*key, error) {
	given, err := tpm2.Unmarshal[tpm2.TPMTPublic](template)
	if err != nil {
		return nil, fmt.Errorf("the AK's template: %w", err)
	}
	blank := *given
	switch given.Type {
	case tpm2.TPMAlgECC:
		blank.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{})
	case tpm2.TPMAlgRSA:
		blank.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgRSA, &tpm2.TPM2BPublicKeyRSA{})
	}
	var failed error
	for _, public := range []tpm2.TPMTPublic{*given, blank} {
		for _, hierarchy := range []tpm2.TPMHandle{tpm2.TPMRHEndorsement, tpm2.TPMRHOwner} {
			k, err := createPrimary(t, hierarchy, public)
			if err != nil {
				failed = errors.Join(failed, err) // one hierarchy may have a password, and the AK be in the other
				continue
			}
			if k.cert = certOf(k, certs); k.cert != nil {
				return k, nil
			}
			k.unload(t)
		}
	}
	if failed != nil {
		return nil, oneLine(failed)
	}
	return nil, fmt.Errorf("the template makes keys of which none of %d certificates is", len(certs))
}

func certOf(k *key, certs []*x509.Certificate) *x509.Certificate {
	for _, c := range certs {
		if k.is(c) {
			return c
		}
	}
	return nil
}

// launchSession returns the authorisation by which a key signs: a session with TPM2_PolicyPCR over
// PCR 17 and 18 of the bank whose present values make the key's policy. A key that needs none is
// refused here, as every judge would (tpm.ak-policy).
func launchSession(t transport.TPM, p *tpm.Public) (tpm2.Session, error) {
	if !p.PolicyOnly() {
		return nil, errors.New("the AK signs without a policy over PCR 17 and 18: whatever was launched could use it")
	}
	banks, err := importer.Banks(t)
	if err != nil {
		return nil, err
	}
	for _, bank := range tpm.LaunchBanks {
		selection := []tpm.PCRSelection{{Alg: bank, PCRs: launchPCRs}}
		if !slices.Contains(banks, bank) {
			continue
		}
		values, err := importer.ReadPCRs(t, selection)
		if err != nil {
			return nil, err
		}
		n := bank.Hash().Size()
		if !bytes.Equal(tpm.LaunchPolicy(p.NameAlg(), bank, values[:n], values[n:]), p.AuthPolicy()) {
			continue
		}
		return tpm2.Policy(tpm2.TPMIAlgHash(p.NameAlg()), 16, func(t transport.TPM, s tpm2.TPMISHPolicy, _ tpm2.TPM2BNonce) error {
			_, err := tpm2.PolicyPCR{PolicySession: s, Pcrs: importer.SelectPCRs(selection)}.Execute(t)
			return err
		}), nil
	}
	return nil, fmt.Errorf("the AK's policy %x is not TPM2_PolicyPCR over PCR 17 and 18 as they are now: another stack was launched, or none", p.AuthPolicy())
}

// ekChain finds the certificate of the EK that the AK's certificate names, and completes its chain.
func (m *Machine) ekChain(ctx context.Context, t transport.TPM, ak *x509.Certificate, o *Options) ([]byte, error) {
	p, err := tpm.ParsePlatform(ak)
	if err != nil {
		return nil, &MissingError{PieceAK, err, CertifyAK}
	}
	certs, err := importer.ParseCertificates(o.EKCerts)
	if err != nil {
		return nil, &MissingError{PieceEKChain, err, GiveEKIssuers}
	}
	var missing error
	for _, index := range []tpm2.TPMHandle{nvEKCertRSA, nvEKCertECC} {
		c, err := readCertificate(t, index)
		if err != nil {
			missing = errors.Join(missing, err)
			continue
		}
		certs = append(certs, c)
	}
	for _, c := range certs {
		if spki, err := x509.MarshalPKIXPublicKey(c.PublicKey); err == nil && poclog.Digest(sha256.Sum256(spki)) == p.EK {
			return m.Issuers.complete(ctx, PieceEKChain, c, o.EKCerts)
		}
	}
	err = fmt.Errorf("none of %d certificates is of the EK that the AK's certificate names, %s", len(certs), p.EK)
	if len(certs) == 0 {
		err = fmt.Errorf("no EK certificate: %w", oneLine(missing))
	}
	return nil, &MissingError{PieceEKChain, err, GiveEKIssuers}
}

// oneLine joins errors with semicolons.
func oneLine(err error) error {
	if err == nil {
		return errors.New("none")
	}
	return errors.New(strings.ReplaceAll(err.Error(), "\n", "; "))
}
