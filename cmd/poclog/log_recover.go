package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/poclog/poclog/log"
)

func newLogRecoverCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "recover DIR",
		Short: "Rebuild the tables of a log in MySQL and S3 whose database lost commits",
		Long: "Rebuild the tables of a log in MySQL or MariaDB and S3 whose database lost commits, such as by a restored backup, from its tiles: up to the\n" +
			"size that the guard has, or further where tiles and entries agree. What lies beyond was never signed, and is removed. No receipt is lost.\n" +
			"Stop all front ends before it. A log in a folder cannot be recovered.",
		Example: "  poclog log recover /var/lib/poclog",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			quietTessera()
			size, err := log.Recover(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "recovered: the tree has %d entries\n", size)
			return nil
		},
	}
}
