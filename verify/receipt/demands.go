package receipt

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
)

// Demands are what a reader asks of an entry. The zero value is safe: realm production and level 2.
type Demands struct {
	UnsafeLevel0 bool         // accept level 0: the place is unproven
	UnsafeRealm  poclog.Realm // accept another realm than production

	Profiles    []poclog.Profile // one of these; none: any
	Place       string           // "provider", "provider/region" or "provider/zone", authenticated
	Chassis     poclog.Identity  // one of the chassis's identities
	Require     []string         // checks that must have passed
	Owner       string           // the platform's owner, by his endorsement
	EndorsedBy  []poclog.Digest  // all of these vouch: registries' keys, or digests of owners' roots
	TCB         []string         // one of these statuses; none: any that the log's policy accepts
	Measurement []byte           // the launch measurement, 48 bytes
	UserData    *poclog.Digest   // digest of what the proof speaks for
	Publishers  []poclog.Digest  // keys, all of which signed the submission
	Appraisals  []poclog.Digest  // digests of appraisal policies, by one of which it was judged; none: any
	Standing    Standing         // at least this; "" is Logged

	MaxAge           time.Duration // now − t1; 0: any
	MaxCheckpointAge time.Duration // now − the time the quorum saw the receipt's checkpoint; 0: any
	MaxInterval      time.Duration // t2 − t1; 0: any

	AuditGroup string      // the policy's group of auditors; "" is DefaultAuditGroup
	Evidence   *Evidence   // repeat the appraisal with it
	Reappraise Reappraiser // who does
}

// demand is one rule: its name and why the verdict does not meet it, or "".
type demand struct {
	name  verify.Check
	unmet func(d *Demands, v *Verdict, now time.Time) string
}

