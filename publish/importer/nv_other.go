//go:build !linux

package importer

import (
	"errors"

	"github.com/google/go-tpm/tpm2/transport"
)

// openTPM refuses: evidence is collected where confidential VMs run, which is Linux.
func openTPM(string, bool) (transport.TPMCloser, error) {
	return nil, errors.New("TPMs are opened on Linux only")
}
