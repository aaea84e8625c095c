package importer

import (
	"github.com/google/go-tpm/tpm2/transport"
	"github.com/google/go-tpm/tpm2/transport/linuxtpm"
	"github.com/google/go-tpm/tpm2/transport/linuxudstpm"
)

// openTPM opens a device, or the socket of a TPM in software.
func openTPM(address string, isSocket bool) (transport.TPMCloser, error) {
	if isSocket {
		return linuxudstpm.Open(address)
	}
	return linuxtpm.Open(address)
}
