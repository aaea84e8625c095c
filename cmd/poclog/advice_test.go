package main

import (
	"testing"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/attack"
	"github.com/poclog/poclog/verify/profile"
)

// Whatever is lost or refused, the table says what to do about it: of each profile without each of
// its items, and of every attack.
func TestEverythingThatIsLostHasAdvice(t *testing.T) {
	look := func(name string, p poclog.Profile, b *poclog.Bundle) {
		o, err := profile.Look(p, b)
		if err != nil {
			return
		}
		for _, c := range o.Checks {
			if way := howToCarry(p, &c); (way == "") != (c.State == profile.Carried) {
				t.Errorf("%s, %s: %s is %s: advice %q", name, p, c.Check, c.State, way)
			}
		}
	}
	for _, p := range []poclog.Profile{
		poclog.TDX, poclog.SNP, poclog.GCETDXvTPM, poclog.AzureTDXvTPM, poclog.AzureSNPvTPM, poclog.BareMetalTDXTPM,
	} {
		whole := attack.NewWorldOf(p).Honest()
		look("nothing", p, new(poclog.Bundle))
		for _, item := range whole.Items() {
			b := new(poclog.Bundle)
			for _, other := range whole.Items() {
				if other != item {
					b.Set(other, whole.Get(other))
				}
			}
			look("without "+string(item), p, b)
		}
	}
	for _, a := range attack.All() {
		w := a.NewWorld()
		b := a.Stage(w)
		if p, err := profile.Of(b); err == nil {
			look(a.ID(), p, b)
		}
	}
}
