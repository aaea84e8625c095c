package poclog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/poclog/poclog/internal/canon"
)

// A Policy is an appraisal policy: what a judge accepts, docs/format.md §6. Its file is JSON with
// members in the order below, two spaces of indentation and a final newline, so that people can
// edit it and its digest still names one policy.
//
// The zero value admits nothing.
type Policy struct {
	V     int   `json:"v"`     // 1
	Realm Realm `json:"realm"` // which roots may be listed
	// Admit lists what is admitted: an appraisal is admitted if one rule fits. Ascending by
	// profile, level, historical.
	Admit []Admission `json:"admit"`
	// MaxChallengeAge is how old a challenge checkpoint may be at admission, in seconds (1 to
	// 86,400).
	MaxChallengeAge uint32 `json:"max_challenge_age"`
	// ChallengePolicy is a C2SP tlog-policy, line by line: the logs whose checkpoints may be a
	// challenge, and the witnesses that must have cosigned them. Empty: no challenge is accepted.
	ChallengePolicy []string `json:"challenge_policy,omitempty"`
	// Roots lists the root certificates that may judge, ascending by use and digest.
	Roots []Root `json:"roots"`
	// TCB lists the platform statuses that tee.tcb accepts, ascending. "Revoked" cannot be listed.
	TCB []string `json:"tcb"`
	// SNPTCB lists the least firmware of SEV-SNP platforms that tee.tcb accepts, ascending by
	// product. A product that is not listed cannot pass it.
	SNPTCB []SNPTCB `json:"snp_tcb,omitempty"`
	// Launch lists launch measurements that are accepted without the provider's endorsement,
	// ascending by profile and measurement.
	Launch []Launch `json:"launch,omitempty"`
	// IDKeys lists the keys whose signed ID blocks say what SEV-SNP guests may launch, ascending by
	// profile and digest.
	IDKeys []IDKey `json:"id_keys,omitempty"`
	// TXT lists the measured launches that bare-metal machines may show, ascending by name.
	TXT []TXTLaunch `json:"txt,omitempty"`
	// Registries lists where the judge asks providers for their chips, ascending by provider.
	Registries []Registry `json:"registries,omitempty"`
	// Alliances lists the registries of hardware whose signed tokens count, ascending by key.
	Alliances []Alliance `json:"alliances,omitempty"`
	// Publishers, if set, are the only ones whose submissions are admitted.
	Publishers *Publishers `json:"publishers,omitempty"`
	// Registrars are those whose statements are admitted, ascending by name.
	Registrars []Registrar `json:"registrars,omitempty"`
}

// An Admission is a rule of what is admitted.
type Admission struct {
	Profile    Profile `json:"profile"`
	Level      int     `json:"level"`      // the least level: 0 or 2
	Historical bool    `json:"historical"` // whether evidence without a challenge is admitted; only at level 0
}

// A RootUse says what a root certificate may certify.
type RootUse string

// What roots are for.
const (
	RootIntelSGX      RootUse = "intel-sgx"      // TDX quotes and Intel's collateral
	RootAMDARK        RootUse = "amd-ark"        // SEV-SNP reports
	RootGCEAK         RootUse = "gce-ak"         // Compute Engine's attestation keys
	RootGCELaunch     RootUse = "gce-launch"     // Google's launch endorsements
	RootAzureAK       RootUse = "azure-ak"       // Azure's attestation keys
	RootPlatformOwner RootUse = "platform-owner" // platform ownership endorsements of one owner, the root's name
	RootProviderAK    RootUse = "provider-ak"    // a bare-metal provider's attestation keys
	RootTPMEK         RootUse = "tpm-ek"         // a TPM vendor's or provider's endorsement keys
)

var rootUses = []RootUse{RootAMDARK, RootAzureAK, RootGCEAK, RootGCELaunch, RootIntelSGX, RootPlatformOwner, RootProviderAK, RootTPMEK}

// A Root names a root certificate by the digest of its DER.
type Root struct {
	Use    RootUse `json:"use"`
	SHA256 Digest  `json:"sha256"`
	Name   string  `json:"name"` // for people
}

// A Launch is a launch measurement that the policy's author vouches for.
type Launch struct {
	Profile     Profile `json:"profile"`
	Measurement string  `json:"measurement"` // MRTD or SNP launch measurement: 96 lower-case hexadecimal digits
	Name        string  `json:"name"`        // for people
}

// An SNPTCB is the least TCB version of one product, component by component (SEV-SNP ABI,
// "TCB_VERSION").
type SNPTCB struct {
	Product    string `json:"product"`       // "Genoa" (with Bergamo and Siena), "Milan" or "Turin"
	FMC        uint8  `json:"fmc,omitempty"` // Turin only
	Bootloader uint8  `json:"bootloader"`
	TEE        uint8  `json:"tee"`
	SNP        uint8  `json:"snp"`
	Microcode  uint8  `json:"microcode"`
}

