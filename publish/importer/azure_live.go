package importer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/pause"
	"github.com/poclog/poclog/verify/tpm"
)

// AzureAKHandle is where Azure's vTPM keeps its attestation key.
const AzureAKHandle tpm2.TPMHandle = 0x81000003

// An AzureVM is the Azure confidential VM on which the process runs: its vTPM and its instance
// metadata service.
type AzureVM struct {
	TPM       transport.TPM
	IMDS      *IMDS
	Challenge *poclog.Challenge // if set, the HCL report is made to carry its nonce
}

// userDataWait is how long the paravisor may take to make a report with new user data; on real VMs
// it takes about three seconds.
var userDataWait = 15 * time.Second

// Import takes the VM's evidence: the HCL report; of a TDX VM the TD quote of its TDREPORT, of a
// SEV-SNP VM the chip's certificates; and a TPM quote over what the TEE quoted. Files of
// certificates complete the AK's chain up to its root.
func (v *AzureVM) Import(ctx context.Context, certs ...[]byte) (*Import, error) {
	im := &Import{Profile: poclog.AzureTDXvTPM, Bundle: new(poclog.Bundle)}
	if err := v.take(ctx, im, certs); err != nil {
		return nil, fmt.Errorf("Azure VM: %w", err)
	}
	return im, nil
}

func (v *AzureVM) take(ctx context.Context, im *Import, certs [][]byte) error {
	item, report, err := v.report(ctx)
	if err == nil {
		err = im.setHCL(item, report)
	}
	if err != nil {
		return fmt.Errorf("HCL report: %w", err)
	}
	var pool [][]byte
	if im.Profile == poclog.AzureSNPvTPM {
		if pool, err = v.IMDS.AMDCertificates(ctx); err != nil {
			return err
		}
	} else {
		quote, err := v.IMDS.TDQuote(ctx, report.HardwareReport)
		if err != nil {
			return err
		}
		if err := im.setQuote(quote); err != nil {
			return err
		}
	}
	if err := im.azureTPMQuote(v.TPM); err != nil {
		return err
	}
	der, err := ReadCertificate(v.TPM, NVAzureAKCert)
	if err != nil {
		return fmt.Errorf("AK certificate: %w", err)
	}
	if pool, err = certificatesOf(append(pool, der), certs, azureCertificates); err != nil {
		return err
	}
	return im.setAzureCertificates(pool)
}

// report reads the HCL report, with the challenge's nonce in it if there is one.
func (v *AzureVM) report(ctx context.Context) (item []byte, hcl *tpm.HCL, err error) {
	if v.Challenge == nil {
		return ReadHCL(v.TPM)
	}
	want := v.Challenge.HCLUserData()
	if err := writeUserData(v.TPM, want[:]); err != nil {
		return nil, nil, err
	}
	// The paravisor makes the report anew in its own time, and a report is read in parts: one that
	// is read twice was not torn.
	var last []byte
	for deadline := time.Now().Add(userDataWait); ; {
		item, hcl, err := ReadHCL(v.TPM)
		if err == nil && hcl.UserData == want && bytes.Equal(item, last) {
			return item, hcl, nil
		}
		last = item
		if time.Now().After(deadline) {
			if err != nil {
				return nil, nil, err
			}
			return nil, nil, fmt.Errorf("it does not carry the user data that was written to NV index %#08x %s ago", uint32(NVAzureUserData), userDataWait)
		}
		if err == nil && hcl.UserData == want {
			continue // to read it again
		}
		if err := pause.For(ctx, 200*time.Millisecond); err != nil {
			return nil, nil, err
		}
	}
}

// ReadHCL reads an Azure VM's HCL report, without its padding.
func ReadHCL(t transport.TPM) (item []byte, hcl *tpm.HCL, err error) {
	padded, err := ReadNV(t, NVAzureHCL)
	if err != nil {
		return nil, nil, err
	}
	return trimHCL(padded)
}

func trimHCL(padded []byte) (item []byte, hcl *tpm.HCL, err error) {
	if item, err = tpm.TrimHCL(padded); err != nil {
		return nil, nil, err
	}
	hcl, err = tpm.ParseHCL(item)
	return item, hcl, err
}

// writeUserData sets what the next HCL report carries. The index is the guest's to define.
func writeUserData(t transport.TPM, data []byte) error {
	owner := tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)}
	about, err := tpm2.NVReadPublic{NVIndex: NVAzureUserData}.Execute(t)
	if errors.Is(err, tpm2.TPMRCHandle) {
		_, err = tpm2.NVDefineSpace{AuthHandle: owner, PublicInfo: tpm2.New2B(tpm2.TPMSNVPublic{
			NVIndex: NVAzureUserData, NameAlg: tpm2.TPMAlgSHA256, DataSize: uint16(len(data)),
			Attributes: tpm2.TPMANV{OwnerWrite: true, OwnerRead: true, AuthWrite: true, AuthRead: true, NoDA: true},
		})}.Execute(t)
		if err == nil {
			about, err = tpm2.NVReadPublic{NVIndex: NVAzureUserData}.Execute(t)
		}
	}
	if err == nil {
		index := tpm2.NamedHandle{Handle: NVAzureUserData, Name: about.NVName}
		for _, auth := range nvAuths(index, true, true) {
			if _, err = (tpm2.NVWrite{AuthHandle: auth, NVIndex: index, Data: tpm2.TPM2BMaxNVBuffer{Buffer: data}}).Execute(t); !isAuthFailure(err) {
				break
			}
		}
	}
	if err != nil {
		return fmt.Errorf("write user data to NV index %#08x: %w", uint32(NVAzureUserData), err)
	}
	return nil
}

// azureSelection is every register of the SHA-256 bank.
var azureSelection = []tpm.PCRSelection{{Alg: tpm.SHA256, PCRs: []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23}}}

// azureTPMQuote has the AK quote PCR 0 to 23 of the SHA-256 bank over the hash of what the TEE
// quoted.
func (im *Import) azureTPMQuote(t transport.TPM) error {
	ak, err := tpm2.ReadPublic{ObjectHandle: AzureAKHandle}.Execute(t)
	if err != nil {
		return fmt.Errorf("AK at %#08x: %w", uint32(AzureAKHandle), err)
	}
	public, err := ak.OutPublic.Contents()
	if err != nil {
		return fmt.Errorf("AK at %#08x: %w", uint32(AzureAKHandle), err)
	}
	sum := sha256.Sum256(im.Bundle.TEE())
	key := tpm2.AuthHandle{Handle: AzureAKHandle, Name: ak.Name, Auth: tpm2.PasswordAuth(nil)}
	item, values, err := Quote(t, key, sum[:], azureSelection)
	if err != nil {
		return err
	}
	im.Bundle.Set(poclog.ItemTPMQuote, item)
	im.Bundle.Set(poclog.ItemTPMPCRs, values)
	return im.setAK(tpm2.Marshal(public), item)
}

// setAK takes the AK's TPMT_PUBLIC. Of a key whose parent nobody knows tpm.ak-template cannot be
// made; with its TPMT_PUBLIC it would be refused.
func (im *Import) setAK(public, quote []byte) error {
	p, err := tpm.ParsePublic(public)
	if err != nil {
		return err
	}
	q, err := tpm.ParseQuote(quote)
	if err != nil {
		return err
	}
	if err := tpm.CheckAKTemplate(p, q, p.Key()); errors.As(err, new(*tpm.ParentError)) {
		im.note("the AK's TPMT_PUBLIC is left out, and tpm.ak-template is lost: %v", err)
		return nil
	}
	im.Bundle.Set(poclog.ItemTPMAK, public)
	return nil
}
