package attest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-tpm/tpm2/transport"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/publish/importer"
	"github.com/poclog/poclog/verify/profile"
	"github.com/poclog/poclog/verify/tcglog"
	"github.com/poclog/poclog/verify/tpm"
)

// A Requirement is a piece of evidence, or the log, and whether it is at hand.
type Requirement struct {
	Name   string // one of the Piece constants
	OK     bool
	Detail string // what was found, or why it is missing
	How    Remedy // how to get what is missing
}

// A Report says what a machine has of what its profile takes.
type Report struct {
	Cloud        Cloud
	Profile      poclog.Profile // "" where none is known
	Requirements []Requirement
	Outlook      *profile.Outlook // of evidence that was taken to try, without a challenge; nil where a piece is missing
}

// OK reports whether nothing is missing, and what is there does not contradict itself.
func (r *Report) OK() bool { return r.complete() && !r.Contradicts() }

// Contradicts reports whether the evidence that was taken to try is such that every judge refuses
// it.
func (r *Report) Contradicts() bool {
	return r.Outlook != nil && slices.ContainsFunc(r.Outlook.Checks, func(c profile.Prospect) bool { return c.State == profile.Refused })
}

func (r *Report) complete() bool {
	return !slices.ContainsFunc(r.Requirements, func(q Requirement) bool { return !q.OK })
}

// A LogInfo says what a log admits, and proves that it can be reached: *client.Client.
type LogInfo interface {
	Checkpoint(ctx context.Context) (*client.Checkpoint, error)
	FetchPolicy(ctx context.Context) (file []byte, policy *poclog.Policy, err error)
}

// add notes a requirement: what was found, or the error that says how to get it.
func (r *Report) add(piece string, found func() (string, error)) {
	detail, err := found()
	q := Requirement{Name: piece, OK: err == nil, Detail: detail}
	if err != nil {
		q.Detail = err.Error()
		if m, ok := errors.AsType[*MissingError](err); ok {
			q.Detail, q.How = m.Err.Error(), m.How
		}
	}
	q.Detail = strings.ReplaceAll(q.Detail, "\n", "; ")
	r.Requirements = append(r.Requirements, q)
}

// Check looks for everything that Attest would take, each piece by itself. Where all are there it
// takes evidence without a challenge, which nobody gets to see, and looks whether it fits together.
// Then it asks the log, if there is one, whether it admits the profile. It changes nothing.
func (m *Machine) Check(ctx context.Context, o *Options, l LogInfo) *Report {
	r := &Report{Cloud: m.cloud()}
	look := *o
	look.Persist = 0
	r.add(PieceMachine, func() (string, error) {
		var err error
		r.Profile, err = m.Profile(o)
		return m.describe(o, r.Profile), err
	})
	switch r.Profile {
	case poclog.AzureTDXvTPM, poclog.AzureSNPvTPM:
		m.checkAzure(ctx, r, &look)
	case poclog.GCETDXvTPM, poclog.BareMetalTDXTPM:
		r.add(PieceTEE, m.checkTEE)
		r.add(PieceLogs, func() (string, error) { return m.checkLogs(r.Profile, &look) })
		m.checkTPM(ctx, r, &look)
	case poclog.TDX:
		r.add(PieceTEE, m.checkTEE)
	}
	if r.complete() {
		var err error
		if r.Outlook, err = m.rehearse(ctx, r.Profile, &look); err != nil {
			r.add(PieceEvidence, func() (string, error) { return "", err })
		}
	}
	r.add(PieceLog, func() (string, error) { return checkLog(ctx, l, r.Profile) })
	return r
}

// Present returns an error unless a TEE is here that could have made evidence. It takes a TD quote
// over zeros, which nobody gets to see.
func (m *Machine) Present(o *Options) error {
	p, err := m.Profile(o)
	if err != nil {
		return err
	}
	if p != poclog.AzureTDXvTPM && p != poclog.AzureSNPvTPM {
		_, _, err := m.tdQuote([64]byte{})
		return err
	}
	_, err = m.hcl()
	return err
}

func (m *Machine) describe(o *Options, p poclog.Profile) string {
	where := map[Cloud]string{GCE: "a VM of Compute Engine", Azure: "a VM of Azure", Other: "neither of Compute Engine nor of Azure"}[m.cloud()]
	text := fmt.Sprintf("%s; profile %s", where, p)
	if o.Profile != "" {
		text += ", as given"
	}
	if p == poclog.TDX {
		text += ": a chip without a place. A bare-metal machine whose provider certified an AK proves one"
	}
	return text
}

func (m *Machine) checkTEE() (string, error) {
	_, q, err := m.tdQuote([64]byte{})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("a TDX guest; its chip is %v", q.Platform.Identities()), nil
}

