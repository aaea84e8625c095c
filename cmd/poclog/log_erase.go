package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/poclog/poclog/log"
)

func newLogEraseCmd() *cobra.Command {
	var guard string
	c := &cobra.Command{
		Use:   "erase DIR",
		Short: "Overwrite the evidence that DIR/withheld.txt lists",
		Long: "Overwrite the evidence whose digests DIR/withheld.txt lists, every copy of it, in the folder of a log that is stopped. The entries stay, and\n" +
			"the log answers 451 for the evidence. Old backups still have it. A disk may keep what was overwritten.",
		Example: "  poclog log erase /var/lib/poclog",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := log.Erase(cmd.Context(), args[0], guard)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "erased: %s\n", counted(n, "copy", "copies"))
			return nil
		},
	}
	c.Flags().StringVar(&guard, "guard", "", "the guard file (default: DIR.guard)")
	return c
}
