package azure

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/amd"
	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/internal/lab/gce"
	"github.com/poclog/poclog/internal/must"
	"github.com/poclog/poclog/verify/tpm"
)

// Roots returns the roots that a policy of the realm lab must list to accept this cloud, in a
// policy's order.
func (c *Cloud) Roots() []poclog.Root {
	roots := []poclog.Root{
		{Use: poclog.RootAzureAK, SHA256: poclog.Sum(c.Root()), Name: "Laboratory Virtual TPM root"},
		{Use: poclog.RootIntelSGX, SHA256: poclog.Sum(c.Intel.Root()), Name: "Laboratory SGX Root CA"},
	}
	for _, product := range c.products() {
		roots = append(roots, poclog.Root{Use: poclog.RootAMDARK, SHA256: poclog.Sum(c.AMD[product].Root()), Name: "Laboratory ARK-" + product})
	}
	slices.SortFunc(roots, func(a, b poclog.Root) int {
		return strings.Compare(string(a.Use)+a.SHA256.String(), string(b.Use)+b.SHA256.String())
	})
	return roots
}

// VMConfig says how a VM is made. The zero value boots the cloud's first image.
type VMConfig struct {
	Image   *gce.Image
	Version int           // of what the chip signs: TDX quotes 4 (also 0) or 5, SNP reports 2 to 5, 0 is 3
	Masked  bool          // the host masks CHIP_ID
	Loaded  *amd.CloudKey // the chip signs by a cloud's key; nil: by its own
}

// A VM is a confidential VM of Azure's kind.
type VM struct {
	Config VMConfig
	ID     string // UUID
	Host   *Host
	TPM    *gce.TPM
	EK     *rsa.PublicKey

	cloud *Cloud
}

// NewVM makes a VM and boots it on the host.
func (h *Host) NewVM(cfg VMConfig) *VM {
	c := h.cloud
	if cfg.Image == nil {
		cfg.Image = c.Images[0]
	}
	label := fmt.Sprintf("azure VM %d", len(c.VMs))
	sum := sha256.Sum256([]byte(c.Seed + "\n" + label))
	v := &VM{Config: cfg, Host: h, EK: endorsementKey(c.Seed, label), cloud: c}
	v.ID = fmt.Sprintf("%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
	ak := gce.NewRSAKey(c.Seed, label)
	t := must.Get(gce.NewTPM(ak, c.Certify(ak.Public(), h.Region, hex.EncodeToString(sum[20:26])+Confidential)))
	t.Firmware = 0x2016051100162800
	v.TPM = t
	t.Start(c.Now, cfg.Image)
	c.VMs = append(c.VMs, v)
	return v
}

// endorsementKey makes up a public key: nobody decrypts with it.
func endorsementKey(seed, label string) *rsa.PublicKey {
	var n []byte
	for i := range 8 {
		sum := sha256.Sum256(fmt.Appendf(nil, "poclog lab azure EK\n%s\n%s\n%d", seed, label, i))
		n = append(n, sum[:]...)
	}
	n[0] |= 0x80
	n[len(n)-1] |= 1
	return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: 65537}
}

// Reboot resets the VM where it runs.
func (v *VM) Reboot() { v.TPM.Start(v.cloud.Now, v.Config.Image) }

// Move stops the VM and boots it on another host of the same maker.
func (v *VM) Move(h *Host) {
	v.Host = h
	v.Reboot()
}

// A Claims is what an HCL report's JSON says.
type Claims struct {
	AK, EK   *rsa.PublicKey // EK may be nil
	VMID     string
	UserData [64]byte
}

// Claims returns what the VM's paravisor says, with the guest's user data.
func (v *VM) Claims(userData [64]byte) Claims {
	return Claims{AK: v.TPM.AK.Public().(*rsa.PublicKey), EK: v.EK, VMID: v.ID, UserData: userData}
}

