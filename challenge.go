package poclog

import (
	"crypto/sha256"
	"fmt"

	"github.com/poclog/poclog/internal/canon"
)

// A Challenge ties evidence to a moment: its nonce is made from a signed checkpoint, whose
// witnesses' timestamped cosignatures nobody can predict (docs/format.md §5). Whoever knows the
// nonce's evidence knows that it was made after those signatures.
type Challenge struct {
	Profile    Profile  // the profile under which the evidence is made
	Checkpoint []byte   // the signed checkpoint, exactly as served
	Salt       [32]byte // random: keeps two challenges from one checkpoint apart
	UserData   Digest   // SHA-256 of what the proof speaks for, such as a TLS key; of nothing if there is nothing
}

// challengeContext separates the nonce from every other use of SHA-256.
const challengeContext = "poclog/challenge/v1\n"

// Nonce returns SHA-256(context ‖ profile ‖ "\n" ‖ SHA-256(checkpoint) ‖ salt ‖ SHA-256(user
// data)).
func (c *Challenge) Nonce() [32]byte {
	cp := sha256.Sum256(c.Checkpoint)
	h := sha256.New()
	h.Write([]byte(challengeContext + string(c.Profile) + "\n"))
	h.Write(cp[:])
	h.Write(c.Salt[:])
	h.Write(c.UserData[:])
	return [32]byte(h.Sum(nil))
}

// ReportData returns the 64 bytes of REPORTDATA (TDX) or REPORT_DATA (SEV-SNP): SHA-256(TPMT_PUBLIC
// of the AK) ‖ nonce, with zeros for the AK where ak is empty.
func (c *Challenge) ReportData(ak []byte) [64]byte { return ReportData(ak, c.Nonce()) }

// ReportData returns a report data of an AK's TPMT_PUBLIC, or of none, and a nonce.
func ReportData(ak []byte, nonce [32]byte) [64]byte {
	var rd [64]byte
	if len(ak) > 0 {
		sum := sha256.Sum256(ak)
		copy(rd[:], sum[:])
	}
	copy(rd[32:], nonce[:])
	return rd
}

// HCLUserData returns the 64 bytes that an Azure VM sets as the HCL report's user data: nonce ‖
// 0³².
func (c *Challenge) HCLUserData() [64]byte {
	var ud [64]byte
	nonce := c.Nonce()
	copy(ud[:], nonce[:])
	return ud
}

// Marshal returns the challenge as a bundle's item.
func (c *Challenge) Marshal() ([]byte, error) {
	item, err := canon.Write(MaxChallenge, c.code)
	if err != nil {
		return nil, fmt.Errorf("encode challenge: %w", err)
	}
	return item, nil
}

func (c *Challenge) code(x *canon.Codec) {
	x.Lit(`{"v":1`)
	canon.OneOf(x.Member("profile"), "profile", &c.Profile, profileList)
	x.Member("checkpoint").Base64(&c.Checkpoint, MaxChallenge)
	x.Member("salt").Hex(c.Salt[:])
	x.Member("user_data").Hex(c.UserData[:])
	x.Lit("}")
}

// ParseChallenge parses a challenge item. It does not look into the checkpoint.
func ParseChallenge(item []byte) (*Challenge, error) {
	if len(item) > MaxChallenge {
		return nil, fmt.Errorf("challenge of %d bytes: want at most %d", len(item), MaxChallenge)
	}
	var c Challenge
	if err := canon.Read(item, c.code); err != nil {
		return nil, fmt.Errorf("parse challenge: %w", err)
	}
	return &c, nil
}
