package swtpm

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

// SetLocality sets from where commands come, 0 to 4: an operating system's come from 0, a measured
// launch's from 2.
func (v *TPM) SetLocality(n byte) {
	v.t.Helper()
	v.control(append(command(cmdSetLocality), n))
}

// DynamicLaunch does what the CPU's launch instruction does at locality 4: PCR 17 to 22 are reset
// to zeros, and PCR 17 is extended with the digest of the launch module.
func (v *TPM) DynamicLaunch(module []byte) {
	v.t.Helper()
	data := binary.BigEndian.AppendUint32(command(cmdHashData), uint32(len(module)))
	v.control(command(cmdHashStart), append(data, module...), command(cmdHashEnd))
}

// QuoteUnder is Quote through a policy session with TPM2_PolicyPCR over some registers. Where their
// values are not those of the key's policy, the TPM's error is returned.
func (ak *AK) QuoteUnder(policy []Selection, extraData []byte, list ...Selection) (item, values []byte, err error) {
	ak.tpm.t.Helper()
	auth := tpm2.Policy(tpm2.TPMAlgSHA256, 16, func(t transport.TPM, s tpm2.TPMISHPolicy, _ tpm2.TPM2BNonce) error {
		_, err := tpm2.PolicyPCR{PolicySession: s, Pcrs: selectionOf(policy)}.Execute(t)
		return err
	})
	return ak.quote(auth, extraData, list)
}

// QuoteWithPassword is Quote with the key's (empty) password. Where the key does not allow it, the
// TPM's error is returned.
func (ak *AK) QuoteWithPassword(extraData []byte, list ...Selection) (item, values []byte, err error) {
	ak.tpm.t.Helper()
	return ak.quote(tpm2.PasswordAuth(nil), extraData, list)
}

// EK makes the TPM's endorsement key by TCG's template, RSA-2048 or on P-256.
func (v *TPM) EK(rsa bool) *AK {
	v.t.Helper()
	if rsa {
		return v.Create(tpm2.RSAEKTemplate)
	}
	return v.Create(tpm2.ECCEKTemplate)
}

// Credential encrypts a secret for whoever has the EK and, in the same TPM, the key with a name:
// what a CA does, which has the EK's public area and no TPM (Part 1, §24).
func Credential(ekPublic, name, secret []byte) (blob, encrypted []byte, err error) {
	public, err := tpm2.Unmarshal[tpm2.TPMTPublic](ekPublic)
	if err != nil {
		return nil, nil, fmt.Errorf("EK: %w", err)
	}
	key, err := tpm2.ImportEncapsulationKey(public)
	if err != nil {
		return nil, nil, fmt.Errorf("EK: %w", err)
	}
	return tpm2.CreateCredential(rand.Reader, key, name, secret)
}

// Activate decrypts a credential (TPM2_ActivateCredential): the TPM's error is returned where it is
// for another EK or another key.
func (ak *AK) Activate(ek *AK, blob, encrypted []byte) ([]byte, error) {
	ak.tpm.t.Helper()
	byEndorsement := func(t transport.TPM, s tpm2.TPMISHPolicy, nonce tpm2.TPM2BNonce) error {
		endorsement := withPassword(tpm2.NamedHandle{Handle: tpm2.TPMRHEndorsement})
		_, err := tpm2.PolicySecret{AuthHandle: endorsement, PolicySession: s, NonceTPM: nonce}.Execute(t)
		return err
	}
	rsp, err := tpm2.ActivateCredential{
		ActivateHandle: withPassword(ak.Handle),
		KeyHandle:      tpm2.AuthHandle{Handle: ek.Handle.Handle, Name: ek.Handle.Name, Auth: tpm2.Policy(tpm2.TPMAlgSHA256, 16, byEndorsement)},
		CredentialBlob: tpm2.TPM2BIDObject{Buffer: blob}, Secret: tpm2.TPM2BEncryptedSecret{Buffer: encrypted},
	}.Execute(ak.tpm)
	if err != nil {
		return nil, err
	}
	return rsp.CertInfo.Buffer, nil
}

// Loaded returns the handles of transient keys and of sessions.
func (v *TPM) Loaded() (handles []tpm2.TPMHandle) {
	v.t.Helper()
	for _, first := range []uint32{0x80000000, 0x02000000} { // TPM_HT_TRANSIENT, TPM_HT_LOADED_SESSION
		rsp := do(v, tpm2.GetCapability{Capability: tpm2.TPMCapHandles, Property: first, PropertyCount: 16})
		list, err := rsp.CapabilityData.Data.Handles()
		if err != nil {
			v.t.Fatalf("TPM2_GetCapability: %v", err)
		}
		handles = append(handles, list.Handle...)
	}
	return handles
}

// Unload frees transient keys and sessions: what a kernel's resource manager does when a process
// that used the TPM ends.
func (v *TPM) Unload() {
	v.t.Helper()
	for _, h := range v.Loaded() {
		do(v, tpm2.FlushContext{FlushHandle: h})
	}
}
