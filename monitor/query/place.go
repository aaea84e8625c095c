package query

import (
	"fmt"
	"strings"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/monitor"
)

// A Place is where a chassis stands, as far as evidence proves it: a part that only hints name is
// empty, and so are those below it.
type Place struct {
	Provider string `json:"provider,omitempty"`
	Region   string `json:"region,omitempty"`
	Zone     string `json:"zone,omitempty"`
}

// String gives "provider/region/zone" as far as it is known, or "".
func (p Place) String() string {
	s := p.Provider
	for _, part := range []string{p.Region, p.Zone} {
		if part != "" {
			s += "/" + part
		}
	}
	return s
}

// IsZero reports whether nothing is known.
func (p Place) IsZero() bool { return p == Place{} }

// Proven returns the place that a record proves: of a bound proof, the parts that authenticated
// evidence names.
func Proven(r *monitor.Record) Place {
	var p Place
	if r.Level < poclog.LevelBound || !r.Place.ProviderAuthentic {
		return p
	}
	p.Provider = r.Place.Provider
	if r.Place.RegionAuthentic {
		p.Region = r.Place.Region
	}
	if r.Place.ZoneAuthentic {
		p.Zone = r.Place.Zone
	}
	return p
}

// Claimed returns the place that a record claims, proven or not.
func Claimed(r *monitor.Record) Place {
	return Place{Provider: r.Place.Provider, Region: r.Place.Region, Zone: r.Place.Zone}
}

// A PlaceQuery is "provider", "provider/region" or "provider/zone", as `poclog verify --place` has
// it.
type PlaceQuery struct{ provider, within string }

// ParsePlace parses a query. The empty one is every place.
func ParsePlace(s string) (PlaceQuery, error) {
	provider, within, deeper := strings.Cut(s, "/")
	if s != "" && (provider == "" || deeper && within == "" || strings.Contains(within, "/")) {
		return PlaceQuery{}, fmt.Errorf("place %.100q: want a provider, a provider/region or a provider/zone", s)
	}
	return PlaceQuery{provider, within}, nil
}

// All reports whether the query is of every place, also of none.
func (q PlaceQuery) All() bool { return q == PlaceQuery{} }

// Has reports whether a place is of the query.
func (q PlaceQuery) Has(p Place) bool {
	return q.All() || p.Provider == q.provider && (q.within == "" || p.Region == q.within || p.Zone == q.within)
}
