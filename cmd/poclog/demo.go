package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/poclog/poclog/internal/demo"
)

func newDemoCmd() *cobra.Command {
	var once bool
	c := &cobra.Command{
		Use:   "demo",
		Short: "Watch the main job: real evidence is logged, checked offline, and forged in vain",
		Long: "Start a log in a temporary folder, send it evidence that real machines made, check the receipts offline, and forge some. It stays up\n" +
			"afterwards and says what to try next; with --once it ends, with status 1 if anything was not as told.",
		Example: "  poclog demo --once",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			quietTessera()
			err := demo.Run(cmd.Context(), demo.Config{Out: cmd.OutOrStdout(), Width: widthOf(cmd.OutOrStdout()), Software: softwareName(), Once: once})
			if _, ok := errors.AsType[*demo.SetupError](err); ok {
				return undecided(err)
			}
			return err
		},
	}
	c.Flags().BoolVar(&once, "once", false, "end after the last act")
	return c
}
