package poclog

import (
	"strconv"
	"strings"
)

const maxKeyType = 8 // bytes: "rsa-2048"

// isKeyType reports whether s names a type of attestation keys: those whose quotes verify.
func isKeyType(s string) bool {
	bits, isRSA := strings.CutPrefix(s, "rsa-")
	if !isRSA {
		return s == "ecc-p256" || s == "ecc-p384"
	}
	n, err := strconv.Atoi(bits)
	return err == nil && n >= 2048 && n <= 4096 && len(bits) == 4
}

func (w *encoder) tpm(t *TPM) {
	if t == nil {
		return
	}
	w.open("tpm", '{')
	w.str("key_type", t.KeyType)
	w.open("pcrs", '[')
	for _, b := range t.PCRs {
		w.sep()
		w.char('{')
		w.str("alg", b.Alg)
		w.open("selected", '[')
		for _, n := range b.Selected {
			w.sep()
			w.number(uint64(n))
		}
		w.char(']')
		if b.Firmware != nil {
			w.hex("firmware", b.Firmware[:])
		}
		w.char('}')
	}
	w.char(']')
	w.hex("pcr_digest", t.PCRDigest)
	w.optionalHex("extra_data", t.ExtraData)
	w.uint64("clock", t.Clock)
	w.uint32("reset_count", t.ResetCount)
	w.uint32("restart_count", t.RestartCount)
	w.bool("safe", t.Safe)
	w.uint64("firmware", t.Firmware)
	w.char('}')
}

func (d *decoder) tpm() *TPM {
	t := new(TPM)
	d.lit("{")
	if t.KeyType = d.str("key_type", maxKeyType); d.err == nil && !isKeyType(t.KeyType) {
		d.fail("key_type %q: want rsa-2048 to rsa-4096, ecc-p256 or ecc-p384", t.KeyType)
	}
	d.open("pcrs", '[')
	for d.next() {
		if len(t.PCRs) == maxBanks {
			d.fail("pcrs: more than %d banks", maxBanks)
			break
		}
		t.PCRs = append(t.PCRs, d.bank())
	}
	d.name("pcr_digest")
	t.PCRDigest = d.hexBytes(64)
	if d.has("extra_data") {
		t.ExtraData = d.hexBytes(64)
	}
	t.Clock = d.uint64("clock")
	t.ResetCount = d.uint32("reset_count")
	t.RestartCount = d.uint32("restart_count")
	t.Safe = d.bool("safe")
	t.Firmware = d.uint64("firmware")
	d.lit("}")
	return t
}

func (d *decoder) bank() PCRBank {
	var b PCRBank
	d.lit("{")
	d.enum("alg", &b.Alg, algNames)
	d.open("selected", '[')
	for d.next() {
		n := d.digits(8)
		if k := len(b.Selected); n > 31 || k > 0 && uint64(b.Selected[k-1]) >= n {
			d.fail("selected PCR %d: want ascending numbers from 0 to 31", n)
			break
		}
		b.Selected = append(b.Selected, uint8(n))
	}
	if d.has("firmware") {
		b.Firmware = new(Digest)
		d.hexInto(b.Firmware[:])
	}
	d.lit("}")
	return b
}
