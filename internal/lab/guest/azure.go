package guest

import (
	"bytes"
	"crypto/rsa"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/poclog/poclog/internal/lab/amd"
	"github.com/poclog/poclog/internal/lab/azure"
	"github.com/poclog/poclog/internal/swtpm"
	"github.com/poclog/poclog/publish/importer"
	"github.com/poclog/poclog/verify/tpm"
)

// A Paravisor is a TPM as Azure's paravisor runs it. Its NV indices may be larger than the TPM's in
// software, which hold 2,048 bytes: the rest of the HCL report is in another index. When the guest
// has set user data, it makes the report anew some commands later, as the real one does in three
// seconds.
type Paravisor struct {
	*swtpm.TPM
	size int // of the report
	wait int // commands until the report is new; 0: there is nothing to do
	make func(user []byte) []byte
}

// IndexSize is that of the largest NV index of the TPM in software.
const IndexSize = 2048

const restIndex = tpm2.TPMHandle(0x01400101)

// NewParavisor puts a report into a TPM. make makes the report with user data, in the same length.
func NewParavisor(v *swtpm.TPM, report []byte, make func(user []byte) []byte) *Paravisor {
	v.DefineNV(importer.NVAzureHCL, report[:IndexSize])
	v.DefineNV(restIndex, append(bytes.Clone(report[IndexSize:]), bytes.Repeat([]byte{0}, 100)...)) // padded, as the real one
	return &Paravisor{TPM: v, size: len(report), make: make}
}

// Send implements [transport.TPM].
func (p *Paravisor) Send(command []byte) ([]byte, error) {
	const ccNVWrite, ccNVRead, ccNVReadPublic = 0x137, 0x14e, 0x169
	if p.wait > 0 {
		if p.wait--; p.wait == 0 {
			user, err := importer.ReadNV(p.TPM, importer.NVAzureUserData)
			if err != nil {
				return nil, err
			}
			report := p.make(user)
			p.WriteNV(importer.NVAzureHCL, report[:IndexSize])
			p.WriteNV(restIndex, report[IndexSize:])
		}
	}
	code := binary.BigEndian.Uint32(command[6:])
	index := func(at int) bool { return binary.BigEndian.Uint32(command[at:]) == uint32(importer.NVAzureHCL) }
	if offset := len(command) - 2; code == ccNVRead && index(14) && binary.BigEndian.Uint16(command[offset:]) >= IndexSize {
		command = bytes.Clone(command)
		if index(10) { // the index's own password
			binary.BigEndian.PutUint32(command[10:], uint32(restIndex))
		}
		binary.BigEndian.PutUint32(command[14:], uint32(restIndex))
		binary.BigEndian.PutUint16(command[offset:], binary.BigEndian.Uint16(command[offset:])-IndexSize)
	}
	answer, err := p.TPM.Send(command)
	switch {
	case err != nil:
	case code == ccNVWrite && binary.BigEndian.Uint32(answer[6:]) == uint32(tpm2.TPMRCSuccess):
		p.wait = 6
	case code == ccNVReadPublic && index(10):
		const dataSize = 10 + 2 + 4 + 2 + 4 + 2 // after header, size, index, nameAlg, attributes and an empty authPolicy
		binary.BigEndian.PutUint16(answer[dataSize:], uint16(p.size+100))
	}
	return answer, err
}

// kept stays open, as a device does.
type kept struct{ transport.TPM }

func (kept) Close() error { return nil }

// Azure is the inside of a VM of the laboratory's cloud of Azure's kind: its paravisor, with a real
// TPM, and its metadata service.
func Azure(t testing.TB, c *azure.Cloud, vm *azure.VM) *Guest {
	t.Helper()
	g := &Guest{V: swtpm.Start(t), Root: t.TempDir(), t: t}
	ak := g.V.Create(swtpm.Template(true, nil))
	ak.Persist(importer.AzureAKHandle)
	ak.Flush()
	public, err := tpm.ParsePublic(ak.Public)
	if err != nil {
		t.Fatal(err)
	}
	var quote []byte // of the last report, by a chip of Intel's
	report := func(user []byte) []byte {
		claims := vm.Claims([64]byte(user))
		claims.AK = public.Key().(*rsa.PublicKey)
		text := claims.JSON()
		rd := azure.ReportData(text)
		if vm.Host.SNP != nil {
			return azure.HCL(tpm.HCLTypeSNP, vm.Host.SNP.Report(vm.Guest(rd), nil), text)
		}
		td := vm.TD(rd)
		quote = vm.Host.TDX.Quote(td)
		return azure.HCL(tpm.HCLTypeTDX, td.Report(), text)
	}
	p := NewParavisor(g.V, report(bytes.Repeat([]byte{0}, 64)), report)
	g.open = func() (transport.TPMCloser, error) { return kept{p}, nil }
	g.Chain = c.Certify(public.Key(), vm.Host.Region, "0123456789ab"+azure.Confidential)
	cert := g.Certificates(g.Chain)[0].Raw
	g.V.DefineNV(importer.NVAzureAKCert, append(bytes.Clone(cert), bytes.Repeat([]byte{0}, IndexSize-len(cert))...))
	g.Write("sys/class/dmi/id/chassis_asset_tag", []byte("7783-7084-3265-9085-8269-3286-77\n"))
	mux := http.NewServeMux()
	mux.HandleFunc("POST /acc/tdquote", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]string{"quote": base64.RawURLEncoding.EncodeToString(quote)}) // the client sees what is missing
	})
	mux.HandleFunc("GET /metadata/THIM/amd/certification", func(w http.ResponseWriter, _ *http.Request) {
		certs := amd.Certificates(vm.Certs())
		_ = json.NewEncoder(w).Encode(map[string]string{"vcekCert": pemText(certs[:1]), "certificateChain": pemText(certs[1:])}) // as above
	})
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	g.IMDS = srv.URL
	return g
}

func pemText(ders [][]byte) (text string) {
	for _, der := range ders {
		text += string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	return text
}
