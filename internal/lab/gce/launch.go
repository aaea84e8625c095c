package gce

import (
	"crypto/rsa"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"fmt"
	"sync"
	"time"

	"github.com/google/gce-tcb-verifier/proto/endorsement"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/cert"
	"github.com/poclog/poclog/internal/lab/derive"
	"github.com/poclog/poclog/internal/must"
)

// A Firmware is what VMs launch with. Its launch measurement depends on the VM's memory.
type Firmware struct {
	Name   string
	Digest [48]byte // of the firmware's file
}

// NewFirmware makes up a firmware. Whoever does not own the cloud's keys can too, but not endorse
// it.
func NewFirmware(seed, name string) *Firmware {
	return &Firmware{Name: name, Digest: [48]byte(octets(48, seed, "firmware", name))}
}

// MemorySizes are the sizes of VMs, in GiB.
var MemorySizes = []uint32{16, 64, 256}

// MRTD returns the launch measurement of a VM with so much memory, in GiB.
func (f *Firmware) MRTD(memory uint32) [48]byte {
	return sha512.Sum384(fmt.Appendf(f.Digest[:len(f.Digest):len(f.Digest)], "MRTD %d GiB", memory))
}

// launchSigner signs endorsements. Its RSA key is made when it is first needed: that takes a tenth
// of a second.
type launchSigner struct {
	root cert.Issued
	seed string
	from time.Time

	once sync.Once
	key  *rsa.PrivateKey
	cert *x509.Certificate
}

func (l *launchSigner) open() {
	l.once.Do(func() {
		l.key = derive.RSA(part, l.seed, "launch endorsements")
		t := &x509.Certificate{
			Subject: pkix.Name{CommonName: "GCE-uefi-signer", Organization: []string{"poclog laboratory"}}, NotAfter: l.from.AddDate(validYears, 0, 0),
			KeyUsage: x509.KeyUsageDigitalSignature,
		}
		l.cert = l.root.Sign(complete(l.seed, t), l.key.Public())
	})
}

// Endorse signs a firmware's launch measurements, in the form of Google's VMLaunchEndorsement
// (gce-tcb-verifier, proto/endorsement.proto).
func (c *Cloud) Endorse(f *Firmware) *poclog.CollateralItem { return c.EndorseAs(f, nil) }

// EndorseAs is Endorse with a statement that was changed before it was signed.
func (c *Cloud) EndorseAs(f *Firmware, change func(*endorsement.VMGoldenMeasurement)) *poclog.CollateralItem {
	c.launch.open()
	tdx := &endorsement.VMTdx{Svn: 1}
	for _, size := range MemorySizes {
		mrtd := f.MRTD(size)
		tdx.Measurements = append(tdx.Measurements, &endorsement.VMTdx_Measurement{RamGib: size, Mrtd: mrtd[:]})
	}
	golden := &endorsement.VMGoldenMeasurement{
		Timestamp: timestamppb.New(c.from), ClSpec: 1, Commit: octets(20, c.Seed, f.Name, "commit"), Cert: c.launch.cert.Raw, Digest: f.Digest[:],
		CaBundle: cert.PEM(c.launch.root.Cert), Tdx: tdx,
	}
	if change != nil {
		change(golden)
	}
	mrtd := f.MRTD(MemorySizes[0])
	return &poclog.CollateralItem{
		Kind: poclog.LaunchEndorsement, Chain: cert.PEM(c.launch.root.Cert), Body: c.launch.sign(golden),
		URL: "https://lab.poclog.dev/gce_tcb_integrity/ovmf_x64_csm/tdx/" + hex.EncodeToString(mrtd[:]) + ".binarypb",
	}
}

// sign makes a VMLaunchEndorsement of a statement.
func (l *launchSigner) sign(statement *endorsement.VMGoldenMeasurement) []byte {
	golden := must.Get(proto.MarshalOptions{Deterministic: true}.Marshal(statement))
	return must.Get(proto.MarshalOptions{Deterministic: true}.Marshal(&endorsement.VMLaunchEndorsement{
		SerializedUefiGolden: golden, Signature: must.Get(signPSS(l.key, golden)),
	}))
}
