package importer

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/poclog/poclog/verify/tpm"
)

// NV indices at which clouds keep evidence. Certificates are in DER and padded: [ReadCertificate]
// cuts them.
const (
	NVAzureHCL      tpm2.TPMHandle = 0x01400001 // the HCL report, padded with zeros
	NVAzureUserData tpm2.TPMHandle = 0x01400002 // 64 bytes that the guest sets: the next HCL report carries them
	NVAzureAKCert   tpm2.TPMHandle = 0x01c101d0 // the AK's certificate, padded to 4,096 bytes

	NVGCEAKCertRSA     tpm2.TPMHandle = 0x01c10000
	NVGCEAKTemplateRSA tpm2.TPMHandle = 0x01c10001 // TPMT_PUBLIC to make the AK with, under the endorsement hierarchy
	NVGCEAKCertECC     tpm2.TPMHandle = 0x01c10002
	NVGCEAKTemplateECC tpm2.TPMHandle = 0x01c10003
)

// OpenTPM opens a TPM 2.0 by its address: a device ("/dev/tpmrm0"), or the socket of a TPM in
// software.
func OpenTPM(address string) (transport.TPMCloser, error) {
	info, err := os.Stat(address)
	if err != nil {
		return nil, fmt.Errorf("TPM: %w", err)
	}
	t, err := openTPM(address, info.Mode()&os.ModeSocket != 0)
	if err != nil {
		return nil, fmt.Errorf("TPM %s: %w", address, err)
	}
	return t, nil
}

// Sizes of one read: what every TPM takes, and the most that we ask of one.
const (
	minNVChunk = 512
	maxNVChunk = 4096
)

// ReadNV reads the whole of an NV index: at most 65,535 bytes, for the TPM gives sizes in 16 bits.
// It uses the owner's authorisation or the index's own, with an empty password, as clouds leave
// both: whichever the index allows, and the index's own where the owner has a password.
func ReadNV(t transport.TPM, index tpm2.TPMHandle) ([]byte, error) {
	about, err := tpm2.NVReadPublic{NVIndex: index}.Execute(t)
	if err != nil {
		return nil, fmt.Errorf("NV index %#08x: %w", uint32(index), err)
	}
	public, err := about.NVPublic.Contents()
	if err != nil {
		return nil, fmt.Errorf("NV index %#08x: %w", uint32(index), err)
	}
	named := tpm2.NamedHandle{Handle: index, Name: about.NVName}
	var failed error
	for _, auth := range nvAuths(named, public.Attributes.OwnerRead, public.Attributes.AuthRead) {
		b, err := readNV(t, auth, named, int(public.DataSize))
		if err == nil {
			return b, nil
		}
		failed = errors.Join(failed, err)
		if !isAuthFailure(err) {
			break
		}
	}
	if failed == nil {
		failed = errors.New("neither its owner nor a password may read it")
	}
	return nil, fmt.Errorf("NV index %#08x: %w", uint32(index), oneLine(failed))
}

// nvAuths are the ways to use an NV index.
func nvAuths(index tpm2.NamedHandle, byOwner, byIndex bool) (list []tpm2.AuthHandle) {
	if byOwner {
		list = append(list, tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)})
	}
	if byIndex {
		list = append(list, tpm2.AuthHandle{Handle: index.Handle, Name: index.Name, Auth: tpm2.PasswordAuth(nil)})
	}
	return list
}

// isAuthFailure reports whether a password was wrong: it is not empty.
func isAuthFailure(err error) bool {
	return errors.Is(err, tpm2.TPMRCBadAuth) || errors.Is(err, tpm2.TPMRCAuthFail)
}

// oneLine joins errors with semicolons.
func oneLine(err error) error {
	if text := err.Error(); strings.Contains(text, "\n") {
		return errors.New(strings.ReplaceAll(text, "\n", "; "))
	}
	return err
}

func readNV(t transport.TPM, auth tpm2.AuthHandle, index tpm2.NamedHandle, size int) ([]byte, error) {
	chunk, b := nvChunk(t), make([]byte, 0, size)
	for len(b) < size {
		n := min(chunk, size-len(b))
		rsp, err := tpm2.NVRead{AuthHandle: auth, NVIndex: index, Size: uint16(n), Offset: uint16(len(b))}.Execute(t)
		if err != nil {
			return nil, fmt.Errorf("read %d bytes at %d: %w", n, len(b), err)
		}
		if len(rsp.Data.Buffer) != n {
			return nil, fmt.Errorf("%d bytes at %d: want %d", len(rsp.Data.Buffer), len(b), n)
		}
		b = append(b, rsp.Data.Buffer...)
	}
	return b, nil
}

// nvChunk asks the TPM for the most that one read gives (TPM_PT_NV_BUFFER_MAX).
func nvChunk(t transport.TPM) int {
	rsp, err := tpm2.GetCapability{Capability: tpm2.TPMCapTPMProperties, Property: uint32(tpm2.TPMPTNVBufferMax), PropertyCount: 1}.Execute(t)
	if err != nil {
		return minNVChunk
	}
	list, err := rsp.CapabilityData.Data.TPMProperties()
	if err != nil || len(list.TPMProperty) != 1 || list.TPMProperty[0].Property != tpm2.TPMPTNVBufferMax {
		return minNVChunk
	}
	return int(min(max(list.TPMProperty[0].Value, minNVChunk), maxNVChunk))
}

// ReadCertificate reads the certificate in DER that an NV index holds, without what follows it.
func ReadCertificate(t transport.TPM, index tpm2.TPMHandle) ([]byte, error) {
	padded, err := ReadNV(t, index)
	if err != nil {
		return nil, err
	}
	der, err := tpm.TrimCertificate(padded)
	if err != nil {
		return nil, fmt.Errorf("NV index %#08x: %w", uint32(index), err)
	}
	return der, nil
}
