package realdata

import (
	"os"
	"path/filepath"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/publish/importer"
)

// LoadAzure returns one Azure VM's bundle and collateral, valid at AzureTime, from the captures'
// folder.
func LoadAzure(folder string) (*poclog.Bundle, *poclog.Collateral, error) {
	var files [3][]byte
	for i, name := range []string{"original.yaml", "azure-virtual-tpm-root-ca-2023.pem", "collateral.json"} {
		b, err := os.ReadFile(filepath.Join(folder, "azure-tdx-2026-06-08", name))
		if err != nil {
			return nil, nil, err
		}
		files[i] = b
	}
	im, err := importer.Azure(files[0], files[1])
	if err != nil {
		return nil, nil, err
	}
	c, err := importer.Collateral(files[2])
	return im.Bundle, c, err
}

// Azure is LoadAzure for tests.
func Azure(t T) (*poclog.Bundle, *poclog.Collateral) {
	t.Helper()
	folder, ok := Folder()
	if !ok {
		t.Skipf("skipped: real evidence of an Azure VM is not beside this repository")
	}
	b, c, err := LoadAzure(folder)
	if err != nil {
		t.Fatal(err)
	}
	return b, c
}
