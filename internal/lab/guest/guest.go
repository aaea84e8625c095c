// Package guest is the inside of the laboratory's confidential VMs, for tests of what runs in them:
// configfs-tsm whose quotes the laboratory's chips make (go-configfs-tsm's faketsm), a real TPM
// (swtpm) that heard the image's boot and holds what the provider leaves in it, and the kernel's
// files. A process of its own reaches the same over a host's address: see [Guest.Host] and
// [RemoteTSM].
package guest

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/go-configfs-tsm/configfs/configfsi"
	"github.com/google/go-configfs-tsm/configfs/faketsm"
	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/poclog/poclog/internal/lab/cert"
	"github.com/poclog/poclog/internal/lab/gce"
	"github.com/poclog/poclog/internal/lab/metal/discrete"
	"github.com/poclog/poclog/internal/must"
	"github.com/poclog/poclog/internal/swtpm"
	"github.com/poclog/poclog/publish/importer"
	"github.com/poclog/poclog/verify/tpm"
)

// buffer is the size of configfs's answer on real machines: a quote is padded to it with zeros.
const buffer = 8000

// A Guest is a VM or a bare-metal machine's TD, from inside.
type Guest struct {
	V    *swtpm.TPM
	Root string // where the kernel's files are
	// Chain is the AK's certificate chain, and EKChain that of a bare-metal machine's EK: DER,
	// concatenated.
	Chain, EKChain []byte
	IMDS           string // address of an Azure VM's metadata service

	// Template is what a bare-metal machine's AK is made from: TPMT_PUBLIC.
	Template []byte

	open  func() (transport.TPMCloser, error)
	mu    sync.Mutex // a laboratory is not safe for concurrent use
	quote func(reportData [64]byte) []byte
	t     testing.TB
}

// Files of the kernel.
const (
	productName = "sys/class/dmi/id/product_name"
	TCGLog      = "sys/kernel/security/tpm0/binary_bios_measurements"
	CCEL        = "sys/firmware/acpi/tables/data/CCEL"
)

// Managed is the inside of a VM of the laboratory's cloud, whose TPM is a real one with an RSA or
// an ECC key.
func Managed(t testing.TB, c *gce.Cloud, vm *gce.VM, rsa bool) *Guest {
	t.Helper()
	g := &Guest{V: swtpm.Start(t), Root: t.TempDir(), t: t}
	img := vm.Config.Image
	discrete.Measure(t, g.V, img.TCGLog)
	template := swtpm.Template(rsa, nil)
	ak := g.V.Create(template)
	g.Chain = must.Get(c.Certify(must.Get(tpm.ParsePublic(ak.Public)).Key(), vm.TPM.Instance))
	ak.Flush()
	index, at := importer.NVGCEAKCertECC, importer.NVGCEAKTemplateECC
	if rsa {
		index, at = importer.NVGCEAKCertRSA, importer.NVGCEAKTemplateRSA
	}
	g.V.DefineNV(index, append(bytes.Clone(g.Certificates(g.Chain)[0].Raw), make([]byte, 100)...))
	g.V.DefineNV(at, tpm2.Marshal(template))
	g.Write(productName, []byte("Google Compute Engine\n"))
	g.Write(TCGLog, img.TCGLog)
	g.Write(CCEL, append(bytes.Clone(img.CCEL), bytes.Repeat([]byte{0xff}, 1000)...))
	g.quote = func(reportData [64]byte) []byte { return vm.Platform().Quote(vm.TD(reportData)) }
	return g
}

// nvEKCertECC is where a TPM keeps the certificate of its EK on P-256.
const nvEKCertECC tpm2.TPMHandle = 0x01c0000a

// MetalAK is where a bare-metal machine's AK is persistent.
const MetalAK tpm2.TPMHandle = 0x81010002

