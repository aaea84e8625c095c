package snp

import (
	"bytes"
	"testing"

	"github.com/google/go-sev-guest/abi"

	"github.com/poclog/poclog/internal/lab/amd"
	"github.com/poclog/poclog/internal/realdata/amddata"
)

// Whatever parses here go-sev-guest parses too, and writes again as it was: nothing stands in a
// report that only one of two readers sees.
func FuzzParseReport(f *testing.F) {
	real, _ := amddata.Report()
	f.Add(real)
	for version := byte(3); version <= 5; version++ {
		other := bytes.Clone(real)
		other[0], other[0x188], other[0x189] = version, 0x19, 0x11
		f.Add(other)
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, item []byte) {
		r, err := ParseReport(item)
		if err != nil {
			return
		}
		proto, err := abi.ReportToProto(item)
		if err != nil {
			t.Fatalf("go-sev-guest refuses it: %v", err)
		}
		if proto.Version != r.Version || proto.Policy != r.Policy || proto.Vmpl != r.VMPL || proto.GuestSvn != r.GuestSVN ||
			!bytes.Equal(proto.Measurement, r.Measurement[:]) || !bytes.Equal(proto.ReportData, r.ReportData[:]) || !bytes.Equal(proto.ChipId, r.ChipID[:]) ||
			!bytes.Equal(proto.IdKeyDigest, r.IDKeyDigest[:]) || !bytes.Equal(proto.HostData, r.HostData[:]) {
			t.Fatalf("go-sev-guest reads another report: %v", proto)
		}
		_ = r.CheckNoDebug()
		_ = r.CheckVMPL()
		_ = r.Frame()
	})
}

func FuzzParseChain(f *testing.F) {
	report, certs := amddata.Report()
	f.Add(certs)
	for _, ders := range amddata.Chains() {
		f.Add(append(bytes.Clone(amd.Certificates(certs)[0]), ders...))
	}
	f.Add([]byte{})
	r, err := ParseReport(report)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, item []byte) {
		c, err := ParseChain(item)
		if err != nil {
			return
		}
		if !bytes.Equal(bytes.Join([][]byte{c.Leaf.Raw, c.CA.Raw, c.Root.Raw}, nil), item) {
			t.Fatal("the certificates are not the item's bytes")
		}
		_, _ = c.ChipID(r)
		_ = r.CheckSignature(c)
		_ = c.CheckChain(r, nil, labNow)
		_ = SecondOpinion(r, c, labNow)
	})
}