// An IDKey is a key whose signed ID blocks are accepted: whoever has it says which launch
// measurements are his.
type IDKey struct {
	Profile  Profile `json:"profile"`
	Digest   string  `json:"digest"`    // ID_KEY_DIGEST, SHA-384 of the key: 96 lower-case hexadecimal digits
	GuestSVN uint32  `json:"guest_svn"` // the least GUEST_SVN of an ID block: what its owner signed earlier is refused
	Name     string  `json:"name"`      // for people
}

// A TXTLaunch is a measured launch of a bare-metal host: values of PCR 17 and 18 in one bank.
type TXTLaunch struct {
	Name  string `json:"name"`
	Alg   string `json:"alg"`   // "sha256" or "sha384"
	PCR17 string `json:"pcr17"` // lower-case hexadecimal
	PCR18 string `json:"pcr18"`
}

// A Registry is where a provider lists its chips.
type Registry struct {
	Provider string `json:"provider"` // "gce"
	URL      string `json:"url"`      // http or https; see [Registry.Address]
}

// Address is where the registry answers about a chip: its URL with the chip's identifier as the
// last part of the path, whether or not the URL ends in a slash.
func (r *Registry) Address(chip string) string { return strings.TrimSuffix(r.URL, "/") + "/" + chip }

// registryURL is the form of a registry's address, docs/format.md §6: it is not net/url's to say,
// which takes more from version to version.
var registryURL = regexp.MustCompile(`^https?://([A-Za-z0-9._~!$&'()*+,;=-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/([^?#%]|%[0-9A-Fa-f]{2})*)?$`)

func (r *Registry) check() error {
	if !registryURL.MatchString(r.URL) {
		return fmt.Errorf("registries: url %.200q: want http or https, a host, and neither user nor query", r.URL)
	}
	return nil
}

// maxPublishers bounds the keys of a policy: each appraisal parses them.
const maxPublishers = 256

// maxAlliances bounds the keys that a token may be tried with.
const maxAlliances = 64

// An Alliance is a registry of hardware that signs what it lists, as the Proof of Cloud Alliance
// does.
type Alliance struct {
	Name string `json:"name"` // for people
	Key  string `json:"key"`  // its Ed25519 public key, RFC 8032: 64 lower-case hexadecimal digits
}

// Publishers are the keys of which a threshold must have signed a submission.
type Publishers struct {
	Threshold int      `json:"threshold"` // 1 ≤ Threshold ≤ len(Keys), and at most MaxSignatures
	Keys      []string `json:"keys"`      // as ParsePublisherKey takes them, ascending
}

// Marshal returns the policy's file. It fails if the policy is not valid.
func (p *Policy) Marshal() ([]byte, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	q := *p
	q.Admit, q.Roots, q.TCB = listed(p.Admit), listed(p.Roots), listed(p.TCB)
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(q); err != nil {
		return nil, fmt.Errorf("encode appraisal policy: %w", err)
	}
	if buf.Len() > MaxPolicy {
		return nil, fmt.Errorf("appraisal policy of %d bytes: want at most %d", buf.Len(), MaxPolicy)
	}
	return buf.Bytes(), nil
}