// Metal is the inside of a TD on a bare-metal machine. Its AK is at [MetalAK].
func Metal(t testing.TB, m *discrete.Machine) *Guest {
	t.Helper()
	g := &Guest{V: m.V, Root: t.TempDir(), t: t, Chain: m.AKChain, EKChain: m.EKChain, Template: m.AK.Public}
	m.AK.Persist(MetalAK)
	m.AK.Flush()
	m.EK.Flush()
	g.V.DefineNV(nvEKCertECC, g.Certificates(m.EKChain)[0].Raw)
	g.Write(productName, []byte("Rack server\n"))
	g.Write(CCEL, m.Guest.CCEL)
	g.quote = func(reportData [64]byte) []byte { return m.Chip.Quote(m.TD(reportData)) }
	return g
}

// Write writes one of the kernel's files.
func (g *Guest) Write(path string, b []byte) {
	g.t.Helper()
	full := filepath.Join(g.Root, path)
	if err := errors.Join(os.MkdirAll(filepath.Dir(full), 0o755), os.WriteFile(full, b, 0o644)); err != nil {
		g.t.Fatal(err)
	}
}

// Certificates parses a chain.
func (g *Guest) Certificates(chain []byte) []*x509.Certificate {
	g.t.Helper()
	return must.Get(x509.ParseCertificates(chain))
}

// PEM writes certificates to a file, and returns its path.
func (g *Guest) PEM(certs ...*x509.Certificate) string {
	g.t.Helper()
	path := filepath.Join(g.t.TempDir(), "chain.pem")
	if err := os.WriteFile(path, cert.PEM(certs...), 0o644); err != nil {
		g.t.Fatal(err)
	}
	return path
}

// TPM opens the guest's TPM.
func (g *Guest) TPM() (transport.TPMCloser, error) {
	if g.open != nil {
		return g.open()
	}
	return importer.OpenTPM(g.V.Socket)
}

// TSM is configfs-tsm in the guest.
func (g *Guest) TSM() (configfsi.Client, error) {
	return newTSM(func(reportData [64]byte) ([]byte, error) { return g.padded(reportData), nil }), nil
}

func (g *Guest) padded(reportData [64]byte) []byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	q := g.quote(reportData)
	return append(q, make([]byte, buffer-len(q))...)
}

// newTSM is faketsm with the quotes of a TDX guest.
func newTSM(quote func(reportData [64]byte) ([]byte, error)) configfsi.Client {
	sub := faketsm.Report611(0)
	sub.ReadAttr = func(e *faketsm.ReportEntry, attr string) ([]byte, error) {
		switch attr {
		case "provider":
			return []byte("tdx_guest\n"), nil
		case "outblob":
			in := e.InAttrs["inblob"]
			if in == nil || len(in.Value) != 64 {
				return nil, os.ErrInvalid
			}
			return quote([64]byte(in.Value))
		}
		return nil, os.ErrNotExist
	}
	return &faketsm.Client{Subsystems: map[string]configfsi.Client{"report": sub}}
}

// Host starts the guest's host for processes of their own, and returns its address. It ends with
// the test.
func (g *Guest) Host() string {
	g.t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rd, err := hex.DecodeString(r.URL.Query().Get("reportdata"))
		if err != nil || len(rd) != 64 {
			http.Error(w, "want 64 bytes", http.StatusBadRequest)
			return
		}
		_, _ = w.Write(g.padded([64]byte(rd))) // the guest may have been killed
	}))
	g.t.Cleanup(srv.Close)
	return srv.URL
}

// RemoteTSM is configfs-tsm in a guest of the host at an address.
func RemoteTSM(address string) configfsi.Client {
	return newTSM(func(reportData [64]byte) ([]byte, error) {
		resp, err := http.Get(fmt.Sprintf("%s/?reportdata=%x", address, reportData))
		if err != nil {
			return nil, err
		}
		defer resp.Body.Close()
		return io.ReadAll(io.LimitReader(resp.Body, buffer))
	})
}
