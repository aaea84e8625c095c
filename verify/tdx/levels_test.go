package tdx

import (
	"strings"
	"testing"

	"github.com/poclog/poclog/verify"
)

func levelOf(status string, pcesvn, isvsvn uint16) tcbLevel {
	l := tcbLevel{Status: status}
	l.TCB.PCESVN, l.TCB.ISVSVN = pcesvn, isvsvn
	l.TCB.SGX, l.TCB.TDX = make([]component, 16), make([]component, 16)
	return l
}

// judged is collateral that a standing just reaches, and the standing.
func judged() (*Collateral, *Standing) {
	signer, attributes := make([]byte, 48), make([]byte, 8)
	signer[0], attributes[0] = 9, 0x10
	module := tdxModule{ID: "TDX_01", MRSigner: signer, Attributes: attributes, Mask: []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f}, Levels: []tcbLevel{levelOf(upToDate, 0, 4), levelOf(outOfDate, 0, 2)}}
	best, older := levelOf(upToDate, 11, 0), levelOf(outOfDate, 5, 0)
	s := &Standing{PCESVN: 11, TEETCBSVN: [16]byte{4, 1}, MRSIGNERSEAM: [48]byte(signer), SEAMAttributes: [8]byte(attributes)}
	for i := range 16 {
		best.TCB.SGX[i].SVN, older.TCB.SGX[i].SVN, s.SVN[i] = 3, 2, 3
		if i >= 2 {
			best.TCB.TDX[i].SVN, older.TCB.TDX[i].SVN, s.TEETCBSVN[i] = 6, 5, 6
		}
	}
	c := new(Collateral)
	c.tcbInfo = tcbInfo{Module: module, Modules: []tdxModule{{ID: "TDX_03"}, module}, head: head{Levels: []tcbLevel{best, older}}}
	c.tcbInfo.Module.Levels = nil
	c.qeIdentity = qeIdentity{
		MiscSelect: []byte{0, 0, 0, 1}, MiscMask: []byte{0xff, 0xff, 0xff, 0xff}, Attributes: []byte{0x11, 15: 0}, AttributesMask: []byte{0xfb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 15: 0},
		MRSigner: []byte{0xdc, 31: 0}, ProdID: 2, head: head{Levels: []tcbLevel{levelOf(upToDate, 0, 8), levelOf(outOfDate, 0, 6)}},
	}
	s.QEMiscSelect, s.QEAttributes, s.QEMRSigner, s.QEProdID, s.QESVN = 1, [16]byte{0x11}, [32]byte{0xdc}, 2, 8
	return c, s
}

