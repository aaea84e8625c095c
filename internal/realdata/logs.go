package realdata

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// eventLogs is go-eventlog's folder of logs, in the module cache.
var eventLogs = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/google/go-eventlog").Output()
	return filepath.Join(strings.TrimSpace(string(out)), "testdata", "eventlogs"), err
})

// EventLog reads a log that comes with go-eventlog, as captured: kind is "tpm" or "ccel".
func EventLog(kind, name string) ([]byte, error) {
	dir, err := eventLogs()
	if err != nil {
		return nil, err
	}
	return os.ReadFile(filepath.Join(dir, kind, name))
}

// The two logs of one boot of one TDX machine.
const (
	PairTPM  = "ubuntu-2404-intel-tdx.bin"
	PairCCEL = "ubuntu-2404-intel-tdx.bin"
)
