package tpm

import (
	"crypto/x509"
	"strings"

	"github.com/poclog/poclog/verify"
)

// azureCVM ends the common name in certificates of confidential VMs' attestation keys. The name is
// a host name: case does not matter.
const azureCVM = ".confidentialvm.azure.windows.net"

// CheckAzureAK verifies that the leaf of a chain is the certificate of a confidential VM's
// attestation key: for the purpose tcg-kp-AIKCertificate, and with the name that Azure gives to
// these VMs. The same root certifies keys of VMs whose host runs the TPM, and endorsement keys.
// Failures are [verify.TPMAKChain].
func CheckAzureAK(c *x509.Certificate) error {
	if err := checkPurpose(c, OIDAKCertificate); err != nil {
		return verify.Failf(verify.TPMAKChain, "AK certificate: %w", err)
	}
	name := strings.ToLower(c.Subject.CommonName)
	if host, ok := strings.CutSuffix(name, azureCVM); !ok || host == "" || strings.Contains(host, ".") {
		return verify.Failf(verify.TPMAKChain, "the AK certificate is for %.100q: want a confidential VM, <name>%s", c.Subject.CommonName, azureCVM)
	}
	return nil
}