// Every part of a TCB level counts, at its boundary.
func TestEveryPartOfATCBLevelCounts(t *testing.T) {
	type change func(c *Collateral, s *Standing)
	base := func(f change) change { // the module of TDX 1.0 has no version: bytes 0 and 1 are judged by the platform's levels
		return func(c *Collateral, s *Standing) {
			s.TEETCBSVN[0], s.TEETCBSVN[1] = 3, 0
			c.tcbInfo.Levels[0].TCB.TDX[0].SVN = 3
			if f != nil {
				f(c, s)
			}
		}
	}
	cases := map[string]struct {
		change change
		want   string // a status, or a part of the refusal
	}{
		"as it is":                        {nil, upToDate},
		"PCESVN one lower":                {func(_ *Collateral, s *Standing) { s.PCESVN = 10 }, outOfDate},
		"PCESVN at the older level":       {func(_ *Collateral, s *Standing) { s.PCESVN = 5 }, outOfDate},
		"PCESVN below all levels":         {func(_ *Collateral, s *Standing) { s.PCESVN = 4 }, "reaches no TCB level"},
		"15 SGX components in a level":    {func(c *Collateral, _ *Standing) { c.tcbInfo.Levels[0].TCB.SGX = make([]component, 15) }, "15 SGX and 16 TDX"},
		"17 TDX components in a level":    {func(c *Collateral, _ *Standing) { c.tcbInfo.Levels[0].TCB.TDX = make([]component, 17) }, "16 SGX and 17 TDX"},
		"no levels":                       {func(c *Collateral, _ *Standing) { c.tcbInfo.Levels = nil }, "reaches no TCB level"},
		"a module that is not known":      {func(_ *Collateral, s *Standing) { s.TEETCBSVN[1] = 2 }, "TDX module TDX_02: the TCB info does not know it"},
		"its module's name in lower case": {func(c *Collateral, _ *Standing) { c.tcbInfo.Modules[1].ID = "tdx_01" }, upToDate},
		"the module's SVN one lower":      {func(_ *Collateral, s *Standing) { s.TEETCBSVN[0] = 3 }, outOfDate},
		"the module's SVN below all":      {func(_ *Collateral, s *Standing) { s.TEETCBSVN[0] = 1 }, "TDX module of SVN 1 reaches no TCB level"},
		"the module's signer":             {func(_ *Collateral, s *Standing) { s.MRSIGNERSEAM[47] = 1 }, "TDX module signed by"},
		"the module's attributes":         {func(_ *Collateral, s *Standing) { s.SEAMAttributes[7] = 1 }, "TDX module with attributes"},
		"attributes beyond the mask":      {func(_ *Collateral, s *Standing) { s.SEAMAttributes[7] = 0x80 }, upToDate},
		"a mask of another length":        {func(c *Collateral, _ *Standing) { c.tcbInfo.Modules[1].Mask = make([]byte, 7) }, "TDX module with attributes"},
		"attributes of another length": {func(c *Collateral, _ *Standing) {
			c.tcbInfo.Modules[1].Attributes = append(c.tcbInfo.Modules[1].Attributes, 0)
		}, "TDX module with attributes"},
		"a module without version":       {base(nil), upToDate},
		"its SVN one lower":              {base(func(_ *Collateral, s *Standing) { s.TEETCBSVN[0] = 2 }), outOfDate},
		"its signer":                     {base(func(_ *Collateral, s *Standing) { s.MRSIGNERSEAM[0] = 1 }), "TDX module signed by"},
		"its attributes":                 {base(func(_ *Collateral, s *Standing) { s.SEAMAttributes[0] = 1 }), "TDX module with attributes"},
		"byte 1 of a level, without one": {base(func(c *Collateral, _ *Standing) { c.tcbInfo.Levels[0].TCB.TDX[1].SVN = 1 }), outOfDate},
		"bytes 0 and 1 of a level, with one": {func(c *Collateral, _ *Standing) {
			c.tcbInfo.Levels[0].TCB.TDX[0].SVN, c.tcbInfo.Levels[0].TCB.TDX[1].SVN = 9, 9
		}, upToDate},
		"the enclave's SVN one lower":    {func(_ *Collateral, s *Standing) { s.QESVN = 7 }, outOfDate},
		"the enclave's SVN below all":    {func(_ *Collateral, s *Standing) { s.QESVN = 5 }, "quoting enclave of SVN 5 reaches no TCB level"},
		"the enclave's MISCSELECT":       {func(_ *Collateral, s *Standing) { s.QEMiscSelect = 1 << 31 }, "quoting enclave with MISCSELECT"},
		"the enclave's attributes":       {func(_ *Collateral, s *Standing) { s.QEAttributes[0] = 0x91 }, "quoting enclave with attributes"},
		"its attributes beyond the mask": {func(_ *Collateral, s *Standing) { s.QEAttributes[0], s.QEAttributes[8] = 0x15, 0xe7 }, upToDate},
		"the enclave's signer":           {func(_ *Collateral, s *Standing) { s.QEMRSigner[31] = 1 }, "quoting enclave signed by"},
		"the enclave's product":          {func(_ *Collateral, s *Standing) { s.QEProdID = 1 }, "quoting enclave with ISVPRODID 1"},
		"a level without statuses to join": {func(c *Collateral, _ *Standing) {
			c.tcbInfo.Levels[0].Status, c.qeIdentity.Levels[0].Status = configuration, swHardening
		}, "a status that can be joined"},
	}
	for i := range 16 {
		name := string(rune('a' + i))
		cases["SGX component "+name+" one lower"] = struct {
			change change
			want   string
		}{func(_ *Collateral, s *Standing) { s.SVN[i] = 2 }, outOfDate}
		cases["SGX component "+name+" below all"] = struct {
			change change
			want   string
		}{func(_ *Collateral, s *Standing) { s.SVN[i] = 1 }, "reaches no TCB level"}
		if i >= 2 {
			cases["TDX component "+name+" one lower"] = struct {
				change change
				want   string
			}{func(_ *Collateral, s *Standing) { s.TEETCBSVN[i] = 5 }, outOfDate}
		}
	}
	for name, c := range cases {
		col, s := judged()
		if c.change != nil {
			c.change(col, s)
		}
		tcb, err := col.tcbOf(s)
		switch {
		case err == nil && tcb.Status != c.want:
			t.Errorf("%s: %s: want %s", name, tcb.Status, c.want)
		case err != nil && !strings.Contains(err.Error(), c.want):
			t.Errorf("%s: %v: want %q", name, err, c.want)
		case err != nil:
			if check, ok := verify.CheckOf(err); !ok || check != verify.TEETCB {
				t.Errorf("%s: refused by %q", name, check)
			}
		}
	}
}
