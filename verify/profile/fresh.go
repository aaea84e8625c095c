package profile

import (
	"bytes"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

// nonceAlone returns the nonce of a report data that names no AK: zeros stand in its place.
func nonceAlone(rd *[64]byte) []byte {
	if !bytes.Equal(rd[:32], make([]byte, 32)) {
		return nil
	}
	return rd[32:]
}

// checkFresh holds the evidence to its challenge: the checkpoint is one that the policy accepts,
// not too old when the evidence is judged, and the nonce is made from exactly it. have returns
// where the evidence carries the nonce.
func (s *subject) checkFresh(have func() []byte) error {
	c := s.challenge
	if c == nil {
		return lacksf(poclog.ItemChallenge, "the evidence answers no challenge: it is historical")
	}
	if c.Profile != s.name {
		return verify.Failf(verify.FreshChallenge, "the challenge is for profile %s, the evidence of %s", c.Profile, s.name)
	}
	if nonce := c.Nonce(); string(have()) != string(nonce[:]) {
		return verify.Failf(verify.FreshChallenge, "the evidence does not carry the challenge's nonce %x", nonce)
	}
	if err := s.judge("if the policy accepts the challenge's checkpoint"); err != nil {
		return err
	}
	view, err := s.challengeView()
	if err != nil {
		return err
	}
	s.entry.Fresh = &poclog.Fresh{
		Origin: view.Origin, Size: view.Size, Root: view.Root, Checkpoint: poclog.Sum(c.Checkpoint), Salt: c.Salt, UserData: c.UserData,
	}
	s.note(verify.FreshChallenge, "made after size %d of %s", view.Size, view.Origin)
	return nil
}

// challengeView opens the challenge's checkpoint under the policy and limits its age: by its
// witnesses' times or, where the policy asks for none, by the time in the log's own signature,
// which is the judging log's word or a sister's.
func (s *subject) challengeView() (*tlogpolicy.View, error) {
	if len(s.policy.ChallengePolicy) == 0 {
		return nil, verify.Failf(verify.FreshChallenge, "the policy accepts no log's checkpoints as a challenge")
	}
	p, err := s.law.challenges()
	if err != nil {
		return nil, verify.Failf(verify.Policy, "challenge_policy: %w", err)
	}
	view, err := p.Open(s.challenge.Checkpoint)
	if err != nil {
		return nil, verify.Failf(verify.FreshChallenge, "challenge checkpoint: %w", err)
	}
	made, ok := view.NotBefore()
	if !ok {
		made = view.Signed
	}
	age, limit := s.in.Appraised.Sub(made), time.Duration(s.policy.MaxChallengeAge)*time.Second
	switch {
	case made.IsZero():
		return nil, verify.Failf(verify.FreshChallenge, "the challenge's checkpoint has no time: neither witnesses' nor in its log's signature")
	case age > limit:
		return nil, verify.Failf(verify.FreshChallenge, "the challenge's checkpoint was %s old: want at most %s", age, limit)
	case age < -verify.MaxSkew:
		return nil, verify.Failf(verify.FreshChallenge, "the challenge's checkpoint was signed %s after the time of appraisal", -age)
	}
	return view, nil
}
