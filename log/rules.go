package log

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"golang.org/x/mod/sumdb/note"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/durable"
	"github.com/poclog/poclog/verify/profile"
	"github.com/poclog/poclog/verify/tlogpolicy"
	"github.com/poclog/poclog/verify/vouch/dsse"
	"github.com/poclog/poclog/verify/vouch/registry"
)

// rules are what a log admits and who must cosign it: appraisal.json and policy.txt, as they were
// when it started.
type rules struct {
	policy     *poclog.Policy
	file       []byte               // of the policy
	publishers *dsse.Publishers     // of the policy
	registrars *registry.Registrars // of the policy
	own        *tlogpolicy.Policy   // policy.txt
	ownText    []byte               // the file
	changed    bool                 // whether the challenge policy had to follow policy.txt: the file is another than appraisal.json
}

// loadRules reads both files of a log's directory. The second must list the log's own keys.
func loadRules(dir string, keys ...note.Signer) (r *rules, err error) {
	r = new(rules)
	text, err := os.ReadFile(filepath.Join(dir, filePolicy))
	if err != nil {
		return nil, err
	}
	if r.own, err = ownPolicy(text, keys...); err != nil {
		return nil, fmt.Errorf("%s: %w", filePolicy, err)
	}
	r.ownText = text
	if r.file, err = os.ReadFile(filepath.Join(dir, fileAppraisal)); err != nil {
		return nil, err
	}
	if err := r.appraisal(); err != nil {
		return nil, fmt.Errorf("%s: %w", fileAppraisal, err)
	}
	return r, nil
}

// keep writes a policy that changed to appraisal.json.
func (r *rules) keep(dir string, logger *slog.Logger) error {
	if !r.changed {
		return nil
	}
	if err := durable.Replace(filepath.Join(dir, fileAppraisal), r.file, 0o644); err != nil {
		return fmt.Errorf("keep %s: %w", fileAppraisal, err)
	}
	logger.Info("the challenge policy follows "+filePolicy, "quorum", r.own.Quorum())
	r.changed = false
	return nil
}

func (r *rules) appraisal() (err error) {
	if r.policy, err = poclog.ParsePolicy(r.file); err != nil {
		return err
	}
	// The challenge policy follows policy.txt: it is the policy in force.
	if r.changed, err = challengePolicy(r.policy, r.own); err != nil {
		return err
	}
	if r.changed {
		if r.file, err = r.policy.Marshal(); err != nil {
			return err
		}
	}
	if err := profile.CheckPolicy(r.policy); err != nil {
		return err
	}
	if r.publishers, err = dsse.New(r.policy.Publishers); err != nil {
		return err
	}
	r.registrars, err = registry.New(r.policy.Registrars)
	return err
}
