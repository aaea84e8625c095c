package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/poclog/poclog/log"
	"github.com/poclog/poclog/log/store/mysqls3"
)

func newLogMoveCmd() *cobra.Command {
	var guard, storeFile string
	c := &cobra.Command{
		Use:   "move DIR --store FILE",
		Short: "Move a stopped log from its folder into MySQL and S3",
		Long: "Move a log that is stopped from its folder into MySQL or MariaDB and S3, as FILE says. First the guard file is marked as moved: from then\n" +
			"on neither the folder nor a copy of it can be served. Then everything is copied, the copy is proven whole, and DIR/store.json is written.\n" +
			"If the command is stopped at any moment, the same command goes on.",
		Example: "  poclog log move /var/lib/poclog --store mysqls3.json",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			quietTessera()
			config, err := readStore(cmd, storeFile)
			if err != nil {
				return err
			}
			say := func(what string) { fmt.Fprintln(cmd.ErrOrStderr(), "copying:", what) }
			if err := log.Move(cmd.Context(), args[0], guard, config, say); err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "moved; %s is the folder of a front end now: poclog log serve %s\n", args[0], args[0])
			return nil
		},
	}
	c.Flags().StringVar(&storeFile, "store", "", "where to move it: a file that says so")
	c.Flags().StringVar(&guard, "guard", "", "the guard file (default: DIR.guard)")
	return c
}

// readStore reads a file that says where a log is kept.
func readStore(cmd *cobra.Command, path string) (*mysqls3.Config, error) {
	if path == "" {
		return nil, usagef("say where the log is to be kept: --store FILE")
	}
	file, err := readFile(cmd, path, mysqls3.MaxConfig)
	if err != nil {
		return nil, err
	}
	c, err := mysqls3.ParseConfig(file)
	if err != nil {
		return nil, usagef("--store %s: %w", path, err)
	}
	return c, nil
}
