package main

import (
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/dossier"
	"github.com/poclog/poclog/verify/profile"
	"github.com/poclog/poclog/verify/receipt"
)

// demandFlags are what a reader asks of an entry; the defaults are safe.
type demandFlags struct {
	profiles, require, tcb, publishers, judges  []string
	level                                       int
	realm, place, chassis, measurement, verdict string
	userData, auditGroup                        string
	owner                                       string
	endorsedBy                                  []string
	endorsers                                   []dossier.Endorser // of endorsedBy, those that are registrars
	maxAge, maxCheckpointAge, maxInterval       time.Duration
	bundle, envelope, collateral                string
	appraisalPolicy, quoteFile                  string
}

func (f *demandFlags) register(c *cobra.Command) {
	fl := c.Flags()
	fl.StringSliceVar(&f.profiles, "profile", nil, "accept only these profiles")
	fl.IntVar(&f.level, "level", poclog.LevelBound, "least level: 2, or 0 for a genuine chip at an unproven place")
	fl.StringVar(&f.realm, "realm", string(poclog.Production), "realm: production or lab")
	fl.StringVar(&f.place, "place", "", "demand a place: provider, provider/region or provider/zone, authenticated")
	fl.StringVar(&f.chassis, "chassis", "", "demand a chassis, by one of its identities")
	fl.StringSliceVar(&f.require, "require", nil, "demand that these checks passed")
	fl.StringVar(&f.owner, "owner", "", "demand that the platform's owner has this name, by an endorsement")
	fl.StringArrayVar(&f.endorsedBy, "endorsed-by", nil, "demand that it vouches: a registrar that you pinned, by --dossier, as NAME or NAME@LEVEL; or an alliance's key or an owner's root in the entry, in hexadecimal; may be repeated")
	fl.StringSliceVar(&f.tcb, "tcb", nil, "accept only these TCB statuses")
	fl.StringSliceVar(&f.publishers, "publisher", nil, "demand that the key with this digest signed the submission")
	fl.StringSliceVar(&f.judges, "appraisal-digest", nil, "accept only what these appraisal policies judged: SHA-256 of their files, in hexadecimal")
	fl.StringVar(&f.measurement, "measurement", "", "demand a launch measurement, in hexadecimal")
	fl.StringVar(&f.userData, "user-data", "", "demand that the proof speaks for this file's content")
	fl.StringVar(&f.verdict, "verdict", "", "least standing of a receipt: logged, audited or reappraised")
	fl.StringVar(&f.auditGroup, "audit-group", receipt.DefaultAuditGroup, "the tlog-policy's group of auditors")
	fl.DurationVar(&f.maxAge, "max-age", 0, "greatest age of the evidence (now − t1)")
	fl.DurationVar(&f.maxCheckpointAge, "max-checkpoint-age", 0, "greatest age of the view of the log")
	fl.DurationVar(&f.maxInterval, "max-interval", 0, "greatest uncertainty of when the evidence was made (t2 − t1)")
	fl.StringVar(&f.bundle, "bundle", "", "repeat a receipt's appraisal with this bundle")
	fl.StringVar(&f.envelope, "envelope", "", "the envelope in which publishers signed the bundle")
	fl.StringVar(&f.collateral, "collateral", "", "collateral for the appraisal")
	fl.StringVar(&f.appraisalPolicy, "appraisal", "", "appraisal policy (default: the built-in one)")
	fl.StringVar(&f.quoteFile, "quote", "", "compare a receipt with this TEE quote of a live connection: a TDX quote, or a SEV-SNP report with its certificates")
}

// demands parses the flags; what is wrong is wrong usage.
func (f *demandFlags) demands(cmd *cobra.Command) (d receipt.Demands, err error) {
	if f.level != poclog.LevelChip && f.level != poclog.LevelBound {
		return d, usagef("--level %d: want 0 or 2", f.level)
	}
	d = receipt.Demands{
		UnsafeLevel0: f.level == poclog.LevelChip, Place: f.place, Require: f.require, Owner: f.owner, TCB: f.tcb, Standing: receipt.Standing(f.verdict),
		MaxAge: f.maxAge, MaxCheckpointAge: f.maxCheckpointAge, MaxInterval: f.maxInterval, AuditGroup: f.auditGroup,
	}
	if d.UnsafeRealm, err = poclog.ParseRealm(f.realm); err != nil {
		return d, usagef("--realm: %w", err)
	}
	for _, name := range f.profiles {
		p, err := poclog.ParseProfile(name)
		if err != nil {
			return d, usagef("--profile: %w", err)
		}
		d.Profiles = append(d.Profiles, p)
	}
	for _, by := range f.endorsedBy {
		if key, err := poclog.ParseDigest(by); err == nil {
			d.EndorsedBy = append(d.EndorsedBy, key)
			continue
		}
		e, err := dossier.ParseEndorser(by)
		if err != nil {
			return d, usagef("--endorsed-by %w, or 64 hexadecimal digits", err)
		}
		f.endorsers = append(f.endorsers, e)
	}
	if d.Publishers, err = parseDigests("publisher", f.publishers); err != nil {
		return d, err
	}
	if d.Appraisals, err = parseDigests("appraisal-digest", f.judges); err != nil {
		return d, err
	}
	if f.chassis != "" {
		if d.Chassis, err = wholeIdentity(cmd, "--chassis", f.chassis); err != nil {
			return d, err
		}
	}
	if err := f.known(); err != nil {
		return d, err
	}
	if f.measurement != "" {
		if d.Measurement, err = hex.DecodeString(f.measurement); err != nil {
			return d, usagef("--measurement: %w", err)
		}
	}
	if err := d.Validate(); err != nil {
		return d, usagef("%w", err)
	}
	return d, f.files(cmd, &d)
}

func parseDigests(flag string, texts []string) (list []poclog.Digest, err error) {
	for _, text := range texts {
		d, err := poclog.ParseDigest(text)
		if err != nil {
			return nil, usagef("--%s: %w", flag, err)
		}
		list = append(list, d)
	}
	return list, nil
}

// known refuses check ids that no entry has: a slip must not look like a demand that was not met.
func (f *demandFlags) known() error {
	var ids []string
	for _, c := range verify.Checks() {
		ids = append(ids, string(c))
	}
	for _, id := range f.require {
		if !slices.Contains(ids, id) {
			return hint(usagef("--require %q: no such check", id), "checks: %s", strings.Join(ids, " "))
		}
	}
	return nil
}

// files reads what demands refer to.
func (f *demandFlags) files(cmd *cobra.Command, d *receipt.Demands) error {
	if f.userData != "" {
		sum, err := readUserData(cmd, f.userData)
		if err != nil {
			return err
		}
		d.UserData = &sum
	}
	if f.bundle == "" {
		return nil
	}
	e := new(receipt.Evidence)
	var err error
	if e.Bundle, err = readFile(cmd, f.bundle, poclog.MaxBundle); err != nil {
		return err
	}
	if e.Envelope, err = readOptional(cmd, f.envelope, poclog.MaxEnvelope); err != nil {
		return err
	}
	if e.Collateral, err = readOptional(cmd, f.collateral, poclog.MaxCollateral); err != nil {
		return err
	}
	if e.Policy, _, err = readAppraisal(cmd, f.appraisalPolicy); err != nil {
		return err
	}
	d.Evidence, d.Reappraise = e, profile.Reappraiser{}
	return nil
}
