// Package querytest makes records for tests of answers.
package querytest

import (
	"fmt"
	"iter"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/monitor"
)

// Origin is the log of the records.
const Origin = "log.test"

// Start is hour 0.
var Start = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// Hours returns the time so many hours after Start.
func Hours(n float64) time.Time { return Start.Add(time.Duration(n * float64(time.Hour))) }

// Proof is a bound proof of instance n on a chip at an hour.
func Proof(chip, instance int, at float64, change func(*monitor.Record)) *monitor.Record {
	r := &monitor.Record{
		Kind: monitor.KindProof, Profile: poclog.GCETDXvTPM, Level: 2, Realm: poclog.Production, Appraised: Hours(at), Fresh: &monitor.Fresh{Origin: Origin},
		Chip: PPID(chip), Place: Authentic("gce", "us-central1", "us-central1-a"), TCB: "UpToDate",
		AK: poclog.Identity(fmt.Sprintf("tpm:ak:%064x", instance)), Quote: poclog.Identity(fmt.Sprintf("quote:%064x", int(at*3600)+1)),
	}
	if instance > 0 {
		r.Instance = poclog.GCEInstanceIdentity(7, uint64(instance))
	}
	if change != nil {
		change(r)
	}
	return r
}

// Of makes records a sequence. Those without an origin are of the log, in their order.
func Of(list ...*monitor.Record) iter.Seq2[*monitor.Record, error] {
	return func(yield func(*monitor.Record, error) bool) {
		for i, r := range list {
			c := *r
			if c.Origin == "" {
				c.Origin, c.Index = Origin, uint64(i)
			}
			if !yield(&c, nil) {
				return
			}
		}
	}
}

// Authentic is a place that is proven.
func Authentic(provider, region, zone string) monitor.Place {
	return monitor.Place{Provider: provider, Region: region, Zone: zone, ProviderAuthentic: true, RegionAuthentic: true, ZoneAuthentic: true}
}

// PPID is the identity of a chip.
func PPID(n int) poclog.Identity { return poclog.Identity(fmt.Sprintf("intel:tdx:ppid:%032x", n)) }
