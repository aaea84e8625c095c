package attack

import (
	"bytes"
	"slices"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/endorser"
	"github.com/poclog/poclog/verify"
)

// Who vouches for machines of the worlds.
const (
	AllianceName = "alliance.lab.test"
	OwnerName    = "owner.lab.test"
	Label        = "rack 7" // of the honest machine in the alliance's registry
)

// Alliance is the registry that vouches for the honest chip.
func (w *World) Alliance() *endorser.Alliance {
	return endorser.NewAlliance("profile test", AllianceName)
}

// Owner is whose the honest platform is.
func (w *World) Owner() *endorser.Owner { return endorser.NewOwner("profile test", OwnerName, start) }

// AskAlliance has the policy list the registry.
func (w *World) AskAlliance() {
	w.Policy.Alliances = []poclog.Alliance{w.Alliance().Policy()}
}

// AskOwner has the policy list an owner's root.
func (w *World) AskOwner(o *endorser.Owner) {
	w.Policy.Roots = append(slices.Clone(w.Policy.Roots), o.Policy())
	slices.SortFunc(w.Policy.Roots, func(a, b poclog.Root) int {
		return bytes.Compare(append([]byte(a.Use), a.SHA256[:]...), append([]byte(b.Use), b.SHA256[:]...))
	})
}

// Bring puts endorsements into the collateral.
func (w *World) Bring(items ...poclog.CollateralItem) { w.Collateral = w.Collateral.With(items...) }

// Token is the registry's on a bundle's TEE quote.
func (w *World) Token(b *poclog.Bundle) []byte {
	return w.Alliance().Token(b.TEE(), w.machineID(), Label, Now.Add(-time.Minute))
}

// machineID is how registries name the honest chip, in octets.
func (w *World) machineID() []byte {
	if w.AzureVM != nil && w.AzureVM.Host.SNP != nil {
		return w.AzureVM.Host.SNP.ID[:]
	}
	return w.chip().PPID[:]
}

// forToken has the registry asked, and an attacker bring a token with the honest evidence.
func forToken(name string, token func(w *World, b *poclog.Bundle) []byte) Attack {
	return Attack{Name: name, Check: verify.EndorseChip, Stage: func(w *World) *poclog.Bundle {
		w.AskAlliance()
		b := w.Honest()
		w.Bring(endorser.TokenItem(token(w, b)))
		return b
	}}
}

// forOwner has the owner asked, and an attacker bring an endorsement with the honest evidence.
func forOwner(name string, endorse func(w *World, o *endorser.Owner, s endorser.Statement) poclog.CollateralItem) Attack {
	return Attack{Name: name, Check: verify.EndorseOwner, Stage: func(w *World) *poclog.Bundle {
		o := w.Owner()
		w.AskOwner(o)
		w.Bring(endorse(w, o, o.Statement(w.chip().PIID[:], Now.AddDate(0, -1, 0))))
		return w.Honest()
	}}
}

// tokens are the attacks on what registries vouch for. They are the same under every profile: the
// first two are tried under all.
var tokens = []Attack{
	forToken("token-forged", func(w *World, b *poclog.Bundle) []byte {
		own := endorser.NewAlliance("a garage", AllianceName)
		return own.TokenOf(w.Alliance().Key(), b.TEE(), w.machineID(), Label, Now)
	}),
	forToken("token-of-another-chip", func(w *World, b *poclog.Bundle) []byte {
		other := bytes.Repeat([]byte{7}, len(w.machineID()))
		return w.Alliance().Token(b.TEE(), other, Label, Now)
	}),
	forToken("token-relabelled", func(w *World, b *poclog.Bundle) []byte {
		// The signature of the true token stands beside another label.
		parts := bytes.Split(w.Token(b), []byte("."))
		other := bytes.Split(w.Alliance().Token(b.TEE(), w.machineID(), "a vault", Now.Add(-time.Minute)), []byte("."))
		return bytes.Join([][]byte{parts[0], other[1], parts[2]}, []byte("."))
	}),
	forToken("token-unsigned", func(w *World, b *poclog.Bundle) []byte {
		_, payload, _ := bytes.Cut(w.Token(b), []byte("."))
		payload, _, _ = bytes.Cut(payload, []byte("."))
		return bytes.Join([][]byte{[]byte("eyJhbGciOiJub25lIn0"), payload, {}}, []byte(".")) // {"alg":"none"}
	}),
	forToken("token-of-another-quote", func(w *World, b *poclog.Bundle) []byte {
		return w.Alliance().Token(append([]byte("another "), b.TEE()...), w.machineID(), Label, Now)
	}),
	forToken("token-old", func(w *World, b *poclog.Bundle) []byte {
		return w.Alliance().Token(b.TEE(), w.machineID(), Label, Now.Add(-24*time.Hour-time.Second))
	}),
	forToken("token-of-the-future", func(w *World, b *poclog.Bundle) []byte {
		return w.Alliance().Token(b.TEE(), w.machineID(), Label, Now.Add(5*time.Minute+time.Second))
	}),
}

// owners are the attacks on what owners of platforms say. They are the same under every profile of
// TDX: the first two are tried under all.
var owners = []Attack{
	forOwner("owner-uncertified", func(_ *World, o *endorser.Owner, s endorser.Statement) poclog.CollateralItem {
		// The owner's true root stands above a signer of his own, which it did not certify.
		s.WithoutRoot = true
		item := endorser.NewOwner("a garage", OwnerName, start).Endorse(s)
		item.Chain = o.Endorse(s).Chain
		return item
	}),
	forOwner("owner-other-platform", func(w *World, o *endorser.Owner, s endorser.Statement) poclog.CollateralItem {
		s.PIID = bytes.Repeat([]byte{7}, len(s.PIID))
		return o.Endorse(s)
	}),
	forOwner("owner-forged", func(_ *World, o *endorser.Owner, s endorser.Statement) poclog.CollateralItem {
		// The signature of a true endorsement of another platform stands over this one's.
		platform := s.PIID
		s.PIID = bytes.Repeat([]byte{7}, len(platform))
		item := o.Endorse(s)
		item.Body = bytes.Replace(item.Body, s.PIID, platform, 1)
		return item
	}),
	forOwner("owner-expired", func(_ *World, o *endorser.Owner, s endorser.Statement) poclog.CollateralItem {
		s.From, s.Until = Now.AddDate(0, -2, 0), Now.Add(-time.Second)
		return o.Endorse(s)
	}),
	forOwner("owner-lie", func(w *World, _ *endorser.Owner, s endorser.Statement) poclog.CollateralItem {
		// One of several owners of a policy gives his machine another's name.
		liar := endorser.NewOwner("another owner", "other.lab.test", start)
		w.AskOwner(liar)
		return liar.Endorse(s)
	}),
}
