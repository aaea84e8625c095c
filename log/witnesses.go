package log

import (
	"fmt"
	"strings"

	"github.com/transparency-dev/tessera"
	"golang.org/x/mod/sumdb/note"

	"github.com/poclog/poclog/verify/tlogpolicy"
)

// A quorum is the witnesses that must cosign before a checkpoint is published. It implements
// Tessera's policy component with our strict reading of the policy, for Tessera's own takes one
// witness twice for two.
type quorum struct {
	policy    *tlogpolicy.Policy
	endpoints map[string]note.Verifier // add-checkpoint URL, with a fragment for each key → the key
}

// newQuorum finds the witnesses of the policy's quorum. All must have an address.
func newQuorum(p *tlogpolicy.Policy) (*quorum, error) {
	q := &quorum{policy: p, endpoints: make(map[string]note.Verifier)}
	for _, w := range p.Witnesses() {
		if !p.Contains(p.Quorum(), w.Name) {
			continue
		}
		if w.URL == "" {
			return nil, fmt.Errorf("witness %q of the quorum has no URL", w.Name)
		}
		v, err := tlogpolicy.WitnessVerifier(w.VKey)
		if err != nil {
			return nil, err
		}
		address := addCheckpoint(w.URL)
		if address == "" {
			return nil, fmt.Errorf("witness %q: URL %.200q is none", w.Name, w.URL)
		}
		// A witness may have several keys at one address. The fragment keeps them apart, and is not
		// sent.
		q.endpoints[address+fmt.Sprintf("#%08x", v.KeyHash())] = v
	}
	return q, nil
}

// Satisfied reports whether a checkpoint carries the quorum.
func (q *quorum) Satisfied(checkpoint []byte) bool {
	_, err := q.policy.Open(checkpoint)
	return err == nil
}

// Endpoints lists whom to ask.
func (q *quorum) Endpoints() map[string]note.Verifier { return q.endpoints }

// group is the quorum as Tessera takes it; nobody is asked where there is none.
func (q *quorum) group() tessera.WitnessGroup {
	if len(q.endpoints) == 0 {
		return tessera.NewWitnessGroup(0)
	}
	return tessera.NewWitnessGroup(1, q)
}

// ownPolicy reads DIR/policy.txt, which must list the log's own keys: clients and the log share it.
func ownPolicy(text []byte, signers ...note.Signer) (*tlogpolicy.Policy, error) {
	p, err := tlogpolicy.Parse(text)
	if err != nil {
		return nil, err
	}
	for _, s := range signers {
		id := fmt.Sprintf("%s+%08x+", s.Name(), s.KeyHash())
		found := false
		for _, l := range p.Logs() {
			found = found || strings.HasPrefix(l.VKey, id)
		}
		if !found {
			return nil, fmt.Errorf("no log line for the log's own key %s…", id)
		}
	}
	return p, nil
}
