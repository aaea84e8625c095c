package profile

import (
	"testing"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
)

// A root certifies what its owner made it for. Listed for another use it would make one provider's
// keys another's: whoever has a key that Google certified would have one of Azure's.
func TestARootListedForAnotherUseIsRefused(t *testing.T) {
	for _, own := range productionRoots {
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
	for _, own := range productionRoots {
		if own.SHA256 == r.SHA256 && own.Use == use {
			return true
		}
	}
	return false
}

// A judge refuses such a policy before it looks at the evidence: a production VM's TPM under the
// root of another use.
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

// Readers ask for "gce" and "azure" by name. In production nobody else's root and no other register
// of chips has these names; other providers' have what names they like, and in the laboratory a
// cloud is what its policy says.
func TestNamesOfManagedCloudsAreReservedInProduction(t *testing.T) {
	garage := func(name string) []poclog.Root {
		return []poclog.Root{{Use: poclog.RootProviderAK, SHA256: poclog.Sum([]byte("a garage's root")), Name: name}}
	}
	register := func(provider, url string) []poclog.Registry { return []poclog.Registry{{Provider: provider, URL: url}} }
	const googles = "https://storage.googleapis.com/confidential-host-registry/"
	for _, c := range []struct {
		name       string
		roots      []poclog.Root
		registries []poclog.Registry
		want       verify.Check
	}{
		{"a root named gce", garage("gce"), nil, verify.Realm},
		{"a root named azure", garage("azure"), nil, verify.Realm},
		{"a root named otherwise", garage("a-garage"), nil, ""},
		{"another register of gce", nil, register("gce", "https://garage.example/"), verify.Realm},
		{"Google's register without its folder", nil, register("gce", "https://storage.googleapis.com/"), verify.Realm},
		{"Google's register", nil, register("gce", googles), ""},
		{"a register of azure", nil, register("azure", googles), verify.Realm},
		{"another provider's register", nil, register("a-garage", "https://garage.example/"), ""},
	} {
		for _, realm := range []poclog.Realm{poclog.Production, poclog.Lab} {
			p := &poclog.Policy{V: 1, Realm: realm, MaxChallengeAge: 600, Roots: c.roots, Registries: c.registries}
			err := CheckPolicy(p)
			if c.want == "" || realm == poclog.Lab {
				if err != nil {
					t.Errorf("%s in realm %s: %v", c.name, realm, err)
				}
				continue
			}
			wantCheck(t, c.name, err, c.want)
		}
	}
}