var demandRules = []demand{
	{"realm", func(d *Demands, v *Verdict, _ time.Time) string {
		want := poclog.Production
		if d.UnsafeRealm != "" {
			want = d.UnsafeRealm
		}
		return unless(v.Entry.Realm == want, "the entry is of realm %s, want %s", v.Entry.Realm, want)
	}},
	{"level", func(d *Demands, v *Verdict, _ time.Time) string {
		return unless(d.UnsafeLevel0 || v.Entry.Level >= poclog.LevelBound,
			"it is %d: the place is unproven (absent: %s)", v.Entry.Level, strings.Join(v.Entry.Absent, ", "))
	}},
	{"profile", func(d *Demands, v *Verdict, _ time.Time) string {
		return unless(len(d.Profiles) == 0 || slices.Contains(d.Profiles, v.Entry.Profile), "profile %s is not one that was asked for", v.Entry.Profile)
	}},
	{"place", func(d *Demands, v *Verdict, _ time.Time) string { return placeUnmet(d.Place, v.Entry) }},
	{"chassis", func(d *Demands, v *Verdict, _ time.Time) string {
		return unless(d.Chassis == "" || slices.Contains(v.Entry.Chassis, d.Chassis), "the chassis is %s, not %s", joined(v.Entry.Chassis), d.Chassis)
	}},
	{"require", func(d *Demands, v *Verdict, _ time.Time) string {
		for _, c := range d.Require {
			if !slices.Contains(v.Entry.Checks, c) {
				return fmt.Sprintf("check %s did not pass", c)
			}
		}
		return ""
	}},
	{"owner", func(d *Demands, v *Verdict, _ time.Time) string {
		return unless(d.Owner == "" || slices.ContainsFunc(v.Entry.Endorsements, func(x poclog.Endorsement) bool {
			return x.Kind == poclog.OwnerEndorsement && x.Says == d.Owner
		}), "nobody says that the platform's owner is %q", d.Owner)
	}},
	{"endorsed-by", func(d *Demands, v *Verdict, _ time.Time) string {
		for _, by := range d.EndorsedBy {
			if !slices.ContainsFunc(v.Entry.Endorsements, func(x poclog.Endorsement) bool { return x.By == by }) {
				return fmt.Sprintf("%s does not vouch for it", by)
			}
		}
		return ""
	}},
	{"tcb", func(d *Demands, v *Verdict, _ time.Time) string {
		t := v.Entry.CVM.TCB
		return unless(len(d.TCB) == 0 || t != nil && slices.Contains(d.TCB, t.Status), "the platform's status is %s, not one that was asked for", statusOf(t))
	}},
	{"measurement", func(d *Demands, v *Verdict, _ time.Time) string {
		return unless(len(d.Measurement) == 0 || string(d.Measurement) == string(v.Entry.CVM.Measurement), "the launch measurement is %x", v.Entry.CVM.Measurement)
	}},
	{"user-data", func(d *Demands, v *Verdict, _ time.Time) string {
		if d.UserData == nil {
			return ""
		}
		return unless(v.Entry.Fresh != nil && v.Entry.Fresh.UserData == *d.UserData, "the proof does not speak for user data with digest %s", *d.UserData)
	}},
	{"publisher", func(d *Demands, v *Verdict, _ time.Time) string {
		for _, key := range d.Publishers {
			if !slices.Contains(v.Entry.Publishers, key) {
				return fmt.Sprintf("key %s did not sign the submission", key)
			}
		}
		return ""
	}},
	{"appraisal-digest", func(d *Demands, v *Verdict, _ time.Time) string {
		judged := v.Entry.Evidence.Policy.SHA256
		return unless(len(d.Appraisals) == 0 || slices.Contains(d.Appraisals, judged), "judged by the appraisal policy %s, not one that was asked for", judged)
	}},
	{"verdict", func(d *Demands, v *Verdict, _ time.Time) string {
		return unless(slices.Index(standings, v.Verdict) >= max(0, slices.Index(standings, d.Standing)), "the verdict stands on %q, want %q", v.Verdict, d.Standing)
	}},
	{"max-age", func(d *Demands, v *Verdict, now time.Time) string { return tooOld("the evidence", d.MaxAge, v.T1, now) }},
	{"max-checkpoint-age", func(d *Demands, v *Verdict, now time.Time) string {
		return tooOld("the view of the log", d.MaxCheckpointAge, v.Seen, now)
	}},
	{"max-interval", func(d *Demands, v *Verdict, _ time.Time) string { return intervalUnmet(d.MaxInterval, v) }},
}

func unless(met bool, format string, args ...any) string {
	if met {
		return ""
	}
	return fmt.Sprintf(format, args...)
}

func joined(ids []poclog.Identity) string {
	s := make([]string, len(ids))
	for i, id := range ids {
		s[i] = string(id)
	}
	return strings.Join(s, ", ")
}

func statusOf(t *poclog.TCB) string {
	if t == nil {
		return "unknown"
	}
	return t.Status
}

// Validate refuses demands that no receipt could meet, or that mean something else than they say.
func (d *Demands) Validate() error {
	if d.MaxAge < 0 || d.MaxCheckpointAge < 0 || d.MaxInterval < 0 {
		return fmt.Errorf("a negative age or interval")
	}
	if d.Standing != "" && !slices.Contains(standings, d.Standing) {
		return fmt.Errorf("verdict %q: want logged, audited or reappraised", d.Standing)
	}
	if provider, within, deeper := strings.Cut(d.Place, "/"); d.Place != "" && (provider == "" || deeper && within == "" || strings.Contains(within, "/")) {
		return fmt.Errorf("place %.100q: want a provider, a provider/region or a provider/zone", d.Place)
	}
	if d.Place != "" && d.UnsafeLevel0 {
		return fmt.Errorf("a place is asked for with level 0, which carries no authenticated place")
	}
	if len(d.Measurement) != 0 && len(d.Measurement) != 48 {
		return fmt.Errorf("measurement of %d bytes: want 48", len(d.Measurement))
	}
	return nil
}

