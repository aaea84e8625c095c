package evidence_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-tpm-tools/proto/attest"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client/evidence"
	"github.com/poclog/poclog/verify/tpm"
)

// realGoTPM reads an attestation of a real VM from the module's own test data.
func realGoTPM(t *testing.T) []byte {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/google/go-tpm-tools").Output()
	if err != nil {
		t.Skipf("skipped: the folder of go-tpm-tools is not known: %v", err)
	}
	b, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "internal/test/attestations/gce-cos-85-nonce9009.pb"))
	if err != nil {
		t.Skipf("skipped: go-tpm-tools has no attestation here: %v", err)
	}
	return b
}

func TestRealGoTPMAttestationImportsInEveryForm(t *testing.T) {
	file := realGoTPM(t)
	a := new(attest.Attestation)
	if err := proto.Unmarshal(file, a); err != nil {
		t.Fatal(err)
	}
	text, err := prototext.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	json, err := protojson.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	for form, b := range map[string][]byte{"binary": file, "text": text, "JSON": json} {
		im, err := evidence.GoTPM(b)
		if err != nil {
			t.Fatalf("%s: %v", form, err)
		}
		if !bytes.Equal(im.Bundle.Get(poclog.ItemTPMAK), a.GetAkPub()) || !im.Bundle.Has(poclog.ItemTCGLog) {
			t.Errorf("%s: the AK or the event log is lost: %v", form, im.Bundle.Items())
		}
		q, err := tpm.ParseQuote(im.Bundle.Get(poclog.ItemTPMQuote))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tpm.CheckPCRs(q, im.Bundle.Get(poclog.ItemTPMPCRs)); err != nil {
			t.Errorf("%s: %v", form, err)
		}
		notes := strings.Join(im.Notes, "\n")
		for _, want := range []string{"there is no TDX quote", "the AK's chain is left out", "take the TD quote first"} {
			if !strings.Contains(notes, want) {
				t.Errorf("%s: notes lack %q:\n%s", form, want, notes)
			}
		}
	}
}

func TestGoTPMRefusesWhatIsNoAttestation(t *testing.T) {
	for _, b := range [][]byte{nil, []byte("{}"), []byte("garbage"), make([]byte, evidence.MaxFile+1)} {
		if im, err := evidence.GoTPM(b); err == nil {
			t.Errorf("%.20q: imported %v", b, im.Bundle.Items())
		}
	}
}
