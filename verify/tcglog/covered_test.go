package tcglog_test

import (
	"crypto/sha256"
	"crypto/sha512"
	"testing"

	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/tcglog"
	"github.com/poclog/poclog/verify/tpm"
)

// heard makes a log of events, by register, and the registers that hear them.
type heard struct {
	log     tcglog.Log
	sha256s map[int][32]byte
}

func newHeard(banks ...tpm.Alg) *heard {
	return &heard{log: tcglog.Log{Kind: tcglog.TPM, Algs: banks}, sha256s: make(map[int][32]byte)}
}

func (h *heard) add(pcr int, kind uint32, what string) {
	d, d384 := sha256.Sum256([]byte(what)), sha512.Sum384([]byte(what))
	e := tcglog.Event{Number: len(h.log.Events), Index: uint32(pcr), Type: kind}
	for _, alg := range h.log.Algs {
		if alg == tpm.SHA256 {
			e.Digests = append(e.Digests, d[:])
		} else {
			e.Digests = append(e.Digests, d384[:])
		}
	}
	h.log.Events = append(h.log.Events, e)
	old := h.sha256s[pcr]
	h.sha256s[pcr] = sha256.Sum256(append(old[:], d[:]...))
}

// quoted are the registers of the SHA-256 bank, as a quote authenticates them.
func (h *heard) quoted(t *testing.T, pcrs ...int) *tpm.PCRValues {
	t.Helper()
	var values []byte
	for _, n := range pcrs {
		v := h.sha256s[n]
		values = append(values, v[:]...)
	}
	v, err := tpm.ParsePCRs(&tpm.Quote{Selection: []tpm.PCRSelection{{Alg: tpm.SHA256, PCRs: pcrs}}}, values)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// A log that stands alone says nothing that a quote does not prove.
func TestALogAloneSaysOnlyWhatWasSigned(t *testing.T) {
	const action = 0x80000007
	story := func(banks ...tpm.Alg) *heard {
		h := newHeard(banks...)
		h.add(0, action, "firmware")
		h.add(7, action, "keys")
		h.add(17, action, "launch module")
		return h
	}
	honest := story(tpm.SHA256, tpm.SHA384)
	for name, c := range map[string]struct {
		signed *tpm.PCRValues
		change func(h *heard)
		want   bool
	}{
		"all covered":                         {honest.quoted(t, 0, 7, 17), nil, true},
		"registers beside them at rest":       {honest.quoted(t, 0, 1, 7, 17), nil, true},
		"a register that the log leaves out":  {honest.quoted(t, 0, 7), nil, false},
		"nothing covered":                     {honest.quoted(t, 20), nil, false},
		"an event less":                       {honest.quoted(t, 0, 7, 17), func(h *heard) { h.log.Events = h.log.Events[:2] }, true}, // a launch need not be in the firmware's log
		"an event of the firmware less":       {honest.quoted(t, 0, 7, 17), func(h *heard) { h.log.Events = h.log.Events[1:] }, false},
		"an event more":                       {honest.quoted(t, 0, 7, 17), func(h *heard) { h.add(7, action, "x") }, false},
		"an event of another register":        {honest.quoted(t, 0, 7, 17), func(h *heard) { h.add(8, action, "x") }, false},
		"an event of a register in no bank":   {honest.quoted(t, 0, 7, 17), func(h *heard) { h.add(23, action, "x") }, false},
		"other digests in the bank not shown": {honest.quoted(t, 0, 7, 17), func(h *heard) { h.log.Events[0].Digests[1][0] ^= 1 }, true},
		"a log of another bank alone":         {honest.quoted(t, 0, 7, 17), func(h *heard) { *h = *story(tpm.SHA384) }, false},
		"an EV_NO_ACTION event": {honest.quoted(t, 0, 7, 17), func(h *heard) {
			h.log.Events = append(h.log.Events, tcglog.Event{Index: 9, Type: 3, Digests: [][]byte{make([]byte, 32), make([]byte, 48)}})
		}, true},
	} {
		h := story(tpm.SHA256, tpm.SHA384)
		if c.change != nil {
			c.change(h)
		}
		err := h.log.CheckCovered(c.signed)
		if (err == nil) != c.want {
			t.Errorf("%s: %v", name, err)
		}
		if check, _ := verify.CheckOf(err); err != nil && check != verify.BindPCRRTMR {
			t.Errorf("%s: refused by %s", name, check)
		}
	}
}
