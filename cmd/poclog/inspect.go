package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/publish/importer"
	"github.com/poclog/poclog/verify/receipt"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

func newInspectCmd() *cobra.Command {
	var item string
	var asJSON bool
	c := &cobra.Command{
		Use:   "inspect FILE",
		Short: "Show what is in a file, believing nothing of it",
		Long: "Show what is in a receipt, dossier, bundle, envelope, collateral, challenge, policy, entry, statement, contradiction, split view or checkpoint:\n" +
			"a summary, or with --json everything. Nothing is verified: what is shown is what the file says. `poclog verify` checks it.",
		Example: "  poclog inspect vm.tlog-proof\n  poclog inspect vm.bundle.json --item tdx-quote > quote.bin",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			file, err := readFile(cmd, args[0], poclog.MaxDossier)
			if err != nil {
				return err
			}
			if item != "" {
				if err := unused(cmd, "--item writes octets", "json"); err != nil {
					return err
				}
				return extract(cmd, file, poclog.Item(item))
			}
			shown, err := inspect(file)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			if !asJSON {
				summaryOf(file).print(cmd.OutOrStdout(), args[0])
				return nil
			}
			return printJSON(cmd.OutOrStdout(), shown)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print everything as JSON")
	c.Flags().StringVar(&item, "item", "", "write this item of a bundle, as octets")
	return c
}

// extract writes one item of a bundle.
func extract(cmd *cobra.Command, file []byte, item poclog.Item) error {
	b, err := poclog.ParseBundle(file)
	if err != nil {
		return err
	}
	if !b.Has(item) {
		return fmt.Errorf("the bundle has no item %q: it has %s", item, itemNames(b))
	}
	_, err = rawOutput(cmd).Write(b.Get(item))
	return err
}

// inspect recognises a file by its beginning and describes it.
func inspect(file []byte) (any, error) {
	if v, err := parseStated(file); v != nil {
		return inspectStatement(v, err)
	}
	switch {
	case bytes.HasPrefix(file, []byte(receiptStart)):
		return inspectReceipt(file)
	case bytes.HasPrefix(file, []byte(bundleStart)):
		return inspectBundle(file)
	case poclog.IsEnvelope(file):
		return inspectEnvelope(file)
	case bytes.HasPrefix(file, []byte(`{"v":1,"items":`)):
		return inspectCollateral(file)
	case poclog.IsDossier(file):
		return inspectDossier(file)
	case bytes.HasPrefix(file, []byte(contradictionStart)):
		return inspectContradiction(file)
	case bytes.HasPrefix(file, []byte(`{"v":1,"auditor":`)):
		if _, err := poclog.ParseExceptions(file); err != nil {
			return nil, err
		}
		return json.RawMessage(file), nil
	case bytes.HasPrefix(file, []byte(`{"v":1,"root":`)):
		if _, err := poclog.ParseOpening(file); err != nil {
			return nil, err
		}
		return json.RawMessage(file), nil
	case bytes.HasPrefix(file, []byte(`{"v":1,"kind":`)):
		if _, err := poclog.ParseLeaf(file); err != nil {
			return nil, err
		}
		return json.RawMessage(file), nil
	}
	if shown, err := inspectInput(file); shown != nil || err != nil {
		return shown, err
	}
	if cp, err := tlogpolicy.ParseCheckpoint(file); err == nil {
		return map[string]any{"v": 1, "file": "checkpoint", "origin": cp.Origin, "checkpoint": describeCheckpoint(file)}, nil
	}
	if _, err := tlogpolicy.Parse(file); err == nil {
		return nil, hint(errors.New("not a file of poclog's, but a tlog-policy"), "`poclog policy show FILE` says whom it trusts")
	}
	if what := whatToDoWith[importer.KindOf(file)]; what != "" {
		return nil, hint(fmt.Errorf("not a file of poclog's: it is %s", importer.KindOf(file)), "%s", what)
	}
	return nil, hint(errors.New("not a file of poclog's"), "`poclog import` makes bundles of other tools' evidence")
}

// inspectInput shows files that commands take beside the evidence, which are JSON as they are; nil is
// another file.
func inspectInput(file []byte) (shown any, err error) {
	switch kind := importer.KindOf(file); {
	case bytes.HasPrefix(file, []byte(submissionStart)):
		_, err = poclog.ParseSubmission(file)
	case bytes.HasPrefix(file, []byte(splitViewStart)):
		_, err = receipt.ParseSplitView(file)
	case kind == importer.KindChallenge:
		_, err = poclog.ParseChallenge(file)
	case kind == importer.KindPolicy:
		_, err = poclog.ParsePolicy(file)
	default:
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return json.RawMessage(file), nil
}

// inspectStatement shows a statement and who signed it. The signatures are not verified: that needs
// a registrar's keys.
func inspectStatement(v *poclog.StatementEnvelope, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	file, err := v.Statement.Marshal()
	if err != nil {
		return nil, err
	}
	keys := []string{}
	for _, s := range v.Signatures {
		keys = append(keys, s.KeyID)
	}
	return map[string]any{"v": 1, "file": "statement", "statement": json.RawMessage(file), "sha256": poclog.Sum(file), "signed_by": keys}, nil
}

func inspectReceipt(file []byte) (any, error) {
	r, err := poclog.ParseReceipt(file)
	if err != nil {
		return nil, err
	}
	out := map[string]any{"v": 1, "file": "receipt", "index": r.Index, "entry": shownLeaf(r.Entry), "proof_hashes": len(r.Inclusion.Hashes)}
	for name, cp := range map[string][]byte{"checkpoint": r.Inclusion.Checkpoint, "challenge": r.Challenge} {
		if len(cp) > 0 {
			out[name] = describeCheckpoint(cp)
		}
	}
	var notes []any
	for _, n := range r.Exceptions {
		if _, err := poclog.ParseExceptions(n); err != nil {
			notes = append(notes, map[string]any{"error": err.Error()})
			continue
		}
		notes = append(notes, json.RawMessage(n))
	}
	if len(notes) > 0 {
		out["exceptions"] = notes
	}
	if r.First != nil {
		out["first"] = describeCheckpoint(r.First.Checkpoint)
	}
	return out, nil
}

func inspectDossier(file []byte) (any, error) {
	d, err := poclog.ParseDossier(file)
	if err != nil {
		return nil, err
	}
	type listed struct {
		Name    string   `json:"name"`
		Numbers []uint64 `json:"numbers,omitempty"`
		Before  bool     `json:"not_from_the_first,omitempty"`
	}
	out := map[string]any{"v": 1, "file": "dossier", "checkpoint": describeCheckpoint(d.Checkpoint)}
	var names []listed
	for _, n := range d.Names {
		names = append(names, listed{n.Name, n.Numbers, n.Before != nil})
	}
	entries := 0
	for _, p := range d.Pages {
		entries += len(p.Entries)
	}
	out["names"], out["entries"], out["pages"] = names, entries, len(d.Pages)
	if out["index"], err = inspectReceipt(d.Index); err != nil {
		return nil, err
	}
	if len(d.Since) > 0 {
		out["since"] = describeCheckpoint(d.Since)
	}
	return out, nil
}

// shownLeaf shows a leaf as the JSON that it is, or as text where it is none.
func shownLeaf(leaf []byte) any {
	if json.Valid(leaf) {
		return json.RawMessage(leaf)
	}
	return fmt.Sprintf("%q", leaf)
}

// describeCheckpoint shows what a checkpoint says, and whose signatures it carries; `poclog verify`
// looks whether they are right.
func describeCheckpoint(signed []byte) any {
	cp, err := tlogpolicy.ParseCheckpoint(signed)
	if err != nil {
		return map[string]any{"error": err.Error()}
	}
	return map[string]any{"origin": cp.Origin, "size": cp.Size, "root": poclog.Digest(cp.Root), "sha256": poclog.Sum(signed), "signatures": signaturesOf(signed)}
}

// A signatureLine is one of a signed note.
type signatureLine struct {
	Name  string `json:"name"`
	Bytes int    `json:"bytes"`
}

func signaturesOf(signed []byte) []signatureLine {
	signatures := []signatureLine{}
	_, lines, _ := strings.Cut(string(signed), "\n\n")
	for line := range strings.Lines(lines) {
		name, encoded, ok := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(line, "— "), "\n"), " ")
		if sig, err := base64.StdEncoding.DecodeString(encoded); ok && err == nil {
			signatures = append(signatures, signatureLine{name, len(sig)})
		}
	}
	return signatures
}

