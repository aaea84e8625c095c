package snp

import (
	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
)

// CheckTCB holds a platform's firmware to a minimum. AMD publishes no levels with statuses: the
// policy says what is too old. Three versions must reach it in every component: REPORTED_TCB, for
// which the key was derived, so that a chip with older firmware cannot sign; COMMITTED_TCB, or the
// host could go back to older firmware while the VM runs; LAUNCH_TCB, or older firmware could have
// had the VM when it was launched. Neither of the first two may be over CURRENT_TCB. Failures are
// [verify.TEETCB]. The chain must have been checked, for its product says what the components are.
func (c *Chain) CheckTCB(r *Report, min poclog.SNPTCB) error {
	least := TCB{min.Bootloader, min.TEE, 0, 0, 0, 0, min.SNP, min.Microcode}
	if c.version == 1 {
		least = TCB{min.FMC, min.Bootloader, min.TEE, min.SNP, 0, 0, 0, min.Microcode}
	}
	for _, v := range []struct {
		name string
		tcb  TCB
	}{{"REPORTED_TCB", r.Reported}, {"COMMITTED_TCB", r.Committed}, {"LAUNCH_TCB", r.Launch}} {
		if !least.within(v.tcb) {
			return verify.Failf(verify.TEETCB, "%s %x of %s: the policy wants at least %x", v.name, v.tcb, c.Product, least)
		}
	}
	for _, v := range []struct {
		name string
		tcb  TCB
	}{{"REPORTED_TCB", r.Reported}, {"COMMITTED_TCB", r.Committed}} {
		if !v.tcb.within(r.Current) {
			return verify.Failf(verify.TEETCB, "%s %x is over CURRENT_TCB %x", v.name, v.tcb, r.Current)
		}
	}
	return nil
}

// within reports whether no component of t is over that of other.
func (t TCB) within(other TCB) bool {
	for i := range t {
		if t[i] > other[i] {
			return false
		}
	}
	return true
}