// JSON writes the claims as the paravisor does.
func (c Claims) JSON() []byte {
	var keys []string
	for _, k := range []struct {
		kid, op string
		key     *rsa.PublicKey
	}{{"HCLAkPub", "sign", c.AK}, {"HCLEkPub", "encrypt", c.EK}} {
		if k.key != nil {
			keys = append(keys, fmt.Sprintf(`{"kid":%q,"key_ops":[%q],"kty":"RSA","e":"AQAB","n":%q}`, k.kid, k.op, base64.RawURLEncoding.EncodeToString(k.key.N.Bytes())))
		}
	}
	return fmt.Appendf(nil, `{"keys":[%s],"vm-configuration":{"root-cert-thumbprint":"","console-enabled":true,"secure-boot":true,"tpm-enabled":true,`+
		`"tpm-persisted":false,"filtered-vpci-devices-allowed":false,"vmUniqueId":%q},"user-data":"%X"}`, strings.Join(keys, ","), c.VMID, c.UserData[:])
}

// HCL puts an HCL report together: of a hardware report (an SNP report or a TDREPORT, by the type
// of package tpm) and JSON.
func HCL(kind uint32, hardware, claims []byte) []byte {
	const header, room = 32, 1184
	u32 := binary.LittleEndian.AppendUint32
	b := u32(u32(u32([]byte("HCLA"), 2), header+room+20+uint32(len(claims))), 2)
	b = append(b, make([]byte, header-len(b))...)
	b = append(append(b, hardware...), make([]byte, room-len(hardware))...)
	for _, field := range []uint32{20 + uint32(len(claims)), 1, kind, 1, uint32(len(claims))} {
		b = u32(b, field)
	}
	return append(b, claims...)
}

// ReportData is what the paravisor puts into the hardware's report: the hash of the JSON.
func ReportData(claims []byte) (rd [64]byte) {
	sum := sha256.Sum256(claims)
	copy(rd[:], sum[:])
	return rd
}

// TD returns what a chip of Intel's would say of the VM.
func (v *VM) TD(reportData [64]byte) chip.TD {
	return chip.TD{Version: v.Config.Version, MRTD: v.cloud.Paravisor, ReportData: reportData}
}

// Guest returns what a chip of AMD's would say of the VM.
func (v *VM) Guest(reportData [64]byte) amd.Guest {
	return amd.Guest{Version: uint32(v.Config.Version), Measurement: v.cloud.Paravisor, ReportData: reportData, Masked: v.Config.Masked}
}

// Certs returns the certificates of the key that signs the VM's SNP reports.
func (v *VM) Certs() []byte {
	if v.Config.Loaded != nil {
		return v.Config.Loaded.Certs()
	}
	return v.Host.SNP.Certs()
}

// Selection is what these VMs quote.
var Selection = []tpm.PCRSelection{{Alg: tpm.SHA256, PCRs: []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23}}}

// Prove answers a challenge with a bundle of profile azure-tdx-vtpm or azure-snp-vtpm, by the
// host's chip. Without a challenge the user data is zero.
func (v *VM) Prove(challenge *poclog.Challenge) (*poclog.Bundle, error) {
	var user [64]byte
	b := new(poclog.Bundle)
	if challenge != nil {
		user = challenge.HCLUserData()
		item, err := challenge.Marshal()
		if err != nil {
			return nil, err
		}
		b.Set(poclog.ItemChallenge, item)
	}
	claims := v.Claims(user).JSON()
	var tee []byte
	switch {
	case v.Host.TDX != nil:
		td := v.TD(ReportData(claims))
		tee = v.Host.TDX.Quote(td)
		b.Set(poclog.ItemTDXQuote, tee)
		b.Set(poclog.ItemHCLReport, HCL(tpm.HCLTypeTDX, td.Report(), claims))
	case v.Host.SNP != nil:
		tee = v.Host.SNP.Report(v.Guest(ReportData(claims)), v.Config.Loaded)
		b.Set(poclog.ItemSNPReport, tee)
		b.Set(poclog.ItemSNPCerts, v.Certs())
		b.Set(poclog.ItemHCLReport, HCL(tpm.HCLTypeSNP, tee, claims))
	default:
		return nil, errors.New("the host has no chip")
	}
	sum := sha256.Sum256(tee)
	quote, values, err := v.TPM.QuoteOf(sum[:], v.cloud.Now, Selection)
	if err != nil {
		return nil, fmt.Errorf("prove %s: %w", v.ID, err)
	}
	b.Set(poclog.ItemTPMQuote, quote)
	b.Set(poclog.ItemTPMPCRs, values)
	b.Set(poclog.ItemTPMAK, bytes.Clone(v.TPM.Public))
	b.Set(poclog.ItemTPMAKChain, v.TPM.Chain)
	return b, nil
}