func inspectBundle(file []byte) (any, error) {
	b, err := poclog.ParseBundle(file)
	if err != nil {
		return nil, err
	}
	type item struct {
		Item   poclog.Item   `json:"item"`
		Size   int           `json:"size"`
		SHA256 poclog.Digest `json:"sha256"`
	}
	var items []item
	for _, i := range b.Items() {
		items = append(items, item{i, len(b.Get(i)), poclog.Sum(b.Get(i))})
	}
	out := map[string]any{"v": 1, "file": "bundle", "sha256": poclog.Sum(file), "items": items}
	if b.Has(poclog.ItemChallenge) {
		out["challenge"] = json.RawMessage(b.Get(poclog.ItemChallenge))
	}
	return out, nil
}

// inspectContradiction shows the receipts, and names the evidence.
func inspectContradiction(file []byte) (any, error) {
	c, err := poclog.ParseContradiction(file)
	if err != nil {
		return nil, err
	}
	type evidence struct {
		SHA256 poclog.Digest `json:"sha256"`
		Size   int           `json:"size"`
	}
	var entries []any
	files := []evidence{}
	for i, s := range c.Claims {
		shown, err := inspectReceipt(s.Receipt)
		if err != nil {
			return nil, fmt.Errorf("entry %d of the file: %w", i+1, err)
		}
		entries = append(entries, shown)
	}
	for _, f := range c.Evidence {
		files = append(files, evidence{poclog.Sum(f), len(f)})
	}
	return map[string]any{"v": 1, "file": "contradiction", "rule": c.Rule, "policy": string(c.Policy), "receipts": entries, "evidence": files}, nil
}

