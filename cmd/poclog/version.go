package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/poclog/poclog"
)

// version is the release; the Makefile sets it from the tag.
var version = "devel"

// softwareName is what logs write into their config entries.
func softwareName() string { return "poclog " + version }

type versionInfo struct {
	V         int    `json:"v"`
	Version   string `json:"version"`
	Revision  string `json:"revision,omitempty"`
	Go        string `json:"go"`
	Appraisal int    `json:"appraisal"` // the newest appraisal specification
}

func currentVersion() versionInfo {
	v := versionInfo{V: 1, Version: version, Appraisal: poclog.Appraisal}
	if info, ok := debug.ReadBuildInfo(); ok {
		v.Go = info.GoVersion
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				v.Revision = s.Value
			}
		}
	}
	return v
}

func newVersionCmd() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  poclog version --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := currentVersion()
			if asJSON {
				return printJSON(cmd.OutOrStdout(), v)
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "poclog %s (%s), appraisal specification %d\n", v.Version, v.Go, v.Appraisal)
			return err
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func newManCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "man DIR",
		Short:   "Write the manual pages into a folder",
		Example: "  poclog man /usr/local/share/man/man1",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return undecided(err)
			}
			if err := doc.GenManTree(cmd.Root(), &doc.GenManHeader{Section: "1", Source: softwareName()}, args[0]); err != nil {
				return undecided(err)
			}
			return exitStatuses(args[0])
		},
	}
}

// exitStatusPage is the section that every manual page ends with.
const exitStatusPage = `.SH EXIT STATUS
.TP
\fB0\fP
Yes: it is done, or verify says PASS.
.TP
\fB1\fP
No: it is refused, or verify says FAIL.
.TP
\fB2\fP
Wrong usage.
.TP
\fB3\fP
Could not decide: a file, the network or evidence was not to be had, or it was interrupted. verify says UNDECIDED.
`

// exitStatuses adds the section to every page in a folder that this command wrote.
func exitStatuses(dir string) error {
	pages, err := filepath.Glob(filepath.Join(dir, "poclog*.1"))
	if err != nil {
		return undecided(err)
	}
	for _, path := range pages {
		page, err := os.ReadFile(path)
		if err == nil && !bytes.Contains(page, []byte(exitStatusPage)) {
			err = os.WriteFile(path, append(page, exitStatusPage...), 0o644)
		}
		if err != nil {
			return undecided(err)
		}
	}
	return nil
}

// printJSON writes a value as indented JSON.
func printJSON(w interface{ Write([]byte) (int, error) }, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
