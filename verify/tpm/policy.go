package tpm

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/poclog/poclog/verify"
)

// launchPCRs hold a dynamic launch (Intel TXT): nothing but the CPU's launch instruction, at
// locality 4, resets them to zero.
var launchPCRs = []int{17, 18}

// LaunchBanks are the banks in which a dynamic launch may be judged. SHA-1 is none of them: its
// values can be made to collide.
var LaunchBanks = []Alg{SHA256, SHA384}

// Launch returns the values of PCR 17 and 18 in a bank, if the quote selected both.
func (v *PCRValues) Launch(alg Alg) (pcr17, pcr18 []byte, ok bool) {
	pcr17, ok17 := v.Get(alg, launchPCRs[0])
	pcr18, ok18 := v.Get(alg, launchPCRs[1])
	return pcr17, pcr18, ok17 && ok18
}

// CheckAKPolicy verifies that a key signs only while PCR 17 and 18 hold the values that a quote
// shows, and returns the bank of these values. The key's authPolicy must be, byte for byte, the
// digest of one TPM2_PolicyPCR over both registers of one bank: an alternative (TPM2_PolicyOR), a
// key that may approve others (TPM2_PolicyAuthorize) or any further term makes another digest. And
// userWithAuth must be clear, or the key's password would do as well: commands that sign demand the
// USER role. What adminWithPolicy says does not matter, as no command of the ADMIN role signs (Part
// 1, §19.2; Part 3, §18). The values must have been authenticated. Failures are
// [verify.TPMAKPolicy].
func CheckAKPolicy(p *Public, v *PCRValues) (Alg, error) {
	alg, err := p.launchBank(v)
	if err != nil {
		return 0, verify.Failf(verify.TPMAKPolicy, "AK: %w", err)
	}
	return alg, nil
}

func (p *Public) launchBank(v *PCRValues) (Alg, error) {
	switch {
	case len(p.authPolicy) == 0:
		return 0, errors.New("no policy: it signs whatever was launched")
	case !p.PolicyOnly():
		return 0, fmt.Errorf("attributes %#08x: userWithAuth is set, so it signs with a password whatever was launched", p.attributes)
	}
	covered := false
	for _, alg := range LaunchBanks {
		pcr17, pcr18, ok := v.Launch(alg)
		if !ok {
			continue
		}
		covered = true
		if bytes.Equal(p.authPolicy, LaunchPolicy(p.nameAlg, alg, pcr17, pcr18)) {
			return alg, nil
		}
	}
	if !covered {
		return 0, errors.New("the quote covers PCR 17 and 18 in no bank of SHA-256 or SHA-384")
	}
	return 0, fmt.Errorf("authPolicy %x is not TPM2_PolicyPCR over PCR 17 and 18 with the values that the quote shows", p.authPolicy)
}

// LaunchPolicy returns the authPolicy of a key that signs only while PCR 17 and 18 of a bank have
// these values. nameAlg is the key's.
func LaunchPolicy(nameAlg, bank Alg, pcr17, pcr18 []byte) []byte {
	d := nameAlg.Hash().New()
	d.Write(pcr17)
	d.Write(pcr18)
	return PolicyPCRDigest(nameAlg, []PCRSelection{{Alg: bank, PCRs: launchPCRs}}, d.Sum(nil))
}
