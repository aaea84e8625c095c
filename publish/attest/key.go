package attest

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/poclog/poclog/publish/importer"
	"github.com/poclog/poclog/verify/tpm"
)

// A key is an AK in the TPM.
type key struct {
	handle    tpm2.AuthHandle // with what lets it sign
	transient bool            // to be unloaded after use
	item      []byte          // TPMT_PUBLIC
	public    *tpm.Public
	cert      *x509.Certificate // of this key
}

// unload frees the TPM's memory of a key that was made for this use. A TPM without a resource
// manager holds three.
func (k *key) unload(t transport.TPM) {
	if k != nil && k.transient {
		_, _ = tpm2.FlushContext{FlushHandle: k.handle.Handle}.Execute(t) // a resource manager does it too, when the TPM is closed
	}
}

// newKey takes the public area as the TPM gave it.
func newKey(handle tpm2.TPMHandle, name tpm2.TPM2BName, public tpm2.TPM2BPublic) (*key, error) {
	contents, err := public.Contents()
	if err != nil {
		return nil, err
	}
	k := &key{handle: tpm2.AuthHandle{Handle: handle, Name: name, Auth: tpm2.PasswordAuth(nil)}, item: tpm2.Marshal(contents)}
	if k.public, err = tpm.ParsePublic(k.item); err != nil {
		return nil, err
	}
	return k, nil
}

var hierarchyNames = map[tpm2.TPMHandle]string{tpm2.TPMRHEndorsement: "endorsement", tpm2.TPMRHOwner: "owner"}

// createPrimary makes a primary key from a template: the same one each time, as long as the
// hierarchy's seed stays.
func createPrimary(t transport.TPM, hierarchy tpm2.TPMHandle, template tpm2.TPMTPublic) (*key, error) {
	rsp, err := tpm2.CreatePrimary{
		PrimaryHandle: tpm2.AuthHandle{Handle: hierarchy, Auth: tpm2.PasswordAuth(nil)}, InPublic: tpm2.New2B(template),
	}.Execute(t)
	if err != nil {
		return nil, fmt.Errorf("TPM2_CreatePrimary in the %s hierarchy: %w", hierarchyNames[hierarchy], err)
	}
	k, err := newKey(rsp.ObjectHandle, rsp.Name, rsp.OutPublic)
	if err != nil {
		(&key{handle: tpm2.AuthHandle{Handle: rsp.ObjectHandle}, transient: true}).unload(t)
		return nil, err
	}
	k.transient = true
	return k, nil
}

// persistent opens a key that is in the TPM for good.
func persistent(t transport.TPM, handle tpm2.TPMHandle) (*key, error) {
	rsp, err := tpm2.ReadPublic{ObjectHandle: handle}.Execute(t)
	if err != nil {
		return nil, fmt.Errorf("key at %#08x: %w", uint32(handle), err)
	}
	k, err := newKey(handle, rsp.Name, rsp.OutPublic)
	if err != nil {
		return nil, fmt.Errorf("key at %#08x: %w", uint32(handle), err)
	}
	return k, nil
}

// persist makes a key persistent, and unloads it.
func (k *key) persist(t transport.TPM, handle tpm2.TPMHandle) error {
	object := tpm2.NamedHandle{Handle: k.handle.Handle, Name: k.handle.Name}
	_, err := tpm2.EvictControl{
		Auth: tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)}, ObjectHandle: &object, PersistentHandle: handle,
	}.Execute(t)
	if err != nil {
		return fmt.Errorf("TPM2_EvictControl to %#08x: %w", uint32(handle), err)
	}
	k.unload(t)
	k.handle.Handle, k.transient = handle, false
	return nil
}

// is reports whether the key is the one of a certificate.
func (k *key) is(c *x509.Certificate) bool { return equalKeys(k.public.Key(), c.PublicKey) }

func equalKeys(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}

// gceAKs are where Compute Engine keeps what its AKs are made of. The one on P-256 comes first: it
// is made a hundred times faster.
var gceAKs = []struct{ template, cert tpm2.TPMHandle }{
	{importer.NVGCEAKTemplateECC, importer.NVGCEAKCertECC}, {importer.NVGCEAKTemplateRSA, importer.NVGCEAKCertRSA},
}

// gceAK makes Compute Engine's AK from the template that it left in the TPM, under the endorsement
// hierarchy.
func gceAK(t transport.TPM, o *Options) (*key, error) {
	var missing error
	for _, at := range gceAKs {
		cert, err := readCertificate(t, at.cert)
		if err != nil {
			missing = errors.Join(missing, err)
			continue
		}
		k, err := gceKey(t, at.template, cert, o.Persist)
		if err != nil {
			return nil, err
		}
		k.cert = cert
		return k, nil
	}
	return nil, &MissingError{PieceAK, fmt.Errorf("no AK certificate: %w", oneLine(missing)), RemakeVM}
}

func gceKey(t transport.TPM, template tpm2.TPMHandle, cert *x509.Certificate, keep tpm2.TPMHandle) (*key, error) {
	if keep != 0 {
		k, err := persistent(t, keep)
		switch {
		case err == nil && k.is(cert):
			return k, nil
		case err == nil:
			return nil, &MissingError{PieceAK, fmt.Errorf("another key is at %#08x", uint32(keep)), ChooseHandle}
		case !errors.Is(err, tpm2.TPMRCHandle):
			return nil, &MissingError{PieceAK, err, ChooseHandle}
		}
	}
	b, err := importer.ReadNV(t, template)
	if err != nil {
		return nil, &MissingError{PieceAK, fmt.Errorf("AK template: %w", err), RemakeVM}
	}
	public, err := tpm2.Unmarshal[tpm2.TPMTPublic](b)
	if err != nil {
		return nil, &MissingError{PieceAK, fmt.Errorf("AK template in NV index %#08x: %w", uint32(template), err), RemakeVM}
	}
	k, err := createPrimary(t, tpm2.TPMRHEndorsement, *public)
	if err != nil {
		return nil, &MissingError{PieceAK, err, RemakeVM}
	}
	if !k.is(cert) {
		k.unload(t)
		return nil, &MissingError{PieceAK, fmt.Errorf("the template in NV index %#08x makes another key than the certificate is for: the VM's disk was cloned, or the TPM cleared", uint32(template)), RemakeVM}
	}
	if keep != 0 {
		if err := k.persist(t, keep); err != nil {
			k.unload(t)
			return nil, &MissingError{PieceAK, err, ChooseHandle}
		}
	}
	return k, nil
}

func readCertificate(t transport.TPM, index tpm2.TPMHandle) (*x509.Certificate, error) {
	der, err := importer.ReadCertificate(t, index)
	if err != nil {
		return nil, err
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("NV index %#08x: %w", uint32(index), err)
	}
	return c, nil
}
