package collateral_test

import (
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/collateral"
	"github.com/poclog/poclog/internal/lab/endorser"
)

// Endorsements are described under the policy of whoever looks: what it does not list is not
// authentic.
func TestEndorsementsAreDescribed(t *testing.T) {
	at := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	alliance, owner := endorser.NewAlliance("describe", "alliance.test"), endorser.NewOwner("describe", "owner.test", at.AddDate(0, -3, 0))
	machine := []byte("0123456789abcdef")
	s := owner.Statement(machine, at.AddDate(0, -1, 0))
	s.Until = at.AddDate(0, 1, 0)
	c := new(poclog.Collateral).With(endorser.TokenItem(alliance.Token([]byte("quote"), machine, "rack 7", at)), owner.Endorse(s))
	p := &poclog.Policy{V: 1, Realm: poclog.Lab, MaxChallengeAge: 600, Alliances: []poclog.Alliance{alliance.Policy()}, Roots: []poclog.Root{owner.Policy()}}
	for _, w := range []struct {
		name         string
		policy       *poclog.Policy
		at           time.Time
		token, owner string // errors
	}{
		{"now", p, at.Add(time.Hour), "", ""},
		{"two days later", p, at.AddDate(0, 0, 2), "not valid at", ""},
		{"two months later", p, at.AddDate(0, 2, 0), "not valid at", "not valid at"},
		{"under another policy", &poclog.Policy{V: 1, Realm: poclog.Lab, MaxChallengeAge: 600}, at, "no signature by a key", "not one that the policy lists"},
	} {
		got := collateral.Describe(c, w.policy, w.at)
		if len(got) != 2 {
			t.Fatalf("%s: %d states", w.name, len(got))
		}
		for i, want := range []string{w.token, w.owner} {
			st := got[i]
			if st.Valid != (want == "") || !strings.Contains(st.Error, want) || (want == "") != (st.Error == "") {
				t.Errorf("%s: %s: valid %v, %q: want %q", w.name, st.Kind, st.Valid, st.Error, want)
			}
			if st.For != "30313233343536373839616263646566" {
				t.Errorf("%s: %s is for %q", w.name, st.Kind, st.For)
			}
		}
		if w.policy == p && (got[0].Issuer != "alliance.test" || got[1].Issuer != "CN=owner.test" || !got[1].NextUpdate.Equal(s.Until)) {
			t.Errorf("%s: %+v", w.name, got)
		}
	}
}

// A token without a time of its own holds as long as its quote is fresh, which a description does
// not know.
func TestTokenWithoutATimeIsDescribed(t *testing.T) {
	alliance := endorser.NewAlliance("describe", "alliance.test")
	c := new(poclog.Collateral).With(endorser.TokenItem(alliance.BareToken([]byte("quote"), []byte("0123456789abcdef"), "rack 7")))
	p := &poclog.Policy{V: 1, Realm: poclog.Lab, MaxChallengeAge: 600, Alliances: []poclog.Alliance{alliance.Policy()}}
	got := collateral.Describe(c, p, time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC))
	if len(got) != 1 || !got[0].Valid || got[0].Error != "" || !got[0].Issued.IsZero() || !got[0].NextUpdate.IsZero() || got[0].DaysLeft != 0 {
		t.Errorf("%+v", got)
	}
	if got = collateral.Describe(c, &poclog.Policy{V: 1, Realm: poclog.Lab, MaxChallengeAge: 600}, time.Now()); got[0].Valid {
		t.Errorf("a token that nobody lists: %+v", got)
	}
}
