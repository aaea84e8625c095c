// Package poclog holds the nouns of the Proof-of-Cloud log and their encodings: identities,
// bundles, collateral, challenges, appraisal policies and entries.
//
// The formats are specified in docs/format.md and are forever. Every parser here refuses what the
// package would not itself write, so that for every accepted x, Marshal(Parse(x)) == x;
// FuzzMalleability holds them to it. Sizes are bounded before anything is allocated. Beside the
// standard library the package imports the codec alone, and it judges nothing: verify does.
package poclog

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// Size limits of the formats, in bytes.
const (
	MaxBundle     = 1 << 20 // a bundle, as a file
	MaxCollateral = 1 << 20 // a collateral file
	MaxPolicy     = 1 << 18 // an appraisal policy
	MaxEntry      = 1 << 14 // an entry, as a leaf
	MaxChallenge  = 1 << 17 // a challenge item: 16 ML-DSA signature lines fit
)

// A Digest is a SHA-256 digest; in every format it is 64 lower-case hexadecimal digits.
type Digest [sha256.Size]byte

// Sum returns the digest of b.
func Sum(b []byte) Digest { return sha256.Sum256(b) }

// String returns 64 lower-case hexadecimal digits.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// ParseDigest parses 64 lower-case hexadecimal digits.
func ParseDigest(s string) (Digest, error) {
	var d Digest
	if len(s) != hex.EncodedLen(len(d)) || !isLowerHex(s) {
		return d, fmt.Errorf("digest %.80q: want 64 lower-case hexadecimal digits", s)
	}
	_, err := hex.Decode(d[:], []byte(s))
	return d, err
}

// A Profile is one way of binding a confidential VM to its platform. docs/format.md lists what each
// requires.
type Profile string

// The profiles.
const (
	GCETDXvTPM      Profile = "gce-tdx-vtpm"
	BareMetalTDXTPM Profile = "baremetal-tdx-tpm"
	AzureTDXvTPM    Profile = "azure-tdx-vtpm"
	AzureSNPvTPM    Profile = "azure-snp-vtpm"
	TDX             Profile = "tdx"
	SNP             Profile = "snp"
)

// Profiles returns every profile.
func Profiles() []Profile {
	return []Profile{GCETDXvTPM, BareMetalTDXTPM, AzureTDXvTPM, AzureSNPvTPM, TDX, SNP}
}

// ChipOnly reports whether a profile has no TPM, so that it binds the VM to no place and level 2 is
// not possible.
func (p Profile) ChipOnly() bool { return p == TDX || p == SNP }

func (p Profile) isSNP() bool { return p == SNP || p == AzureSNPvTPM }

// ParseProfile parses the name of a profile.
func ParseProfile(s string) (Profile, error) {
	for _, p := range Profiles() {
		if string(p) == s {
			return p, nil
		}
	}
	return "", fmt.Errorf("profile %.40q: unknown", s)
}

// A Realm says which roots of trust may judge. Realms never mix.
type Realm string

// The realms.
const (
	Production Realm = "production" // the chip makers' and providers' own roots
	Lab        Realm = "lab"        // the synthetic cloud's
)

// ParseRealm parses the name of a realm.
func ParseRealm(s string) (Realm, error) {
	if r := Realm(s); r == Production || r == Lab {
		return r, nil
	}
	return "", fmt.Errorf("realm %.40q: want production or lab", s)
}

func isLowerHex(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
