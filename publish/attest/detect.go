package attest

import (
	"path/filepath"
	"strings"

	"github.com/google/go-tpm/tpm2/transport"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/publish/importer"
	"github.com/poclog/poclog/verify/tpm"
)

// A Cloud is where a machine runs, as its DMI says.
type Cloud string

// The clouds that are told apart.
const (
	GCE   Cloud = "gce"
	Azure Cloud = "azure"
	Other Cloud = "other" // a bare-metal machine's guest, or another cloud's
)

// azureAssetTag is the chassis asset tag of every Azure VM.
const azureAssetTag = "7783-7084-3265-9085-8269-3286-77"

const dmiFolder = "/sys/class/dmi/id"

// maxDMI is over what any DMI string has.
const maxDMI = 4096

// cloud reads the machine's DMI. It is a hint about which profile to take, and proves nothing: the
// evidence does.
func (m *Machine) cloud() Cloud {
	switch {
	case m.dmi("product_name") == "Google Compute Engine" || m.dmi("sys_vendor") == "Google":
		return GCE
	case m.dmi("chassis_asset_tag") == azureAssetTag:
		return Azure
	}
	return Other
}

func (m *Machine) dmi(name string) string {
	b, err := m.readFile(dmiFolder+"/"+name, maxDMI)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// readFile reads one of the kernel's files.
func (m *Machine) readFile(path string, max int) ([]byte, error) {
	return readBounded(filepath.Join("/", m.Root, path), max)
}

// Profile returns the profile of evidence that the machine can give: that of the options, or by the
// cloud. A machine that is neither of Compute Engine nor of Azure is a bare-metal one if an AK is
// named, and gives a bare TD quote otherwise.
func (m *Machine) Profile(o *Options) (poclog.Profile, error) {
	if o.Profile != "" {
		return o.Profile, nil
	}
	switch m.cloud() {
	case GCE:
		return poclog.GCETDXvTPM, nil
	case Azure:
		return m.azureProfile()
	}
	if o.AKHandle != 0 || len(o.AKTemplate) > 0 {
		return poclog.BareMetalTDXTPM, nil
	}
	return poclog.TDX, nil
}

// azureProfile asks the paravisor: the HCL report says which technology runs the VM.
func (m *Machine) azureProfile() (poclog.Profile, error) {
	hcl, err := m.hcl()
	if err != nil {
		return "", err
	}
	if hcl.Type == tpm.HCLTypeSNP {
		return poclog.AzureSNPvTPM, nil
	}
	return poclog.AzureTDXvTPM, nil
}

// hcl reads the HCL report of an Azure VM.
func (m *Machine) hcl() (*tpm.HCL, error) {
	t, err := m.openTPM()
	if err != nil {
		return nil, err
	}
	defer t.Close() // it was read
	return readHCL(t)
}

func readHCL(t transport.TPM) (*tpm.HCL, error) {
	_, hcl, err := importer.ReadHCL(t)
	if err != nil {
		return nil, &MissingError{PieceTEE, err, RunInAzure}
	}
	return hcl, nil
}