// An Unmet says that a receipt is good, and does not meet all demands. It lists every demand that
// is not met, in the order of the rules: a reader who mends one need not find the next by trying.
type Unmet struct {
	Verdict *Verdict        // what the receipt proves all the same
	Demands []*verify.Error // at least one
}

// Error gives the demands and their reasons on one line.
func (u *Unmet) Error() string {
	texts := make([]string, len(u.Demands))
	for i, e := range u.Demands {
		texts[i] = e.Error()
	}
	return strings.Join(texts, "; ")
}

// Unwrap returns the demands, of which [errors.As] finds the first.
func (u *Unmet) Unwrap() []error {
	errs := make([]error, len(u.Demands))
	for i, e := range u.Demands {
		errs[i] = e
	}
	return errs
}

// check holds a verdict to the demands.
func (d *Demands) check(v *Verdict, now time.Time) error {
	if v.Entry == nil {
		return verify.Failf("kind", "entry of kind %s: %w", v.Kind, ErrNotProof)
	}
	var unmet []*verify.Error
	for _, rule := range demandRules {
		if why := rule.unmet(d, v, now); why != "" {
			unmet = append(unmet, verify.Failf(rule.name, "%s", why))
		}
	}
	if len(unmet) == 0 {
		return nil
	}
	return &Unmet{Verdict: v, Demands: unmet}
}

// DemandNames returns the ids of all demands, in the order in which they are held to an entry.
func DemandNames() []verify.Check {
	names := make([]verify.Check, len(demandRules))
	for i, rule := range demandRules {
		names[i] = rule.name
	}
	return names
}

// CheckEntry holds an entry to the demands that need no log: those on time and standing are left
// out. It is for evidence that was appraised here and stands on nobody's word.
func (d *Demands) CheckEntry(e *poclog.Entry) error {
	only := *d
	only.MaxAge, only.MaxCheckpointAge, only.MaxInterval, only.Standing = 0, 0, 0, ""
	if err := only.Validate(); err != nil {
		return verify.Failf("demands", "%w", err)
	}
	return only.check(&Verdict{Entry: e, Verdict: Reappraised}, time.Time{})
}

// placeUnmet compares a place that was asked for with what the entry proves.
func placeUnmet(want string, e *poclog.Entry) string {
	if want == "" {
		return ""
	}
	if e.Place == nil {
		return fmt.Sprintf("the entry of level %d carries no place", e.Level)
	}
	provider, within, _ := strings.Cut(want, "/")
	p := e.ProvenPlace()
	if p.Provider.Value != provider {
		said := e.Place.Provider
		return fmt.Sprintf("the provider is %q by %s in profile %s, not authenticated as %q", said.Value, strings.Join(said.By, ", "), e.Profile, provider)
	}
	if within == "" || p.Region.Value == within || p.Zone.Value == within {
		return ""
	}
	return fmt.Sprintf("the place is %s/%s/%s, not authenticated as %q", e.Place.Provider.Value, e.Place.Region.Value, e.Place.Zone.Value, want)
}

func tooOld(what string, limit time.Duration, since Bound, now time.Time) string {
	switch age := now.Sub(since.Time); {
	case limit == 0:
		return ""
	case !since.Known:
		return fmt.Sprintf("nobody says how old %s is: %s", what, since.Why)
	case age > limit:
		return fmt.Sprintf("%s is %s old, want at most %s", what, age.Truncate(time.Second), limit)
	case age < -verify.MaxSkew:
		return fmt.Sprintf("%s is of %s, %s after now", what, verify.Stamp(since.Time), (-age).Truncate(time.Second))
	}
	return ""
}

func intervalUnmet(limit time.Duration, v *Verdict) string {
	switch {
	case limit == 0:
		return ""
	case !v.T1.Known:
		return "nobody says after what time the evidence was made: " + v.T1.Why
	case !v.T2.Known:
		return "nobody says before what time the evidence was made: " + v.T2.Why
	}
	interval := v.T2.Time.Sub(v.T1.Time)
	return unless(interval <= limit, "made within %s, want at most %s", interval, limit)
}
