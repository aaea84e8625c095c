package attest

import "fmt"

// Names of the pieces that evidence is made of.
const (
	PieceMachine = "machine"    // a cloud or machine whose profile is known
	PieceTEE     = "tee"        // a TD that can be quoted
	PieceTPM     = "tpm"        // a TPM 2.0 with the PCR banks that the profile takes
	PieceAK      = "ak"         // the certified attestation key
	PieceAKChain = "ak-chain"   // its certificate up to the root
	PieceEKChain = "ek-chain"   // the endorsement key's certificate up to the root
	PieceLogs    = "event-logs" // the TPM's and the TD's
	PieceLog     = "log"        // a Proof-of-Cloud log that admits the profile
)

// A MissingError says which piece of evidence is not to be had, why, and how to get it.
type MissingError struct {
	Piece string
	Err   error
	How   string // a sentence for people: commands and settings
}

// Error names the piece and why it is missing.
func (e *MissingError) Error() string { return fmt.Sprintf("%s: %s", e.Piece, e.Err) }

// Unwrap returns the cause.
func (e *MissingError) Unwrap() error { return e.Err }

// How to get what is missing.
const (
	howTEE = "run in a TDX guest with Linux 6.7 or newer (modprobe tdx_guest; mount -t configfs none /sys/kernel/config), as root or with write access to " +
		"/sys/kernel/config/tsm/report (docs/publishing.md)"
	howTPM      = "give the process the TPM: run as root or in the group tss, in a container with --device /dev/tpmrm0; --tpm names another device or a socket"
	howBanks    = "have the firmware switch on the TPM's SHA-256 and SHA-384 banks (tpm2_pcrallocate sha256:all+sha384:all, and reboot)"
	howGCEAK    = "make the VM anew with its vTPM on (gcloud compute instances create --confidential-compute-type=TDX --shielded-vtpm): Compute Engine writes the AK's template and certificate when a VM is made"
	howPersist  = "choose a free handle for --persist, or leave it out: the AK can be made anew at each use"
	howMetalAK  = "have the provider certify an AK whose policy is TPM2_PolicyPCR over PCR 17 and 18, and give it: --ak HANDLE or TEMPLATE, --ak-chain CERTIFICATES (docs/publishing.md)"
	howAKPolicy = "boot the launch for which the provider certified the AK, or have it certify one for the launch that runs"
	howAKChain  = "give the issuers' certificates up to the root, PEM or DER: --ak-chain FILE"
	howEKChain  = "give the EK's certificate and its issuers up to the root, PEM or DER: --ek-chain FILE; the TPM's maker publishes them"
	howTCGLog   = "read /sys/kernel/security/tpm0/binary_bios_measurements as root (mount -t securityfs none /sys/kernel/security), or give a copy: --tcg-log FILE"
	howCCEL     = "read /sys/firmware/acpi/tables/data/CCEL as root, or give a copy: --ccel FILE; a TD's firmware and kernel 6.3 or newer provide it"
)
