package profile

import (
	"fmt"
	"slices"
	"strings"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/tpm"
)

// productionRoots are the chip makers' and providers' own roots, by SHA-256 of their DER. Bundles
// and collateral carry the certificates; only these digests make them roots.
var productionRoots = []poclog.Root{
	root(poclog.RootAMDARK, "1f084161a44bb6d93778a904877d4819cafa5d05ef4193b2ded9dd9c73dd3f6a", "ARK-Turin"),
	root(poclog.RootAMDARK, "4c6598d19c18719c5dfd4a7d335f674e5bfe1d8f800cea2cf270c10d103db2f1", "ARK-Genoa"),
	root(poclog.RootAMDARK, "69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd", "ARK-Milan"),
	root(poclog.RootAzureAK, "e6c596b17f8ffefba5c300f714cfb1260c6028704ecf7becc4ab5018efb00e95", "Azure Virtual TPM Root Certificate Authority 2023"),
	root(poclog.RootGCEAK, "594759594b9b61524f6c8ef668f7177f7b9066bc0674f2f49fe9e052be78beb2", "Google Compute Engine EK/AK CA Root"),
	root(poclog.RootGCELaunch, "e876bc6978bf4f3da445f98a0a82363c8c0bae5a1fc033c6df65846a6cb0f18c", "Google GCE-cc-tcb-root_1"),
	root(poclog.RootIntelSGX, "44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3", "Intel SGX Root CA"),
}

func root(use poclog.RootUse, digest, name string) poclog.Root {
	d, err := poclog.ParseDigest(digest)
	if err != nil {
		panic(fmt.Sprintf("root %s: %v", name, err)) // a slip in the table above
	}
	return poclog.Root{Use: use, SHA256: d, Name: name}
}

// fixed are the uses for which the realm of production has no roots but its own. Vendors of TPMs
// and bare-metal providers are many: there the policy's author says whom to trust.
var fixed = map[poclog.RootUse]bool{
	poclog.RootIntelSGX: true, poclog.RootAMDARK: true, poclog.RootGCEAK: true, poclog.RootGCELaunch: true, poclog.RootAzureAK: true,
}

// checkRealm keeps the realms apart: a production root judges nothing in the lab, whatever for, and
// no other judges in production. A root certifies what its owner made it for: listed for another
// use it would make keys of one provider those of another.
func checkRealm(p *poclog.Policy) error {
	for _, r := range p.Roots {
		owned, known := false, false
		for _, own := range productionRoots {
			owned = owned || own.SHA256 == r.SHA256
			known = known || own.SHA256 == r.SHA256 && own.Use == r.Use
		}
		if owned && p.Realm == poclog.Lab {
			return verify.Failf(verify.Realm, "the policy of realm lab lists the production root %q", r.Name)
		}
		if !known && p.Realm == poclog.Production && (owned || fixed[r.Use]) {
			return verify.Failf(verify.Realm, "the policy of realm production lists %s for %s, which is not a production root", r.SHA256, r.Use)
		}
	}
	if p.Realm == poclog.Production {
		return checkReserved(p)
	}
	return nil
}

// reserved are the names by which readers ask for a managed cloud, each with the one address of its
// register of chips in production, or none.
var reserved = map[string]string{
	poclog.ProviderGCE:   "https://storage.googleapis.com/confidential-host-registry/",
	poclog.ProviderAzure: "",
}

// checkReserved keeps the names of the managed clouds for them: nobody else's root speaks for them,
// and nobody else's register answers for theirs.
func checkReserved(p *poclog.Policy) error {
	for _, r := range p.Roots {
		if _, taken := reserved[r.Name]; taken && r.Use == poclog.RootProviderAK {
			return verify.Failf(verify.Realm, "the policy of realm production lists %s for %s as %q: only that cloud's own roots speak for it", r.SHA256, r.Use, r.Name)
		}
	}
	for _, r := range p.Registries {
		switch url, taken := reserved[r.Provider]; {
		case !taken || r.URL == url:
		case url == "":
			return verify.Failf(verify.Realm, "the policy of realm production has %q asked for chips of %q, which has no register", r.URL, r.Provider)
		default:
			return verify.Failf(verify.Realm, "the policy of realm production has %q asked for chips of %q: want %q", r.URL, r.Provider, url)
		}
	}
	return nil
}

// DefaultPolicy returns the policy with which a reader, or a new log, judges production evidence:
// binding profiles at level 2 and, if historical is set, evidence without a challenge at level 0.
func DefaultPolicy(historical bool) *poclog.Policy {
	p := &poclog.Policy{
		V: 1, Realm: poclog.Production, MaxChallengeAge: 600, Roots: slices.Clone(productionRoots), TCB: []string{"SWHardeningNeeded", "UpToDate"},
	}
	for _, d := range profiles {
		if !d.name.ChipOnly() {
			p.Admit = append(p.Admit, poclog.Admission{Profile: d.name, Level: poclog.LevelBound})
		}
		if historical {
			p.Admit = append(p.Admit, poclog.Admission{Profile: d.name, Level: poclog.LevelChip, Historical: true})
		}
	}
	sortAdmissions(p.Admit)
	return p
}

func sortAdmissions(list []poclog.Admission) {
	key := func(a poclog.Admission) string { return string(a.Profile) + string(rune('0'+a.Level)) }
	slices.SortFunc(list, func(a, b poclog.Admission) int { return strings.Compare(key(a), key(b)) })
}

// CheckPolicy refuses a policy whose roots are of another realm than its own or listed for another
// use than their own, or that gives a managed cloud's name to others, [verify.Realm], and one with
// a rule that this software cannot keep, [verify.Policy].
func CheckPolicy(p *poclog.Policy) error {
	if err := checkRealm(p); err != nil {
		return err
	}
	if err := checkProviders(p); err != nil {
		return err
	}
	return checkOwnerNames(p)
}

// checkOwnerNames demands that the name of an owner's root is the owner's, as endorsements give it:
// the root may speak for no other.
func checkOwnerNames(p *poclog.Policy) error {
	for _, r := range p.Roots {
		if r.Use == poclog.RootPlatformOwner && !poclog.CanSay(r.Name) {
			return verify.Failf(verify.Policy, "the policy lists a root for %s as %.80q: want the owner's name, 1 to 255 bytes of printable ASCII", r.Use, r.Name)
		}
	}
	return nil
}

// checkProviders demands that the name of a bare-metal provider's root is the provider's, as
// certificates give it: the root may speak for no other.
func checkProviders(p *poclog.Policy) error {
	for _, r := range p.Roots {
		if r.Use == poclog.RootProviderAK && !tpm.IsPlace(r.Name) {
			return verify.Failf(verify.Policy, "the policy lists a root for %s as %.80q: want the provider's name, of a–z, 0–9 and \"-\"", r.Use, r.Name)
		}
	}
	return nil
}
