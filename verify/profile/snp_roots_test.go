package profile

import (
	"testing"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/amd"
	"github.com/poclog/poclog/internal/realdata/amddata"
)

// AMD's roots of production are those that its Key Distribution Service publishes, as go-sev-guest
// has them, and no others.
func TestAMDRootsAreThePublishedOnes(t *testing.T) {
	published := make(map[poclog.Digest]bool)
	for _, ders := range amddata.Chains() {
		published[poclog.Sum(amd.Certificates(ders)[1])] = true
	}
	n := 0
	for _, r := range productionRoots {
		if r.Use == poclog.RootAMDARK {
			n++
			if !published[r.SHA256] {
				t.Errorf("%s: %s is not published", r.Name, r.SHA256)
			}
		}
	}
	if n != len(published) || n != 3 {
		t.Errorf("%d roots, %d published: want Milan, Genoa and Turin", n, len(published))
	}
}