// listed makes an absent list an empty one: null is not canonical.
func listed[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// ParsePolicy parses a policy's file.
func ParsePolicy(file []byte) (*Policy, error) {
	if len(file) > MaxPolicy {
		return nil, fmt.Errorf("appraisal policy of %d bytes: want at most %d", len(file), MaxPolicy)
	}
	p := new(Policy)
	dec := json.NewDecoder(bytes.NewReader(file))
	dec.DisallowUnknownFields()
	if err := dec.Decode(p); err != nil {
		return nil, fmt.Errorf("parse appraisal policy: %w", err)
	}
	again, err := p.Marshal()
	if err != nil {
		return nil, fmt.Errorf("parse appraisal policy: %w", err)
	}
	if !bytes.Equal(again, file) {
		return nil, fmt.Errorf("parse appraisal policy: %s", firstDifference(file, again))
	}
	return p, nil
}

// firstDifference says for a person where a file leaves its canonical form.
func firstDifference(have, want []byte) string {
	h, w := strings.Split(string(have), "\n"), strings.Split(string(want), "\n")
	for i := 0; i < len(h) && i < len(w); i++ {
		if h[i] != w[i] {
			return fmt.Sprintf("line %d: have %.60q, want %.60q (canonical form)", i+1, h[i], w[i])
		}
	}
	return fmt.Sprintf("%d lines: want %d (canonical form)", len(h), len(w))
}

func (p *Policy) check() error {
	if p.V != 1 {
		return fmt.Errorf("appraisal policy version %d: want 1", p.V)
	}
	if _, err := ParseRealm(string(p.Realm)); err != nil {
		return err
	}
	if p.MaxChallengeAge < 1 || p.MaxChallengeAge > 86400 {
		return fmt.Errorf("max_challenge_age %d: want 1 to 86400 seconds", p.MaxChallengeAge)
	}
	for _, f := range []func() error{p.checkAdmit, p.checkRoots, p.checkTCB, p.checkSNPTCB, p.checkLaunch, p.checkIDKeys, p.checkTXT, p.checkAlliances, p.checkStrings, p.checkPublishers, p.checkRegistrars} {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

func (p *Policy) checkAdmit() error {
	for _, a := range p.Admit {
		if _, err := ParseProfile(string(a.Profile)); err != nil {
			return fmt.Errorf("admit: %w", err)
		}
		if a.Level != 0 && a.Level != 2 {
			return fmt.Errorf("admit %s: level %d: want 0 or 2", a.Profile, a.Level)
		}
		if a.Historical && a.Level != 0 {
			return fmt.Errorf("admit %s: historical evidence has level 0, not %d", a.Profile, a.Level)
		}
	}
	return ascending("admit", p.Admit, func(a Admission) string { return fmt.Sprint(a.Profile, a.Level, a.Historical) })
}

func (p *Policy) checkRoots() error {
	for _, r := range p.Roots {
		if !slices.Contains(rootUses, r.Use) {
			return fmt.Errorf("root %.40q: unknown use", r.Use)
		}
	}
	return ascending("roots", p.Roots, func(r Root) string { return string(r.Use) + r.SHA256.String() })
}

// tcbStatuses are the statuses of Intel's TCB recovery that a policy can accept.
var tcbStatuses = []string{
	"ConfigurationAndSWHardeningNeeded", "ConfigurationNeeded", "OutOfDate", "OutOfDateConfigurationNeeded", "SWHardeningNeeded", "UpToDate",
}

func (p *Policy) checkTCB() error {
	for _, s := range p.TCB {
		if !slices.Contains(tcbStatuses, s) {
			return fmt.Errorf("tcb %.40q: want one of %s", s, strings.Join(tcbStatuses, ", "))
		}
	}
	return ascending("tcb", p.TCB, func(s string) string { return s })
}

// snpProducts are the lines of AMD's processors that have a root of their own.
var snpProducts = []string{"Genoa", "Milan", "Turin"}

func (p *Policy) checkSNPTCB() error {
	for _, t := range p.SNPTCB {
		if !slices.Contains(snpProducts, t.Product) {
			return fmt.Errorf("snp_tcb %.40q: want one of %s", t.Product, strings.Join(snpProducts, ", "))
		}
		if t.FMC != 0 && t.Product != "Turin" {
			return fmt.Errorf("snp_tcb %s: fmc %d: only Turin has one", t.Product, t.FMC)
		}
	}
	return ascending("snp_tcb", p.SNPTCB, func(t SNPTCB) string { return t.Product })
}

func (p *Policy) checkIDKeys() error {
	for _, k := range p.IDKeys {
		if k.Profile != SNP && k.Profile != AzureSNPvTPM {
			return fmt.Errorf("id_keys: profile %.40q: want %s or %s", k.Profile, SNP, AzureSNPvTPM)
		}
		if len(k.Digest) != 96 || !isLowerHex(k.Digest) || strings.Trim(k.Digest, "0") == "" {
			return fmt.Errorf("id_keys: digest %.100q: want 96 lower-case hexadecimal digits, not all zero", k.Digest)
		}
	}
	return ascending("id_keys", p.IDKeys, func(k IDKey) string { return string(k.Profile) + k.Digest })
}

func (p *Policy) checkLaunch() error {
	for _, l := range p.Launch {
		if _, err := ParseProfile(string(l.Profile)); err != nil {
			return fmt.Errorf("launch: %w", err)
		}
		if len(l.Measurement) != 96 || !isLowerHex(l.Measurement) {
			return fmt.Errorf("launch measurement %.100q: want 96 lower-case hexadecimal digits", l.Measurement)
		}
	}
	return ascending("launch", p.Launch, func(l Launch) string { return string(l.Profile) + l.Measurement })
}

func (p *Policy) checkTXT() error {
	for _, t := range p.TXT {
		digits, ok := map[string]int{"sha256": 64, "sha384": 96}[t.Alg]
		if !ok || len(t.PCR17) != digits || len(t.PCR18) != digits || !isLowerHex(t.PCR17+t.PCR18) {
			return fmt.Errorf("txt %.40q: want alg sha256 or sha384 and both PCRs in lower-case hexadecimal", t.Name)
		}
	}
	return ascending("txt", p.TXT, func(t TXTLaunch) string { return t.Name })
}

func (p *Policy) checkAlliances() error {
	if n := len(p.Alliances); n > maxAlliances {
		return fmt.Errorf("alliances: %d keys: want at most %d", n, maxAlliances)
	}
	for _, a := range p.Alliances {
		if d, err := ParseDigest(a.Key); err != nil || d == (Digest{}) {
			return fmt.Errorf("alliances: key %.80q: want 64 lower-case hexadecimal digits, not all zero", a.Key)
		}
	}
	return ascending("alliances", p.Alliances, func(a Alliance) string { return a.Key })
}

// checkStrings holds free text to printable ASCII: the file must have one form, and a terminal must
// not be led astray.
func (p *Policy) checkStrings() error {
	var all []string
	all = append(all, p.ChallengePolicy...)
	for _, r := range p.Roots {
		all = append(all, r.Name)
	}
	for _, l := range p.Launch {
		all = append(all, l.Name)
	}
	for _, k := range p.IDKeys {
		all = append(all, k.Name)
	}
	for _, t := range p.TXT {
		all = append(all, t.Name)
	}
	for _, r := range p.Registries {
		if err := r.check(); err != nil {
			return err
		}
		all = append(all, r.Provider, r.URL)
	}
	for _, a := range p.Alliances {
		all = append(all, a.Name)
	}
	for _, s := range all {
		if !canon.Printable(s) || len(s) > 4096 {
			return fmt.Errorf("string %.60q: want at most 4096 bytes of printable ASCII", s)
		}
	}
	return ascending("registries", p.Registries, func(r Registry) string { return r.Provider })
}

func (p *Policy) checkPublishers() error {
	if p.Publishers == nil {
		return nil
	}
	n := len(p.Publishers.Keys)
	if n > maxPublishers {
		return fmt.Errorf("publishers: %d keys: want at most %d", n, maxPublishers)
	}
	if p.Publishers.Threshold < 1 || p.Publishers.Threshold > min(n, MaxSignatures) {
		return fmt.Errorf("publishers: threshold %d of %d keys: want 1 to %d", p.Publishers.Threshold, n, min(n, MaxSignatures))
	}
	for _, k := range p.Publishers.Keys {
		if _, err := ParsePublisherKey(k); err != nil {
			return fmt.Errorf("publishers: %w", err)
		}
	}
	return ascending("publishers", p.Publishers.Keys, func(s string) string { return s })
}

func (p *Policy) checkRegistrars() error { return checkRegistrars(p.Registrars) }

// ascending refuses a list whose keys are not strictly ascending: one policy has one form.
func ascending[T any](name string, list []T, key func(T) string) error {
	for i := 1; i < len(list); i++ {
		if a, b := key(list[i-1]), key(list[i]); a >= b {
			return fmt.Errorf("%s: %.80q after %.80q: want ascending order without repeats", name, b, a)
		}
	}
	return nil
}

// Admits reports whether a rule of the policy admits an appraisal of this profile and level.
func (p *Policy) Admits(profile Profile, level int, historical bool) bool {
	return slices.ContainsFunc(p.Admit, func(a Admission) bool {
		return a.Profile == profile && level >= a.Level && (a.Historical || !historical)
	})
}

// AdmitsProfile reports whether a rule of the policy admits appraisals of a profile, of whatever
// level.
func (p *Policy) AdmitsProfile(profile Profile) bool {
	return slices.ContainsFunc(p.Admit, func(a Admission) bool { return a.Profile == profile })
}

// AllianceKeys returns the keys of the registries whose tokens count, in the policy's order.
func (p *Policy) AllianceKeys() []Digest {
	var keys []Digest
	for _, a := range p.Alliances {
		if key, err := ParseDigest(a.Key); err == nil { // a valid policy has no other
			keys = append(keys, key)
		}
	}
	return keys
}

// RootsFor returns the digests of the roots with a use.
func (p *Policy) RootsFor(use RootUse) map[[32]byte]bool {
	set := make(map[[32]byte]bool)
	for _, r := range p.Roots {
		if r.Use == use {
			set[r.SHA256] = true
		}
	}
	return set
}

// MarshalText gives 64 lower-case hexadecimal digits.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText is ParseDigest.
func (d *Digest) UnmarshalText(text []byte) (err error) {
	*d, err = ParseDigest(string(text))
	return err
}
