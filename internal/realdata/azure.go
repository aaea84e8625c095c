package realdata

import (
	"testing"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client/evidence"
)

// Azure returns one Azure VM's bundle and collateral, valid at AzureTime.
func Azure(t testing.TB) (*poclog.Bundle, *poclog.Collateral) {
	t.Helper()
	const dir = "azure-tdx-2026-06-08"
	im, err := evidence.Azure(File(t, dir, "evidence.json"), File(t, dir, "azure-virtual-tpm-root-ca-2023.pem"))
	if err != nil {
		t.Fatal(err)
	}
	return im.Bundle, collateral(t, dir)
}

