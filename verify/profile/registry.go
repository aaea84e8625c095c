package profile

import (
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/tpm"
)

// maxObservation is how old a registry's answer may be when it is judged.
const maxObservation = time.Hour

// A listing is what a provider's registry says of a chip, in the form of Compute Engine's.
type listing struct {
	Zone      string `json:"zone"`
	Timestamp string `json:"timestamp"`
}

// registryAnswer returns the provider's answer on this chip, if the policy has the judge ask and
// there is one. It must be about this chip and from the time of the appraisal.
func (s *subject) registryAnswer(provider string) (*poclog.CollateralItem, error) {
	for _, r := range s.policy.Registries {
		if r.Provider != provider {
			continue
		}
		it, err := s.answerTo(r.Address(hex.EncodeToString(s.quote.Platform.PPID[:])))
		if err != nil {
			return nil, err
		}
		if age := s.in.Appraised.Sub(it.Time); age > maxObservation || age < -verify.MaxSkew {
			return nil, verify.Failf(verify.PlaceRegistry, "the answer was received at %s, judged at %s", it.Time.Format(time.RFC3339), s.in.Appraised.UTC().Format(time.RFC3339))
		}
		return it, nil
	}
	return nil, absentf("the policy names no registry of the provider's chips")
}

// answerTo finds the answer to a question. Answers to others alone are no silence.
func (s *subject) answerTo(url string) (*poclog.CollateralItem, error) {
	asked := ""
	if s.collateral != nil {
		for i := range s.collateral.Items {
			it := &s.collateral.Items[i]
			if it.Kind == poclog.ChipRegistry && it.URL == url {
				return it, nil
			}
			if it.Kind == poclog.ChipRegistry {
				asked = it.URL
			}
		}
	}
	if asked != "" {
		return nil, verify.Failf(verify.PlaceRegistry, "the answer is to %.200q: want %q", asked, url)
	}
	return nil, absentf("the provider's registry did not answer")
}

// An observation is what a provider's registry says of the chip's zone.
type observation struct {
	provider, zone string
	err            error
}

// observedZone reads a registry's answer, once. What cannot be read is no answer; that the chip is
// not listed is one.
func (s *subject) observedZone(provider string) (string, error) {
	if s.observed == nil || s.observed.provider != provider {
		zone, err := s.readZone(provider)
		s.observed = &observation{provider, zone, err}
	}
	return s.observed.zone, s.observed.err
}

func (s *subject) readZone(provider string) (string, error) {
	it, err := s.registryAnswer(provider)
	if err != nil {
		return "", err
	}
	switch it.Status {
	case 200:
		var l listing
		if len(it.Body) > 1<<14 || json.Unmarshal(it.Body, &l) != nil || !tpm.IsPlace(tpm.NormalizeZone(l.Zone)) {
			return "", absentf("the provider's registry gave an answer that cannot be read")
		}
		return tpm.NormalizeZone(l.Zone), nil
	case 404:
		return "", verify.Failf(verify.PlaceRegistry, "the provider's registry does not list chip %x: it stands in no data center of the provider's", s.quote.Platform.PPID)
	}
	return "", absentf("the provider's registry answered with status %d", it.Status)
}

// checkRegistry asks whether the provider lists the chip.
func (s *subject) checkRegistry(provider string) error {
	if err := s.judge("if the judge asks the provider, and it lists the chip"); err != nil {
		return err
	}
	zone, err := s.observedZone(provider)
	if err != nil {
		return err
	}
	s.note(verify.PlaceRegistry, "listed in %s", zone)
	return nil
}

// checkSameZone compares the AK certificate's zone with what the provider's registry says, if it
// says anything.
func (s *subject) checkSameZone(provider, certified string) error {
	if err := s.judge("by what the provider's registry says, if it is asked"); err != nil {
		return err
	}
	if zone, err := s.observedZone(provider); err == nil && zone != certified {
		return verify.Failf(verify.PlaceAgree, "the AK certificate says %s, the provider's registry %s", certified, zone)
	}
	return nil
}
