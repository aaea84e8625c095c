package main

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify/vouch/alliance"
	"github.com/poclog/poclog/verify/vouch/poe"
)

type collateralAddCmd struct {
	out                output
	token, owner, root string
	bundle, url        string
}

func newCollateralAddCmd() *cobra.Command {
	a := new(collateralAddCmd)
	c := &cobra.Command{
		Use:   "add [COLLATERAL]",
		Short: "Put a registry's token or an owner's endorsement into a collateral file",
		Long: "Put what others vouch for into a collateral file, new or after what is in one: the token of a registry of hardware, as the Proof of Cloud Alliance's\n" +
			"servers answer it (the answer, or its jwt), on the bundle's own TEE quote; and Intel's Platform Ownership Endorsement (CBOR). Both are read strictly,\n" +
			"and believed by nobody yet: whose count, a judge's policy says. One of a kind and URL is replaced.\n\n" +
			"With --bundle a token is held to the bundle's quote. The registry may have been shown it with padding, as machines give it; how much there was is\n" +
			"found out, and stands in the file beside the token.",
		Example: "  poclog inspect vm.bundle.json --item tdx-quote | xxd -p | tr -d '\\n' > quote.hex    # what the registry is to be asked about\n" +
			"  poclog collateral add --alliance-token answer.json --bundle vm.bundle.json -o vm.collateral.json\n" +
			"  poclog collateral add vm.collateral.json --owner-endorsement poe.cbor --root owner-root.pem -o all.collateral.json",
		Args: cobra.MaximumNArgs(1),
		RunE: a.run,
	}
	a.out.flags(c, "collateral")
	c.Flags().StringVar(&a.token, "alliance-token", "", "a registry's token: compact JWS, or the JSON answer with it")
	c.Flags().StringVar(&a.bundle, "bundle", "", "the bundle whose quote the registry was shown")
	c.Flags().StringVar(&a.owner, "owner-endorsement", "", "a Platform Ownership Endorsement: COSE_Sign1")
	c.Flags().StringVar(&a.root, "root", "", "the root certificate of its signer in PEM, where the endorsement leaves it out")
	c.Flags().StringVar(&a.url, "url", "", "where it was asked for: tells several of a kind apart")
	return c
}

func (a *collateralAddCmd) run(cmd *cobra.Command, args []string) error {
	if a.token == "" && a.owner == "" {
		return usagef("say what to add: --alliance-token or --owner-endorsement")
	}
	if a.root != "" && a.owner == "" {
		return usagef("--root goes with --owner-endorsement")
	}
	if a.bundle != "" && a.token == "" {
		return usagef("--bundle goes with --alliance-token")
	}
	if err := a.out.check(); err != nil {
		return err
	}
	col := new(poclog.Collateral)
	if len(args) == 1 {
		var err error
		if _, col, err = readCollateral(cmd, args[0]); err != nil {
			return err
		}
	}
	items, err := a.items(cmd)
	if err != nil {
		return err
	}
	return a.out.keep(cmd, col.With(items...))
}

// items reads what is to be added.
func (a *collateralAddCmd) items(cmd *cobra.Command) (items []poclog.CollateralItem, err error) {
	if a.token != "" {
		it, err := a.tokenItem(cmd)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", a.token, err)
		}
		items = append(items, it)
	}
	if a.owner == "" {
		return items, nil
	}
	it := poclog.CollateralItem{Kind: poclog.OwnerEndorsement, URL: a.url}
	if it.Body, err = readFile(cmd, a.owner, maxEndorsementFile); err != nil {
		return nil, err
	}
	if _, err := poe.Parse(it.Body); err != nil {
		return nil, fmt.Errorf("%s: %w", a.owner, err)
	}
	it.Chain, err = readOptional(cmd, a.root, maxEndorsementFile)
	return append(items, it), err
}

// tokenItem reads a registry's answer, and finds with which padding it was shown the bundle's
// quote.
func (a *collateralAddCmd) tokenItem(cmd *cobra.Command) (it poclog.CollateralItem, err error) {
	file, err := readFile(cmd, a.token, maxEndorsementFile)
	if err != nil {
		return it, err
	}
	it = poclog.CollateralItem{Kind: poclog.AllianceToken, URL: a.url, Body: tokenOf(file)}
	t, err := alliance.Parse(it.Body)
	if err != nil {
		return it, err
	}
	if a.bundle == "" {
		fmt.Fprintln(cmd.ErrOrStderr(), "note: the token is taken as one on the quote as a bundle has it; --bundle finds out whether the registry was shown it with padding")
		return it, nil
	}
	b, err := readBundle(cmd, a.bundle)
	if err != nil {
		return it, err
	}
	size, ok := t.SizeShown(b.TEE())
	if !ok {
		return it, fmt.Errorf("the token is on a quote with SHA-256 %s: that of %s is another, with any padding of zeros", t.QuoteHash, a.bundle)
	}
	it.Shown = uint32(size)
	return it, nil
}

const maxEndorsementFile = 1 << 16

// tokenOf takes the token out of a registry's JSON answer, or out of a file that ends in a line
// break.
func tokenOf(file []byte) []byte {
	var answer struct {
		JWT string `json:"jwt"`
	}
	if json.Unmarshal(file, &answer) == nil && answer.JWT != "" {
		return []byte(answer.JWT)
	}
	return bytes.TrimSpace(file)
}

// inspectEndorsement shows what an endorsement says, or nil where it is none.
func inspectEndorsement(it *poclog.CollateralItem) any {
	switch it.Kind {
	case poclog.AllianceToken:
		if t, err := alliance.Parse(it.Body); err == nil {
			m := map[string]any{"quote_hash": t.QuoteHash, "machine_id": t.Machine, "label": t.Label, "kid": t.KeyID}
			if !t.Time.IsZero() {
				m["time"] = t.Time
			}
			return m
		}
	case poclog.OwnerEndorsement:
		if e, err := poe.Parse(it.Body); err == nil {
			return map[string]any{"piid": fmt.Sprintf("%x", e.PIID), "owner": e.Owner, "not_before": e.NotBefore, "not_after": e.NotAfter}
		}
	}
	return nil
}

// endorsementText says for people what someone vouches for.
func endorsementText(x *poclog.Endorsement) string {
	if x.Kind == poclog.OwnerEndorsement {
		return fmt.Sprintf("a platform of %q until %s, by root %s", x.Says, x.Until.Format("2006-01-02"), x.By)
	}
	at := "after its quote was made"
	if !x.From.IsZero() {
		at = "at " + x.From.Format("2006-01-02T15:04:05Z")
	}
	return fmt.Sprintf("listed as %q %s, by key %s", x.Says, at, x.By)
}
