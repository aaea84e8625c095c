package importer_test

import (
	"bytes"
	"encoding/pem"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"github.com/poclog/poclog/internal/swtpm"
	"github.com/poclog/poclog/publish/importer"
)

// azureCapture is what the capture of a real Azure VM holds, as octets.
func azureCapture(t *testing.T) (quote, report, cert []byte) {
	t.Helper()
	f := azureOriginal(t)
	block, _ := pem.Decode([]byte(f.TPM.Cert))
	return base64URL(t, f.Quote), base64URL(t, f.Report), block.Bytes
}

func TestNVIndicesAreReadWhole(t *testing.T) {
	v := swtpm.Start(t)
	for i, size := range []int{1, 512, 1024, 1025, 2048} {
		want := bytes.Repeat([]byte{byte(i + 1), 7, 9}, size)[:size]
		index := tpm2.TPMHandle(0x01800000 + i)
		v.DefineNV(index, want)
		if got, err := importer.ReadNV(v, index); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes: %d read: %v", size, len(got), err)
		}
	}
	if b, err := importer.ReadNV(v, 0x01800099); err == nil {
		t.Errorf("an index that is not there: %x", b)
	}
}

func TestTPMsAreOpenedByAddress(t *testing.T) {
	v := swtpm.Start(t)
	v.DefineNV(importer.NVAzureUserData, []byte("hello"))
	opened, err := importer.OpenTPM(v.Socket)
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	if b, err := importer.ReadNV(opened, importer.NVAzureUserData); err != nil || string(b) != "hello" {
		t.Errorf("read %q: %v", b, err)
	}
	for _, address := range []string{"/nowhere", t.TempDir()} {
		if _, err := importer.OpenTPM(address); err == nil {
			t.Errorf("%s is opened", address)
		}
	}
}

func TestCertificatesAreCutFromTheirPadding(t *testing.T) {
	_, _, cert := azureCapture(t)
	v := swtpm.Start(t)
	padding := make([]byte, 2048-len(cert)) // a real index is twice as large, one of this TPM is not
	v.DefineNV(importer.NVAzureAKCert, append(bytes.Clone(cert), padding...))
	if got, err := importer.ReadCertificate(v, importer.NVAzureAKCert); err != nil || !bytes.Equal(got, cert) {
		t.Errorf("%d bytes, want %d: %v", len(got), len(cert), err)
	}
	v.DefineNV(0x01800000, []byte("no certificate"))
	if _, err := importer.ReadCertificate(v, 0x01800000); err == nil {
		t.Error("what is no certificate is taken for one")
	}
}
