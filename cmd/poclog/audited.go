package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/internal/pause"
	"github.com/poclog/poclog/verify/receipt"
)

// auditedFlag has a command wait for the policy's auditors.
type auditedFlag struct{ audited bool }

func (f *auditedFlag) register(c *cobra.Command) {
	c.Flags().BoolVar(&f.audited, "audited", false, "wait until an auditor of the tlog-policy has verified the entry, too")
}

// possible refuses to wait for nobody.
func (f *auditedFlag) possible(cl *client.Client) error {
	if f.audited && !cl.Policy.Has(receiptAuditGroup) {
		return hint(usagef("--audited: the tlog-policy names no auditor"), "poclog policy add-auditor FILE URL names one")
	}
	return nil
}

// auditLook is the time between two looks whether an entry is audited.
const auditLook = time.Second

// wait moves a receipt on until it is audited, where the flag asks for that. An error comes with
// the newest receipt.
func (f *auditedFlag) wait(cmd *cobra.Command, cl *client.Client, file []byte) ([]byte, error) {
	for told := false; f.audited; told = true {
		v, err := receipt.OpenAs(file, cl.Policy, "")
		if err != nil || v.Verdict != receipt.Logged {
			return file, err
		}
		if !told {
			fmt.Fprintf(cmd.ErrOrStderr(), "waiting for the audit by %s\n", cl.Policy.Words(receiptAuditGroup))
		}
		if pause.For(cmd.Context(), auditLook) != nil {
			return file, undecided(errInterrupted)
		}
		moved, err := cl.Refresh(cmd.Context(), file)
		if err != nil {
			return file, err
		}
		file = moved
	}
	return file, nil
}
