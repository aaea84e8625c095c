package tpm_test

import (
	"crypto/x509/pkix"

	"github.com/poclog/poclog/verify/tpm"
)

func extension(der []byte) []pkix.Extension {
	return []pkix.Extension{{Id: tpm.OIDGCEInstance, Value: der}}
}
