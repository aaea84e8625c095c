package swtpm

import (
	"slices"

	"github.com/google/go-tpm/tpm2"
)

var owner = withPassword(tpm2.NamedHandle{Handle: tpm2.TPMRHOwner})

// DefineNV defines an NV index that its owner, or whoever knows its empty password, may read and
// write, and fills it.
func (v *TPM) DefineNV(index tpm2.TPMHandle, data []byte) {
	v.t.Helper()
	do(v, tpm2.NVDefineSpace{AuthHandle: owner, PublicInfo: tpm2.New2B(tpm2.TPMSNVPublic{
		NVIndex: index, NameAlg: tpm2.TPMAlgSHA256, DataSize: uint16(len(data)),
		Attributes: tpm2.TPMANV{OwnerWrite: true, OwnerRead: true, AuthWrite: true, AuthRead: true, NoDA: true},
	})})
	v.WriteNV(index, data)
}

// WriteNV writes an NV index from its start, by the index's own password: the owner may have one.
func (v *TPM) WriteNV(index tpm2.TPMHandle, data []byte) {
	v.t.Helper()
	offset := 0
	for part := range slices.Chunk(data, 512) {
		nv := v.nv(index) // its name changes with the first write
		do(v, tpm2.NVWrite{
			AuthHandle: withPassword(nv), NVIndex: nv, Data: tpm2.TPM2BMaxNVBuffer{Buffer: part}, Offset: uint16(offset),
		})
		offset += len(part)
	}
}

// UndefineNV removes an NV index.
func (v *TPM) UndefineNV(index tpm2.TPMHandle) {
	v.t.Helper()
	do(v, tpm2.NVUndefineSpace{AuthHandle: owner, NVIndex: v.nv(index)})
}

func (v *TPM) nv(index tpm2.TPMHandle) tpm2.NamedHandle {
	v.t.Helper()
	return tpm2.NamedHandle{Handle: index, Name: do(v, tpm2.NVReadPublic{NVIndex: index}).NVName}
}

// Persist makes a key persistent at a handle, as clouds keep their AKs.
func (ak *AK) Persist(handle tpm2.TPMHandle) {
	ak.tpm.t.Helper()
	do(ak.tpm, tpm2.EvictControl{Auth: owner, ObjectHandle: &ak.Handle, PersistentHandle: handle})
}
