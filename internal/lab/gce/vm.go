package gce

import (
	"crypto"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/verify/tpm"
)

// VMConfig says how a VM is made. The zero value is a VM of 16 GiB that boots the cloud's first
// image and quotes in version 4.
type VMConfig struct {
	Image    *Image    // nil: the cloud's first
	Firmware *Firmware // nil: the cloud's
	Memory   uint32    // GiB, one of MemorySizes; 0 is the first
	Version  int       // of TD quotes: 4 (also 0) or 5
	BodyType int       // of version 5: 2 (also 0) or 3
	RSA      bool      // RSA attestation key, which takes a tenth of a second to make; P-256 otherwise
	NoPZID   bool      // MROWNER is zero, as before Google's roll-out
}

// A VM is a confidential VM. Stopped, it is on no host.
type VM struct {
	Config VMConfig
	TPM    *TPM
	Host   *Host // nil when stopped
	Socket int
	RTMR3  [48]byte // what the guest extended since it booted

	cloud *Cloud
}

// project is the customer of all VMs.
const (
	projectNumber = 424242424242
	projectID     = "poclog-laboratory"
)

// NewVM makes an instance in the host's zone and boots it on one of the host's chips.
func (h *Host) NewVM(socket int, cfg VMConfig) (*VM, error) {
	c := h.cloud
	if cfg.Image == nil {
		cfg.Image = c.Images[0]
	}
	if cfg.Firmware == nil {
		cfg.Firmware = c.Firmware
	}
	if cfg.Memory == 0 {
		cfg.Memory = MemorySizes[0]
	}
	v := &VM{Config: cfg, cloud: c}
	g := tpm.GCEInstance{
		Zone: h.Zone, ProjectNumber: projectNumber, ProjectID: projectID, InstanceName: fmt.Sprintf("vm-%d", len(c.VMs)), SecurityVersion: 1,
		Production: true,
	}
	g.InstanceID = binary.BigEndian.Uint64(octets(8, c.Seed, "instance", g.InstanceName))>>1 | 1
	var err error
	if v.TPM, err = c.newTPM(g, cfg.RSA); err != nil {
		return nil, fmt.Errorf("new VM %s: %w", g.InstanceName, err)
	}
	if err := v.Start(h, socket); err != nil {
		return nil, err
	}
	c.VMs = append(c.VMs, v)
	return v, nil
}

// Start boots a stopped VM on a chip of its zone.
func (v *VM) Start(h *Host, socket int) error {
	switch g := &v.TPM.Instance; {
	case v.Host != nil:
		return fmt.Errorf("start %s: it runs on %s", g.InstanceName, v.Host.Name)
	case h.Zone != g.Zone:
		return fmt.Errorf("start %s: it belongs to %s, %s stands in %s", g.InstanceName, g.Zone, h.Name, h.Zone)
	case socket < 0 || socket >= len(h.Sockets):
		return fmt.Errorf("start %s: %s has no socket %d", g.InstanceName, h.Name, socket)
	}
	v.Host, v.Socket, v.RTMR3 = h, socket, [48]byte{}
	v.TPM.Start(v.cloud.Now, v.Config.Image)
	return nil
}

// Stop shuts the VM down.
func (v *VM) Stop() {
	v.TPM.stop(v.cloud.Now)
	v.Host = nil
}

// Reboot resets the VM where it runs.
func (v *VM) Reboot() error {
	if v.Host == nil {
		return fmt.Errorf("reboot %s: it is stopped", v.TPM.Instance.InstanceName)
	}
	v.RTMR3 = [48]byte{}
	v.TPM.Start(v.cloud.Now, v.Config.Image)
	return nil
}

// Extend has the guest extend RTMR3, as dstack does with its applications: no event log has an
// event of it.
func (v *VM) Extend(digest [48]byte) {
	v.RTMR3 = [48]byte(extend(crypto.SHA384, v.RTMR3[:], digest[:]))
}

