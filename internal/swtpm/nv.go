package swtpm

import "github.com/google/go-tpm/tpm2"

// DefineNV defines an NV index that its owner, or whoever knows its empty password, may read and
// write, and fills it.
func (v *TPM) DefineNV(index tpm2.TPMHandle, data []byte) {
	v.t.Helper()
	owner := tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)}
	_, err := tpm2.NVDefineSpace{AuthHandle: owner, PublicInfo: tpm2.New2B(tpm2.TPMSNVPublic{
		NVIndex: index, NameAlg: tpm2.TPMAlgSHA256, DataSize: uint16(len(data)),
		Attributes: tpm2.TPMANV{OwnerWrite: true, OwnerRead: true, AuthWrite: true, AuthRead: true, NoDA: true},
	})}.Execute(v)
	if err != nil {
		v.t.Fatalf("TPM2_NV_DefineSpace: %v", err)
	}
	v.WriteNV(index, data)
}

// WriteNV writes an NV index from its start, by the index's own password: the owner may have one.
func (v *TPM) WriteNV(index tpm2.TPMHandle, data []byte) {
	v.t.Helper()
	for offset := 0; offset < len(data); {
		about, err := tpm2.NVReadPublic{NVIndex: index}.Execute(v) // its name changes with the first write
		if err != nil {
			v.t.Fatalf("TPM2_NV_ReadPublic: %v", err)
		}
		part := data[offset:min(offset+512, len(data))]
		_, err = tpm2.NVWrite{
			AuthHandle: tpm2.AuthHandle{Handle: index, Name: about.NVName, Auth: tpm2.PasswordAuth(nil)}, NVIndex: tpm2.NamedHandle{Handle: index, Name: about.NVName}, Data: tpm2.TPM2BMaxNVBuffer{Buffer: part}, Offset: uint16(offset),
		}.Execute(v)
		if err != nil {
			v.t.Fatalf("TPM2_NV_Write: %v", err)
		}
		offset += len(part)
	}
}

// Persist makes a key persistent at a handle, as clouds keep their AKs.
func (ak *AK) Persist(handle tpm2.TPMHandle) {
	ak.tpm.t.Helper()
	_, err := tpm2.EvictControl{
		Auth: tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)}, ObjectHandle: &ak.Handle, PersistentHandle: handle,
	}.Execute(ak.tpm)
	if err != nil {
		ak.tpm.t.Fatalf("TPM2_EvictControl: %v", err)
	}
}

// UndefineNV removes an NV index.
func (v *TPM) UndefineNV(index tpm2.TPMHandle) {
	v.t.Helper()
	about, err := tpm2.NVReadPublic{NVIndex: index}.Execute(v)
	if err == nil {
		_, err = tpm2.NVUndefineSpace{
			AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)}, NVIndex: tpm2.NamedHandle{Handle: index, Name: about.NVName},
		}.Execute(v)
	}
	if err != nil {
		v.t.Fatalf("TPM2_NV_UndefineSpace: %v", err)
	}
}
