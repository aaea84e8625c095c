package profile

import (
	"testing"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
)

// A root certifies what its owner made it for. Listed for another use it would make one provider's keys another's: whoever has a key that Google
// certified would have one of Azure's.
func TestARootListedForAnotherUseIsRefused(t *testing.T) {
	for _, own := range ProductionRoots() {
		for _, use := range []poclog.RootUse{
			poclog.RootAMDARK, poclog.RootAzureAK, poclog.RootGCEAK, poclog.RootGCELaunch, poclog.RootIntelSGX, poclog.RootProviderAK, poclog.RootTPMEK,
		} {
			if listedFor(own, use) {
				continue // its own
			}
			for _, realm := range []poclog.Realm{poclog.Production, poclog.Lab} {
				p := DefaultPolicy(true)
				p.Realm = realm
				p.Roots = []poclog.Root{{Use: use, SHA256: own.SHA256, Name: "another"}}
				wantCheck(t, string(realm)+": "+own.Name+" for "+string(use), CheckPolicy(p), verify.Realm)
			}
		}
	}
}

// listedFor reports whether production has a root for a use.
func listedFor(r poclog.Root, use poclog.RootUse) bool {
	for _, own := range ProductionRoots() {
		if own.SHA256 == r.SHA256 && own.Use == use {
			return true
		}
	}
	return false
}

// A judge refuses such a policy before it looks at the evidence: a production VM's TPM under the root of another use.
func TestAppraisalRefusesARootOfAnotherUse(t *testing.T) {
	w := newWorld(t)
	in := judging(t, w, w.Honest())
	w.Policy.Roots = append(w.Policy.Roots, poclog.Root{Use: poclog.RootTPMEK, SHA256: productionRoots[1].SHA256, Name: "another"})
	var err error
	if in.Policy, err = w.Policy.Marshal(); err != nil {
		t.Fatal(err)
	}
	_, err = Appraise(in)
	wantCheck(t, "a lab's policy with a production root for another use", err, verify.Realm)
}
