// Package verify holds what everything that judges shares: the check ids, the one error for what is
// refused, and the result of an appraisal.
//
// Everything below verify is pure: bytes, roots, collateral, policy and a time go in, an
// [Appraisal] or an [*Error] comes out. There is no network, no file, no clock and no global state,
// so that anybody can repeat an appraisal years later and compare bytes.
//
// The list of checks and what each proves is in docs/format.md; what they do not prove is in
// docs/threat-model.md.
package verify

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"
)

// MaxSkew is how far the clocks of honest logs, witnesses, auditors, judges and readers may differ
// (docs/format.md §5). Whoever compares times of two of these clocks allows it: what one of them
// lets pass, no other may refuse.
const MaxSkew = 60 * time.Second

// Later returns the later of two times.
func Later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Earlier returns the earlier of two times.
func Earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// A Span is the time in which something is valid, both ends included.
type Span struct{ Issued, Until time.Time }

// And returns the part of a span in which something else is valid, too. The zero span is of nothing
// yet.
func (s Span) And(issued, until time.Time) Span {
	if s == (Span{}) {
		return Span{issued, until}
	}
	return Span{Later(s.Issued, issued), Earlier(s.Until, until)}
}

// Has reports whether a time is in the span.
func (s Span) Has(at time.Time) bool { return !at.Before(s.Issued) && !at.After(s.Until) }

// Check refuses a time outside of the span. What has no end is never valid.
func (s Span) Check(at time.Time) error {
	if !s.Has(at) || s.Until.IsZero() {
		return fmt.Errorf("valid from %s to %s, not at %s", Stamp(s.Issued), Stamp(s.Until), Stamp(at))
	}
	return nil
}

// IsZero reports whether octets are all zero.
func IsZero(b []byte) bool { return len(bytes.TrimLeft(b, "\x00")) == 0 }

// UnlessZero returns octets that are not all zero, or nil.
func UnlessZero(b []byte) []byte {
	if IsZero(b) {
		return nil
	}
	return b
}

// Stamp writes a time as files and reports have it: RFC 3339, in UTC.
func Stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Hashes returns Merkle hashes of 32 bytes each as arrays.
func Hashes(list [][]byte) [][sha256.Size]byte {
	out := make([][sha256.Size]byte, len(list))
	for i, h := range list {
		out[i] = [sha256.Size]byte(h)
	}
	return out
}

// HashSlices returns Merkle hashes as slices, which libraries take.
func HashSlices(list [][sha256.Size]byte) [][]byte {
	out := make([][]byte, len(list))
	for i := range list {
		out[i] = list[i][:]
	}
	return out
}

// Check names one check of an appraisal, or a step or a demand of a check of a receipt, dossier or
// contradiction. The ids are stable: they are members of entries, of HTTP problems, of metrics and
// of test vectors. Packages below define those that they alone use.
type Check string

// The checks that an entry can list as passed or absent.
const (
	TEESignature   Check = "tee.signature"     // the quote is signed by a quoting enclave of the chip maker
	TEEChain       Check = "tee.chain"         // the chip's certificate leads to a pinned root
	TEERevocation  Check = "tee.revocation"    // no certificate of that chain is revoked
	TEETCB         Check = "tee.tcb"           // the platform's security version is known, and its status allowed
	TEENoDebug     Check = "tee.no-debug"      // the VM's memory is not open to its host
	TEELaunch      Check = "tee.launch"        // the launch measurement is endorsed by the provider or listed
	TPMSignature   Check = "tpm.signature"     // the TPM quote is signed by the AK
	TPMPCRDigest   Check = "tpm.pcr-digest"    // the PCR values are those that were signed
	TPMAKTemplate  Check = "tpm.ak-template"   // the AK signs only what the TPM itself made
	TPMAKChain     Check = "tpm.ak-chain"      // the AK's certificate leads to a pinned provider root
	TPMAKPolicy    Check = "tpm.ak-policy"     // the AK works only under PCR 17 and 18
	TPMTechnology  Check = "tpm.technology"    // PCR 0 says that this is the claimed kind of VM
	BindAKInTEE    Check = "bind.ak-in-tee"    // the TEE quote names the AK
	BindTEEInTPM   Check = "bind.tee-in-tpm"   // the TPM quote names the TEE quote
	BindPCRRTMR    Check = "bind.pcr-rtmr"     // both event logs replay and tell one story
	BindTXT        Check = "bind.txt"          // PCR 17 and 18 are an allowed measured launch
	BindChassis    Check = "bind.chassis"      // the AK certificate names the chip beside its TPM
	PlaceCert      Check = "place.certificate" // the AK certificate names a production instance and its zone, or the machine's place
	PlaceRegistry  Check = "place.registry"    // the provider lists this chip
	PlaceAgree     Check = "place.agree"       // all sources of place say the same
	EndorseChip    Check = "endorse.chip"      // a registry that the policy lists vouches for this chip, on this quote
	EndorseOwner   Check = "endorse.owner"     // an owner that the policy lists says that the platform is his
	FreshChallenge Check = "fresh.challenge"   // the evidence answers a challenge made from a signed checkpoint
)

// The checks that only refuse: they guard an appraisal and are never listed in an entry.
const (
	Format     Check = "format"     // something is not well-formed
	Profile    Check = "profile"    // the items fit no profile, or one that the policy does not admit
	Realm      Check = "realm"      // a root of one realm was offered to the other
	Collateral Check = "collateral" // collateral is missing, expired, not yet valid or not signed by its issuer
	Policy     Check = "policy"     // the appraisal policy does not allow this

	PublisherSignature Check = "publisher.signature" // the policy's publishers did not sign the submission

	// SecondOpinion refuses at a log's admission alone, and is no part of an appraisal.
	SecondOpinion Check = "second-opinion" // another implementation refuses the TEE's quote
)

var checks = []Check{
	TEESignature, TEEChain, TEERevocation, TEETCB, TEENoDebug, TEELaunch,
	TPMSignature, TPMPCRDigest, TPMAKTemplate, TPMAKChain, TPMAKPolicy, TPMTechnology,
	BindAKInTEE, BindTEEInTPM, BindPCRRTMR, BindTXT, BindChassis,
	PlaceCert, PlaceRegistry, PlaceAgree, EndorseChip, EndorseOwner, FreshChallenge,
}

// Checks returns every check that an entry can name, in the order in which entries and reports give
// them.
func Checks() []Check { return slices.Clone(checks) }

// An Error is a failed check, step or demand: what was presented is refused, and this is why. It is
// never an error of the caller's own files or network. So [tlogpolicy] does not return it: logs and
// auditors open their own checkpoints with it, and a damaged one must not refuse anybody's
// evidence.
//
// [tlogpolicy]: https://pkg.go.dev/github.com/poclog/poclog/verify/tlogpolicy
type Error struct {
	Check  Check  // which check refused
	Detail string // one line for a person: what was refused and why
	Err    error  // the cause, whose text Detail already includes, or nil
}

// Error gives "check: detail".
func (e *Error) Error() string { return string(e.Check) + ": " + e.Detail }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Failf returns the *Error of a check. A cause given with %w stays reachable by errors.As.
func Failf(c Check, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Check: c, Detail: err.Error(), Err: errors.Unwrap(err)}
}

// CheckOf returns the check that refused, if err is or wraps an *Error.
func CheckOf(err error) (Check, bool) {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Check, true
	}
	return "", false
}