// Resume continues the VM after it was suspended: the TPM counts a restart and keeps its registers.
func (v *VM) Resume() { v.TPM.RestartCount++ }

// Move stops the VM and boots it on another chip of its zone.
func (v *VM) Move(h *Host, socket int) error {
	v.Stop()
	return v.Start(h, socket)
}

// Platform returns the chip on which the VM runs, or nil.
func (v *VM) Platform() *chip.Platform {
	if v.Host == nil {
		return nil
	}
	return v.Host.Sockets[v.Socket]
}

// TD returns what the chip would say of the VM.
func (v *VM) TD(reportData [64]byte) chip.TD {
	td := chip.TD{
		Version: v.Config.Version, BodyType: v.Config.BodyType, MRTD: v.Config.Firmware.MRTD(v.Config.Memory), RTMRs: v.Config.Image.RTMRs,
		ReportData: reportData,
	}
	td.RTMRs[3] = v.RTMR3
	if !v.Config.NoPZID {
		td.MROwner = v.TPM.Instance.PZID()
	}
	return td
}

// Evidence is what a bundle of profile gce-tdx-vtpm or baremetal-tdx-tpm is made of. Its parts need
// not fit each other.
type Evidence struct {
	TDXQuote  []byte
	TPMQuote  []byte
	PCRs      []byte
	AK        []byte // TPMT_PUBLIC
	AKChain   []byte
	EKChain   []byte // of bare metal
	TCGLog    []byte
	CCEL      []byte
	Challenge *poclog.Challenge // nil makes historical evidence
}

// Bundle puts the parts together.
func (e *Evidence) Bundle() (*poclog.Bundle, error) {
	b := new(poclog.Bundle)
	for item, value := range map[poclog.Item][]byte{
		poclog.ItemTDXQuote: e.TDXQuote, poclog.ItemTPMQuote: e.TPMQuote, poclog.ItemTPMPCRs: e.PCRs, poclog.ItemTPMAK: e.AK,
		poclog.ItemTPMAKChain: e.AKChain, poclog.ItemTPMEKChain: e.EKChain, poclog.ItemTCGLog: e.TCGLog, poclog.ItemCCEL: e.CCEL,
	} {
		b.Set(item, value)
	}
	if e.Challenge != nil {
		challenge, err := e.Challenge.Marshal()
		if err != nil {
			return nil, err
		}
		b.Set(poclog.ItemChallenge, challenge)
	}
	return b, nil
}

// Evidence answers a challenge: the TD's quote names AK and nonce, the TPM's quote names the TD's
// quote. Without a challenge the nonce is zero.
func (v *VM) Evidence(challenge *poclog.Challenge) (*Evidence, error) {
	p := v.Platform()
	if p == nil {
		return nil, fmt.Errorf("prove %s: it is stopped", v.TPM.Instance.InstanceName)
	}
	var reportData [64]byte
	if challenge != nil {
		reportData = challenge.ReportData(v.TPM.Public)
	} else {
		sum := sha256.Sum256(v.TPM.Public)
		copy(reportData[:], sum[:])
	}
	e := &Evidence{
		TDXQuote: p.Quote(v.TD(reportData)), AK: v.TPM.Public, AKChain: v.TPM.Chain, TCGLog: v.Config.Image.TCGLog, CCEL: v.Config.Image.CCEL,
		Challenge: challenge,
	}
	sum := sha256.Sum256(e.TDXQuote)
	var err error
	if e.TPMQuote, e.PCRs, err = v.TPM.Quote(sum[:], v.cloud.Now); err != nil {
		return nil, fmt.Errorf("prove %s: %w", v.TPM.Instance.InstanceName, err)
	}
	return e, nil
}

// Prove answers a challenge with a bundle of profile gce-tdx-vtpm; see [VM.Evidence].
func (v *VM) Prove(challenge *poclog.Challenge) (*poclog.Bundle, error) {
	e, err := v.Evidence(challenge)
	if err != nil {
		return nil, err
	}
	return e.Bundle()
}
