package attest

import "fmt"

// Names of the pieces that evidence is made of.
const (
	PieceMachine  = "machine"    // a cloud or machine whose profile is known
	PieceTEE      = "tee"        // a TD that can be quoted
	PieceTPM      = "tpm"        // a TPM 2.0 with the PCR banks that the profile takes
	PieceAK       = "ak"         // the certified attestation key
	PieceAKChain  = "ak-chain"   // its certificate up to the root
	PieceEKChain  = "ek-chain"   // the endorsement key's certificate up to the root
	PieceLogs     = "event-logs" // the TPM's and the TD's
	PieceEvidence = "evidence"   // all of it, taken together
	PieceLog      = "log"        // a Proof-of-Cloud log that admits the profile
)

// A MissingError says which piece of evidence is unavailable, why, and how to get it.
type MissingError struct {
	Piece string
	Err   error
	How   Remedy
}

// Error names the piece and why it is missing.
func (e *MissingError) Error() string { return fmt.Sprintf("%s: %s", e.Piece, e.Err) }

// Unwrap returns the cause.
func (e *MissingError) Unwrap() error { return e.Err }

// A Remedy says how to get what is missing. The words are the caller's: what it calls its settings,
// this package does not know.
type Remedy string

// The remedies.
const (
	RunInTDX        Remedy = "run-in-tdx"        // a TDX guest whose configfs-tsm the process may use
	RunInAzure      Remedy = "run-in-azure"      // a confidential VM of Azure, whose vTPM holds an HCL report
	ReachIMDS       Remedy = "reach-imds"        // a confidential VM of Azure with TDX, whose metadata service can be reached
	GrantTPM        Remedy = "grant-tpm"         // the TPM's device or socket
	EnableBanks     Remedy = "enable-banks"      // PCR banks of SHA-256 and SHA-384
	RemakeVM        Remedy = "remake-vm"         // Compute Engine writes the AK's template and certificate when it makes a VM with a vTPM
	ChooseHandle    Remedy = "choose-handle"     // a free one for Options.Persist, or none
	CertifyAK       Remedy = "certify-ak"        // an AK that the provider certified: Options.AKHandle or AKTemplate, and AKCerts
	BootLaunch      Remedy = "boot-launch"       // the launch that the AK's policy demands
	GiveAKIssuers   Remedy = "give-ak-issuers"   // Options.AKCerts
	GiveEKIssuers   Remedy = "give-ek-issuers"   // Options.EKCerts
	GiveTCGLog      Remedy = "give-tcg-log"      // Options.TCGLog, or access to the kernel's
	GiveCCEL        Remedy = "give-ccel"         // Options.CCEL, or access to the kernel's
	UseImporter     Remedy = "use-importer"      // another tool takes this profile's evidence
	NameLog         Remedy = "name-log"          // a log's address and policy
	ReachLog        Remedy = "reach-log"         // the right address and policy, and the network
	AskLogsOperator Remedy = "ask-logs-operator" // why the log has no appraisal policy
	UseAnotherLog   Remedy = "use-another-log"   // one that admits the profile
)

// Remedies returns all of them.
func Remedies() []Remedy {
	return []Remedy{
		RunInTDX, RunInAzure, ReachIMDS, GrantTPM, EnableBanks, RemakeVM, ChooseHandle, CertifyAK, BootLaunch, GiveAKIssuers, GiveEKIssuers, GiveTCGLog, GiveCCEL,
		UseImporter, NameLog, ReachLog, AskLogsOperator, UseAnotherLog,
	}
}