func (m *Machine) checkLogs(p poclog.Profile, o *Options) (string, error) {
	tcg, ccel, err := m.eventLogs(p, o)
	if err != nil {
		return "", err
	}
	var found []string
	for _, l := range []struct {
		kind tcglog.Kind
		b    []byte
	}{{tcglog.TPM, tcg}, {tcglog.CCEL, ccel}} {
		if len(l.b) == 0 {
			continue
		}
		found = append(found, fmt.Sprintf("%s: %d bytes", l.kind, len(l.b)))
	}
	if len(found) == 0 {
		return "none; this profile does without", nil
	}
	return strings.Join(found, ", "), nil
}

// checkTPM looks at the TPM, its AK and the certificates.
func (m *Machine) checkTPM(ctx context.Context, r *Report, o *Options) {
	t, err := m.openTPM()
	r.add(PieceTPM, func() (string, error) {
		if err != nil {
			return "", err
		}
		if _, err := selectPCRs(t, r.Profile, nil); err != nil {
			return "", err
		}
		banks, err := importer.Banks(t)
		return fmt.Sprintf("banks %v", banks), err
	})
	if err != nil {
		return
	}
	defer t.Close() // it was read
	k, err := m.openAK(t, r.Profile, o)
	defer k.unload(t)
	r.add(PieceAK, func() (string, error) {
		if err != nil {
			return "", err
		}
		return describeAK(k), nil
	})
	if err != nil {
		return
	}
	r.add(PieceAKChain, func() (string, error) {
		item, err := m.Issuers.complete(ctx, PieceAKChain, k.cert, o.AKCerts)
		return describeChain(item, err)
	})
	if r.Profile == poclog.BareMetalTDXTPM {
		r.add(PieceEKChain, func() (string, error) {
			item, err := m.ekChain(ctx, t, k.cert, o)
			return describeChain(item, err)
		})
	}
}

// openAK opens the profile's attestation key.
func (m *Machine) openAK(t transport.TPM, p poclog.Profile, o *Options) (*key, error) {
	if p == poclog.GCETDXvTPM {
		return gceAK(t, o)
	}
	return metalAK(t, o)
}

func describeAK(k *key) string {
	if g, err := tpm.ParseGCEInstance(k.cert); err == nil {
		return fmt.Sprintf("certified for instance %q of project %q in %s", g.InstanceName, g.ProjectID, g.Zone)
	}
	if p, err := tpm.ParsePlatform(k.cert); err == nil {
		return fmt.Sprintf("certified for a machine of %s in %s", p.Provider, p.Zone)
	}
	return fmt.Sprintf("certified for %q", k.cert.Subject)
}

func describeChain(item []byte, err error) (string, error) {
	if err != nil {
		return "", err
	}
	chain, err := tpm.ParseChain(item)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d certificates up to %q", len(chain), chain[len(chain)-1].Subject), nil
}

func (m *Machine) checkAzure(ctx context.Context, r *Report, o *Options) {
	t, err := m.openTPM()
	r.add(PieceTPM, func() (string, error) { return "open", err })
	if err != nil {
		return
	}
	defer t.Close() // it was read
	r.add(PieceTEE, func() (string, error) {
		hcl, err := readHCL(t)
		if err != nil {
			return "", err
		}
		return "an HCL report of VM " + hcl.VMUniqueID, nil
	})
	r.add(PieceAK, func() (string, error) {
		cert, err := readCertificate(t, importer.NVAzureAKCert)
		if err != nil {
			return "", &MissingError{PieceAK, err, RunInAzure}
		}
		return fmt.Sprintf("certified for %q", cert.Subject), nil
	})
	r.add(PieceAKChain, func() (string, error) {
		pem, err := m.azureIssuers(ctx, t, o)
		return fmt.Sprintf("%d issuers", strings.Count(string(pem), "-----BEGIN")), err
	})
}

func checkLog(ctx context.Context, l LogInfo, p poclog.Profile) (string, error) {
	if l == nil {
		return "", &MissingError{PieceLog, errors.New("no log is named"), NameLog}
	}
	cp, err := l.Checkpoint(ctx)
	if err != nil {
		return "", &MissingError{PieceLog, err, ReachLog}
	}
	_, policy, err := l.FetchPolicy(ctx)
	if err != nil {
		return "", &MissingError{PieceLog, fmt.Errorf("its appraisal policy: %w", err), AskLogsOperator}
	}
	var admits []string
	accepted := ""
	for _, a := range policy.Admit {
		admits = append(admits, fmt.Sprintf("%s (level %d)", a.Profile, a.Level))
		if a.Profile == p {
			accepted = fmt.Sprintf("accepts this machine's profile, %s, from level %d on", p, a.Level)
		}
	}
	log := fmt.Sprintf("%s, size %d, realm %s", cp.Origin, cp.Size, policy.Realm)
	all := "admits " + strings.Join(admits, ", ")
	switch {
	case p == "":
		return log + "; " + all, nil
	case accepted == "":
		return "", &MissingError{PieceLog, fmt.Errorf("%s does not accept this machine's profile, %s; it %s", log, p, all), UseAnotherLog}
	}
	return log + " " + accepted + "; it " + all, nil
}
