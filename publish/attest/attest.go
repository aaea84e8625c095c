// Package attest takes a machine's own evidence: the publisher's side of docs/format.md §3 and §5,
// from the machine on which the process runs.
//
// A [Machine] is what the process can reach of it: configfs-tsm, a TPM 2.0, the files in which the
// kernel shows event logs and DMI, and on Azure the instance metadata service. All of it is
// injected. [Machine.Attest] puts a bundle together in the order that binds: everything that does
// not depend on a challenge first, then the challenge, the TEE's quote over AK and nonce, and the
// TPM's quote over the TEE's quote. A piece that is not to be had is a [MissingError], which says
// how to get it; [Machine.Check] lists them all.
//
// A [Series] keeps one proof for each window of time: whatever stops it, and wherever, no window
// has two entries in the log, and none is lost but those in which the process or the log did not
// run.
//
// Nothing is judged here: whoever reads the bundle does. Keys stay in the TPM, and nothing is made
// persistent in it unless the caller asks for that. TestAttestedVMIsAdmitted and
// TestKilledAtEveryDurableStepNoWindowIsDoubledOrLost (cmd/poclog) are the evidence, with a TPM in
// software and a laboratory's chip.
package attest

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/google/go-configfs-tsm/configfs/configfsi"
	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/publish/importer"
	"github.com/poclog/poclog/verify/profile"
	"github.com/poclog/poclog/verify/tcglog"
	"github.com/poclog/poclog/verify/tpm"
)

// A Machine is what a process can reach of the machine on which it runs. Nil functions reach
// nothing.
type Machine struct {
	Root    string                              // before the paths of the kernel's files; "" is the file system's own root
	TSM     func() (configfsi.Client, error)    // configfs-tsm
	TPM     func() (transport.TPMCloser, error) // opens the TPM; it is closed after each use
	IMDS    *importer.IMDS                      // Azure's; nil is the usual one
	Issuers *Issuers                            // completes certificate chains; nil completes none
}

// Options say what to take. The zero value detects the profile and takes the cloud's own AK.
type Options struct {
	Profile poclog.Profile // "" detects it

	// A bare-metal machine's AK: a persistent handle, or the template (TPMT_PUBLIC) from which the
	// TPM makes it as a primary key.
	AKHandle   tpm2.TPMHandle
	AKTemplate []byte
	// Certificates in DER, in any order, beside those that the TPM holds: the bare-metal AK's own,
	// and issuers.
	AKCerts, EKCerts [][]byte
	// Persist makes Compute Engine's AK persistent at this handle, or takes the one that is there;
	// 0 keeps nothing in the TPM.
	Persist tpm2.TPMHandle

	TCGLog, CCEL []byte // event logs, as the kernel shows them; empty reads the kernel's own
}

// An Asker fetches a challenge for a profile. It is called as late as can be.
type Asker func(ctx context.Context, p poclog.Profile) (*poclog.Challenge, error)

// ask fetches a challenge, and its file; of no asker neither.
func (a Asker) ask(ctx context.Context, p poclog.Profile) (ch *poclog.Challenge, file []byte, err error) {
	if a == nil {
		return nil, nil, nil
	}
	if ch, err = a(ctx, p); err != nil {
		return nil, nil, err
	}
	file, err = ch.Marshal()
	return ch, file, err
}

// pieces are what evidence is made of beside the quotes.
type pieces struct {
	profile          poclog.Profile
	key              *key // nil without a TPM
	akChain, ekChain []byte
	tcgLog, ccel     []byte // empty where there is none
	selection        []tpm.PCRSelection
}

// Attest takes the machine's evidence under a challenge. Which checks it can carry,
// verify/profile.Look says.
func (m *Machine) Attest(ctx context.Context, o *Options, ask Asker) (*importer.Import, error) {
	p, err := m.Profile(o)
	if err != nil {
		return nil, err
	}
	return m.attestAs(ctx, p, o, ask)
}

// rehearse takes the machine's evidence without a challenge, to look at it: nobody asks for it, and
// nothing in the machine changes.
func (m *Machine) rehearse(ctx context.Context, p poclog.Profile, o *Options) (*profile.Outlook, error) {
	im, err := m.attestAs(ctx, p, o, nil)
	if err != nil {
		return nil, err
	}
	return profile.Look(p, im.Bundle)
}

// attestAs takes a profile's evidence; without an asker it answers no challenge.
func (m *Machine) attestAs(ctx context.Context, p poclog.Profile, o *Options, ask Asker) (*importer.Import, error) {
	switch p {
	case poclog.TDX:
		return m.attest(ctx, nil, &pieces{profile: p}, ask)
	case poclog.GCETDXvTPM, poclog.BareMetalTDXTPM:
		t, err := m.openTPM()
		if err != nil {
			return nil, err
		}
		defer t.Close() // it was read, and keys are unloaded before
		parts, err := m.gather(ctx, t, p, o)
		if err != nil {
			return nil, err
		}
		defer parts.key.unload(t)
		return m.attest(ctx, t, parts, ask)
	case poclog.AzureTDXvTPM, poclog.AzureSNPvTPM:
		return m.azure(ctx, p, o, ask)
	}
	return nil, &MissingError{PieceMachine, fmt.Errorf("profile %s: nothing here takes its evidence", p), UseImporter}
}

