package poclog

// A Place is where the chassis stands, as far as it is known.
type Place struct {
	Provider Claim // "gce", "azure", …
	Region   Claim // the provider's name of the region
	Zone     Claim // the provider's name of the zone, without its path
}

// A Claim is a value with the evidence that said so. A claim without value is absent.
type Claim struct {
	Value string
	By    []string // sources, ascending: ByAIAHint, ByAKCertificate, ByLogObserved, ByVLEK
}

// Sources of a place. A reader takes others, which a later appraisal may bring, for hints.
const (
	ByAIAHint       = "aia-hint"       // a host name in a certificate: a hint
	ByAKCertificate = "ak-certificate" // the provider certified it with the AK
	ByLogObserved   = "log-observed"   // the provider's registry, asked by the judge
	ByVLEK          = "vlek"           // AMD made the signing key for a cloud
)

// Names of the providers whose attestation keys lead to roots that only they have. No other
// profile's entries speak for them.
const (
	ProviderGCE   = "gce"
	ProviderAzure = "azure"
)

// authenticates reports whether a source may say, in an entry of a profile, where a chassis of a
// provider stands (docs/format.md §7). It is the one place that says so. MROWNER is no source: the
// host that creates a TD writes what it likes there.
func authenticates(profile Profile, provider, source []byte) bool {
	switch string(source) {
	case ByAKCertificate, ByLogObserved, ByVLEK:
	default:
		return false
	}
	switch string(provider) {
	case ProviderGCE:
		return profile == GCETDXvTPM
	case ProviderAzure:
		return profile == AzureTDXvTPM || profile == AzureSNPvTPM
	}
	return true
}

// ProvenPlace returns the claims of an entry's place that it proves. The entry has level 2 and is
// joined, and an authority makes the claim. All other claims are hints, and absent here.
func (e *Entry) ProvenPlace() Place {
	if e.Place == nil || e.Level < LevelBound || !e.Joined() {
		return Place{}
	}
	proven := func(c Claim) Claim {
		for _, by := range c.By {
			if authenticates(e.Profile, []byte(e.Place.Provider.Value), []byte(by)) {
				return c
			}
		}
		return Claim{}
	}
	provider := proven(e.Place.Provider)
	if provider.Value == "" {
		return Place{} // names of regions and zones mean nothing without it
	}
	return Place{Provider: provider, Region: proven(e.Place.Region), Zone: proven(e.Place.Zone)}
}

// hints takes the authority from the claims of a projection that proves no place.
func (p *Projection) hints() {
	if p.Level < LevelBound || !p.Joined || !p.Provider.Authentic {
		p.Provider.Authentic, p.Region.Authentic, p.Zone.Authentic = false, false, false
	}
}

// Joined reports whether the TEE named the AK and the AK signed for the TEE's quote. One way is not
// enough, for anybody can quote another's key, or have a key of his own sign over another's quote.
// Only a joined entry names an AK, an EK, an instance or a place of the AK certificate's.
func (e *Entry) Joined() bool {
	var passed joins
	for _, c := range e.Checks {
		passed.take([]byte(c))
	}
	return e.TPM != nil && passed == allJoins
}

// joins are checks of which all bind an AK and a TEE, a bit each.
type joins uint8

const allJoins joins = 7

func (j *joins) take(check []byte) {
	switch string(check) {
	case "bind.ak-in-tee":
		*j |= 1
	case "bind.tee-in-tpm":
		*j |= 2
	case "tpm.ak-template":
		*j |= 4
	}
}
