package main

import (
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
			s, everything, err := inspect(file)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			if !asJSON {
				s.print(cmd.OutOrStdout(), args[0])
				return nil
			}
			return printJSON(cmd.OutOrStdout(), everything)
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

// A view is a kind of file: how it is known, what it is, and how it is shown. Show adds to the
// summary, and returns everything.
type view struct {
	is   func(file []byte) bool
	kind string
	show func(s *summary, file []byte) (everything any, err error)
}

// views are the kinds of files, but for statements and what nothing but a parser knows.
var views = []view{
	{begins(receiptStart), "", (*summary).receipt},
	{begins(bundleStart), "a bundle: evidence of one machine", (*summary).bundle},
	{poclog.IsEnvelope, "", (*summary).envelope},
	{begins(`{"v":1,"items":`), "collateral: what manufacturers and registries publish", (*summary).collateral},
	{poclog.IsDossier, "a dossier: everything that a log says of some names", (*summary).dossier},
	{begins(contradictionStart), "a contradiction: entries that cannot all be honest", (*summary).contradiction},
	{begins(`{"v":1,"auditor":`), "a note of exceptions: entries that an auditor could not see", asItIs(poclog.ParseExceptions, (*summary).exceptions)},
	{begins(`{"v":1,"root":`), "an opening of a commitment: a machine of a private fleet", asItIs(poclog.ParseOpening, (*summary).opening)},
	{begins(`{"v":1,"kind":`), "an entry of a log", asItIs(poclog.ParseLeaf, (*summary).leaf)},
	{begins(submissionStart), "a submission: a bundle, as it is sent to a log", asItIs(poclog.ParseSubmission, (*summary).submission)},
	{begins(splitViewStart), "a split view: two histories of one log", asItIs(receipt.ParseSplitView, (*summary).splitView)},
	{isKind(importer.KindChallenge), "a challenge of a log", asItIs(poclog.ParseChallenge, (*summary).challenge)},
	{isKind(importer.KindPolicy), "an appraisal policy: what is accepted as evidence", (*summary).policy},
}

func isKind(k importer.Kind) func(file []byte) bool {
	return func(file []byte) bool { return importer.KindOf(file) == k }
}

// asItIs shows a file that is JSON.
func asItIs[T any](parse func([]byte) (T, error), add func(*summary, T)) func(*summary, []byte) (any, error) {
	return func(s *summary, file []byte) (any, error) {
		v, err := parse(file)
		if err != nil {
			return nil, err
		}
		add(s, v)
		return json.RawMessage(file), nil
	}
}

// inspect recognises a file by its beginning and describes it.
func inspect(file []byte) (s *summary, everything any, err error) {
	s = new(summary)
	if v, err := parseStated(file); err != nil {
		return nil, nil, err
	} else if v != nil {
		everything, err = s.statement(v)
		return s, everything, err
	}
	for _, v := range views {
		if v.is(file) {
			s.kind = v.kind
			everything, err = v.show(s, file)
			return s, everything, err
		}
	}
	if cp, err := tlogpolicy.ParseCheckpoint(file); err == nil {
		s.kind = "a checkpoint of a log"
		s.checkpoint("log", file)
		return s, map[string]any{"v": 1, "file": "checkpoint", "origin": cp.Origin, "checkpoint": describeCheckpoint(file)}, nil
	}
	if _, err := tlogpolicy.Parse(file); err == nil {
		return nil, nil, hint(errors.New("not a file of poclog's, but a tlog-policy"), "`poclog policy show FILE` says whom it trusts")
	}
	if what := whatToDoWith[importer.KindOf(file)]; what != "" {
		return nil, nil, hint(fmt.Errorf("not a file of poclog's: it is %s", importer.KindOf(file)), "%s", what)
	}
	return nil, nil, hint(errors.New("not a file of poclog's"), "`poclog import` makes bundles of other tools' evidence")
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

// signersOf names the keys of signatures, which are not verified.
func signersOf(list []poclog.Signature) []string {
	keys := []string{}
	for _, s := range list {
		keys = append(keys, s.KeyID)
	}
	return keys
}

func itemNames(b *poclog.Bundle) string {
	var names []string
	for _, i := range b.Items() {
		names = append(names, string(i))
	}
	return strings.Join(names, ", ")
}
