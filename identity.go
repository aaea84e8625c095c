package poclog

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// An Identity is a typed name of hardware, a key, an instance or a quote, docs/format.md §2. It is
// lower case and at most 160 bytes long. The form for chips is that of the Proof of Cloud
// Alliance's registry.
type Identity string

// Kinds of identities: the part before the value.
const (
	IntelPPID   = "intel:tdx:ppid" // 16 octets: the chip; stable
	IntelPIID   = "intel:tdx:piid" // 16 octets: the platform instance; changes when the platform is provisioned anew
	AMDChipID   = "amd:snp:chipid" // 64 octets: the chip
	TPMEK       = "tpm:ek"         // SHA-256 of the endorsement key's SubjectPublicKeyInfo
	TPMAK       = "tpm:ak"         // SHA-256 of the attestation key's SubjectPublicKeyInfo
	GCEInstance = "gce:instance"   // project number, instance id
	AzureVM     = "azure:vm"       // vmUniqueId
	QuoteKind   = "quote"          // SHA-256 of the signed part of a TEE quote
)

const maxIdentity = 160

// hexIdentities gives the number of octets of the kinds whose value is hexadecimal.
var hexIdentities = map[string]int{
	IntelPPID: 16, IntelPIID: 16, AMDChipID: 64, TPMEK: 32, TPMAK: 32, QuoteKind: 32,
}

// ParseIdentity parses an identity of a known kind. An all-zero chip or platform id is no identity.
func ParseIdentity(s string) (Identity, error) {
	if len(s) > maxIdentity {
		return "", fmt.Errorf("identity of %d bytes: want at most %d", len(s), maxIdentity)
	}
	id := Identity(s)
	kind, value := id.split()
	switch n, isHex := hexIdentities[kind]; {
	case isHex && (len(value) != 2*n || !isLowerHex(value)):
		return "", fmt.Errorf("identity %q: want %d lower-case hexadecimal digits after %q", s, 2*n, kind+":")
	case isHex && strings.Trim(value, "0") == "":
		return "", fmt.Errorf("identity %q: all zero is no identity", s)
	case isHex:
		return id, nil
	case kind == GCEInstance:
		if err := checkGCEInstance(value); err != nil {
			return "", err
		}
		return id, nil
	case kind == AzureVM:
		if err := checkUUID(value); err != nil {
			return "", err
		}
		return id, nil
	}
	return "", fmt.Errorf("identity %q: unknown kind", s)
}

// split divides an identity at its kind.
func (id Identity) split() (kind, value string) {
	s := string(id)
	for _, k := range []string{GCEInstance, AzureVM} {
		if v, ok := strings.CutPrefix(s, k+":"); ok {
			return k, v
		}
	}
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return "", s
	}
	return s[:i], s[i+1:]
}

// Kind returns the part before the value, such as "intel:tdx:ppid".
func (id Identity) Kind() string { k, _ := id.split(); return k }

// Value returns the part after the kind.
func (id Identity) Value() string { _, v := id.split(); return v }

// IsChip reports whether the identity names a chip: a PPID or a CHIP_ID.
func (id Identity) IsChip() bool { k := id.Kind(); return k == IntelPPID || k == AMDChipID }

// HexIdentity returns the identity of a kind whose value is octets, and false if the octets are all
// zero or of the wrong length.
func HexIdentity(kind string, value []byte) (Identity, bool) {
	id, err := ParseIdentity(kind + ":" + hex.EncodeToString(value))
	return id, err == nil
}

// KeyIdentity returns the identity of a TPM key: kind is TPMEK or TPMAK.
func KeyIdentity(kind string, key crypto.PublicKey) (Identity, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return "", fmt.Errorf("encode public key: %w", err)
	}
	sum := sha256.Sum256(der)
	return Identity(kind + ":" + hex.EncodeToString(sum[:])), nil
}

// GCEInstanceIdentity returns the identity of a Compute Engine instance.
func GCEInstanceIdentity(project, instance uint64) Identity {
	return Identity(fmt.Sprintf("%s:%d:%d", GCEInstance, project, instance))
}

// AzureVMIdentity returns the identity of an Azure virtual machine; the UUID may be in upper case.
func AzureVMIdentity(uuid string) (Identity, error) {
	return ParseIdentity(AzureVM + ":" + strings.ToLower(uuid))
}

func checkGCEInstance(value string) error {
	project, instance, ok := strings.Cut(value, ":")
	for _, s := range []string{project, instance} {
		n, err := strconv.ParseUint(s, 10, 64)
		if !ok || err != nil || n == 0 || strconv.FormatUint(n, 10) != s {
			return fmt.Errorf("identity %s:%s: want project number:instance id", GCEInstance, value)
		}
	}
	return nil
}

func checkUUID(value string) error {
	digits := strings.ReplaceAll(value, "-", "")
	ok := len(value) == 36 && len(digits) == 32 && isLowerHex(digits) && strings.Trim(digits, "0") != ""
	for _, i := range []int{8, 13, 18, 23} {
		ok = ok && value[i] == '-'
	}
	if !ok {
		return fmt.Errorf("identity %s:%s: want a lower-case UUID, not all zero", AzureVM, value)
	}
	return nil
}
