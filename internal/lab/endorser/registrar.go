package endorser

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/must"
	"github.com/poclog/poclog/verify/vouch/dsse"
	"github.com/poclog/poclog/verify/vouch/registry"
)

// A Registrar vouches for machines by statements: each of its members has an Ed25519 key.
type Registrar struct {
	Name       string
	Thresholds poclog.Thresholds

	members []ed25519.PrivateKey
}

// NewRegistrar makes the registrar of a name with n members, of whom two thirds must sign, and two
// may freeze (of one member, he alone).
func NewRegistrar(seed, name string, n int) *Registrar {
	most := max(1, n*2/3)
	r := &Registrar{Name: name, Thresholds: poclog.Thresholds{Endorse: most, Revoke: most, Move: most, Freeze: min(2, n), Commit: most}}
	for i := range n {
		r.Join(fmt.Sprintf("%s %d", seed, i))
	}
	return r
}

// Join adds a member.
func (r *Registrar) Join(seed string) {
	sum := sha256.Sum256([]byte("poclog lab registrar\n" + seed + "\n" + r.Name))
	r.members = append(r.members, ed25519.NewKeyFromSeed(sum[:]))
}

// Leave removes the first member.
func (r *Registrar) Leave() { r.members = slices.Clone(r.members[1:]) }

func public(key ed25519.PrivateKey) *poclog.PublisherKey {
	return must.Get(poclog.NewPublisherKey(key.Public()))
}

// Policy returns how a policy or a reader lists the registrar.
func (r *Registrar) Policy() poclog.Registrar {
	out := poclog.Registrar{Name: r.Name, Thresholds: r.Thresholds}
	for _, m := range r.members {
		out.Keys = append(out.Keys, public(m).String())
	}
	slices.Sort(out.Keys)
	return out
}

// State signs a statement in the registrar's name by its first n members. The statement is
// well-formed.
func (r *Registrar) State(s poclog.Statement, n int) *poclog.StatementEnvelope {
	s.Registrar = r.Name
	file := must.Get(s.Marshal())
	v := &poclog.StatementEnvelope{Statement: s}
	for _, m := range r.members[:n] {
		id := must.Get(dsse.KeyID(public(m)))
		v.Signatures = append(v.Signatures, poclog.Signature{KeyID: id, Sig: ed25519.Sign(m, registry.Message(file))})
	}
	return v
}
