package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/signer"
	"github.com/poclog/poclog/internal/terminal"
	"github.com/poclog/poclog/publish/disclose"
)

// consent shows what becomes public, for good, and asks. to is the log's URL, or empty where the
// bundle is only written.
func consent(cmd *cobra.Command, yes bool, to string, list []disclose.Fact, keys []*signer.Signer) error {
	if to != "" {
		show(cmd, fmt.Sprintf("To be published by %s, for good:", to), list, keys)
	} else {
		show(cmd, "The bundle tells everybody to whom it is given, and everybody for good once a log has it:", list, keys)
	}
	if yes {
		return nil
	}
	question := "Publish?"
	if to == "" {
		question = "Write it?"
	}
	yes, err := agrees(cmd, question)
	if err == nil && !yes {
		err = errors.New("not published")
	}
	return err
}

// maxFactLine bounds a fact's line. Facts have bounds of their own, before characters become
// escapes.
const maxFactLine = 1 << 13

// show lists facts on standard error. A key that signs is shown with its reference.
func show(cmd *cobra.Command, title string, list []disclose.Fact, keys []*signer.Signer) {
	w := cmd.ErrOrStderr()
	fmt.Fprintln(w, title)
	for _, f := range list {
		line := f.String()
		for _, k := range keys {
			if f.Value == k.Key().Digest.String() {
				line += " (" + k.Ref() + ")"
			}
		}
		fmt.Fprintln(w, "  "+terminal.Line(line, maxFactLine))
	}
}

// disclosed lists what becomes public with a submission that these keys sign.
func disclosed(sub *poclog.Submission, keys []*signer.Signer) ([]disclose.Fact, error) {
	var digests []poclog.Digest
	for _, k := range keys {
		digests = append(digests, k.Key().Digest)
	}
	return disclose.Of(sub, digests...)
}