// gather reads all that does not depend on the challenge.
func (m *Machine) gather(ctx context.Context, t transport.TPM, p poclog.Profile, o *Options) (*pieces, error) {
	parts := &pieces{profile: p}
	var err error
	if parts.tcgLog, parts.ccel, err = m.eventLogs(p, o); err != nil {
		return nil, err
	}
	if parts.selection, err = selectPCRs(t, p, parts.tcgLog); err != nil {
		return nil, err
	}
	if parts.key, err = m.openAK(t, p, o); err != nil {
		return nil, err
	}
	if parts.akChain, err = m.Issuers.complete(ctx, PieceAKChain, parts.key.cert, o.AKCerts); err == nil && p == poclog.BareMetalTDXTPM {
		parts.ekChain, err = m.ekChain(ctx, t, parts.key.cert, o)
	}
	if err != nil {
		parts.key.unload(t)
		return nil, err
	}
	return parts, nil
}

// attest quotes: the TD first, for its quote names the AK and the nonce; then the TPM, whose quote
// names the TD's.
func (m *Machine) attest(ctx context.Context, t transport.TPM, parts *pieces, ask Asker) (*importer.Import, error) {
	ch, challenge, err := ask.ask(ctx, parts.profile)
	if err != nil {
		return nil, err
	}
	var ak []byte
	if parts.key != nil {
		ak = parts.key.item
	}
	reportData := poclog.ReportData(ak, [32]byte{})
	if ch != nil {
		reportData = ch.ReportData(ak)
	}
	quote, _, err := m.tdQuote(reportData)
	if err != nil {
		return nil, err
	}
	im := &importer.Import{Profile: parts.profile, Bundle: new(poclog.Bundle)}
	x := importer.Extras{TDXQuote: quote, AK: ak, TCGLog: parts.tcgLog, CCEL: parts.ccel, Challenge: challenge}
	if err := im.Add(x); err != nil {
		return nil, err
	}
	if parts.key == nil {
		return im, nil
	}
	sum := sha256.Sum256(im.Bundle.Get(poclog.ItemTDXQuote)) // without its padding, which a bundle does not hold
	item, values, err := importer.Quote(t, parts.key.handle, sum[:], parts.selection)
	if err != nil {
		return nil, err
	}
	for name, value := range map[poclog.Item][]byte{
		poclog.ItemTPMQuote: item, poclog.ItemTPMPCRs: values, poclog.ItemTPMAKChain: parts.akChain, poclog.ItemTPMEKChain: parts.ekChain,
	} {
		im.Bundle.Set(name, value)
	}
	if parts.profile == poclog.BareMetalTDXTPM {
		return im, dropForeignLogs(im)
	}
	return im, nil
}

// dropForeignLogs leaves out logs that do not replay to what was signed. On bare metal they are
// optional and prove nothing about each other; one that is not of this TPM or this TD would have
// the whole bundle refused.
func dropForeignLogs(im *importer.Import) error {
	b := im.Bundle
	q, err := tpm.ParseQuote(b.Get(poclog.ItemTPMQuote))
	if err != nil {
		return err
	}
	signed, err := tpm.ParsePCRs(q, b.Get(poclog.ItemTPMPCRs))
	if err != nil {
		return err
	}
	if b.Has(poclog.ItemTCGLog) {
		l, err := tcglog.Parse(tcglog.TPM, b.Get(poclog.ItemTCGLog))
		if err != nil {
			return err
		}
		if err := l.CheckCovered(signed); err != nil {
			b.Set(poclog.ItemTCGLog, nil)
			im.Notes = append(im.Notes, fmt.Sprintf("the TPM's event log is left out: %v", err))
		}
	}
	if b.Has(poclog.ItemCCEL) {
		if err := checkCCEL(b); err != nil {
			b.Set(poclog.ItemCCEL, nil)
			im.Notes = append(im.Notes, fmt.Sprintf("the TD's event log is left out: %v", err))
		}
	}
	return nil
}

// azure has the paravisor put the nonce into the HCL report, and takes the rest as importers do.
func (m *Machine) azure(ctx context.Context, p poclog.Profile, o *Options, ask Asker) (*importer.Import, error) {
	t, err := m.openTPM()
	if err != nil {
		return nil, err
	}
	defer t.Close() // it was read, and nothing is kept in it but the user data
	issuers, err := m.azureIssuers(ctx, t, o)
	if err != nil {
		return nil, err
	}
	ch, challenge, err := ask.ask(ctx, p)
	if err != nil {
		return nil, err
	}
	im, err := (&importer.AzureVM{TPM: t, IMDS: cmp.Or(m.IMDS, new(importer.IMDS)), Challenge: ch}).Import(ctx, issuers)
	if err != nil {
		return nil, &MissingError{PieceTEE, err, ReachIMDS}
	}
	if im.Profile != p {
		return nil, fmt.Errorf("the evidence of this Azure VM is of profile %s, the challenge for %s", im.Profile, p)
	}
	return im, im.Add(importer.Extras{Challenge: challenge})
}

// openTPM opens the TPM or says how to get at one.
func (m *Machine) openTPM() (transport.TPMCloser, error) {
	err := errors.New("no TPM is named")
	if m.TPM != nil {
		var t transport.TPMCloser
		if t, err = m.TPM(); err == nil {
			return t, nil
		}
	}
	return nil, &MissingError{PieceTPM, err, GrantTPM}
}
