package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// unused refuses flags that were given and have no effect here: what was asked for is not dropped
// in silence. why says what makes them so.
func unused(cmd *cobra.Command, why string, flags ...string) error {
	var given []string
	for _, name := range flags {
		if cmd.Flags().Changed(name) {
			given = append(given, "--"+name)
		}
	}
	if len(given) == 0 {
		return nil
	}
	return usagef("%s: %s", strings.Join(given, ", "), why)
}

// usedOnly is unused for all flags but some.
func usedOnly(cmd *cobra.Command, why string, used ...string) error {
	var others []string
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if !slices.Contains(used, f.Name) {
			others = append(others, f.Name)
		}
	})
	return unused(cmd, why, others...)
}