func inspectEnvelope(file []byte) (any, error) {
	v, err := poclog.ParseEnvelope(file)
	if err != nil {
		return nil, err
	}
	sub, err := v.Submission()
	if err != nil {
		return nil, err
	}
	bundle, err := inspectBundle(sub.Bundle)
	if err != nil {
		return nil, err
	}
	keys := []string{}
	for _, s := range v.Signatures {
		keys = append(keys, s.KeyID)
	}
	out := map[string]any{"v": 1, "file": "envelope", "sha256": poclog.Sum(file), "payload_type": v.PayloadType, "signed_by": keys, "bundle": bundle}
	if len(sub.Collateral) > 0 {
		if out["collateral"], err = inspectCollateral(sub.Collateral); err != nil {
			return nil, err
		}
	}
	if !sub.Judged.IsZero() {
		out["judged"] = sub.Judged
	}
	return out, nil
}

func inspectCollateral(file []byte) (any, error) {
	c, err := poclog.ParseCollateral(file)
	if err != nil {
		return nil, err
	}
	type item struct {
		Kind poclog.CollateralKind `json:"kind"`
		URL  string                `json:"url,omitempty"`
		Size int                   `json:"size"`
		Body json.RawMessage       `json:"body,omitempty"` // where it is JSON
		Says any                   `json:"says,omitempty"` // of endorsements
	}
	var items []item
	for _, it := range c.Items {
		shown := item{Kind: it.Kind, URL: it.URL, Size: len(it.Body), Says: inspectEndorsement(&it)}
		if json.Valid(it.Body) {
			shown.Body = it.Body
		}
		items = append(items, shown)
	}
	return map[string]any{"v": 1, "file": "collateral", "sha256": poclog.Sum(file), "items": items}, nil
}
func itemNames(b *poclog.Bundle) string {
	var names []string
	for _, i := range b.Items() {
		names = append(names, string(i))
	}
	return strings.Join(names, ", ")
}
