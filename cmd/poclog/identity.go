package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/monitor"
	"github.com/poclog/poclog/monitor/query"
)

// wholeIdentity reads an identity that somebody gives. A short form, as tables show it, is looked
// up in the monitor's folder of this computer: what a file names is not asked, or its maker could
// choose what the reader means.
func wholeIdentity(cmd *cobra.Command, what, text string) (poclog.Identity, error) {
	id, parse := poclog.ParseIdentity(text)
	if parse == nil {
		return id, nil
	}
	dir := new(monitorFlags)
	if _, err := query.ParseNaming(text); err != nil || absent(dir.folder()) {
		return "", hint(usagef("%s: %w", what, parse), "an identity looks like intel:tdx:ppid:00112233445566778899aabbccddeeff; its beginning is enough where a monitor's folder knows it (POCLOG_MONITOR)")
	}
	err := dir.with(monitor.Config{}, func(m *monitor.Monitor) (err error) {
		id, err = resolve(cmd.Context(), m, text)
		return err
	})
	if errors.Is(err, query.ErrUnnamed) {
		return "", hint(usagef("%s: %w", what, err), "give it whole: this computer's monitor has not seen it")
	}
	return id, err
}

// Bounds of what completion looks through: a shell waits for it.
const (
	completionTime    = time.Second
	completionEntries = 1000
)

// valueOf is a flag's value, or "" where a command has no such flag.
func valueOf(c *cobra.Command, flag string) string {
	if f := c.Flags().Lookup(flag); f != nil {
		return f.Value.String()
	}
	return ""
}

// monitorOf says which monitor's folder a command line means.
func monitorOf(c *cobra.Command) *monitorFlags { return &monitorFlags{valueOf(c, "dir")} }

// completeIdentities offers the identities that the monitor's folder has, if there is one.
func completeIdentities(c *cobra.Command, _ []string, typed string) (list []string, _ cobra.ShellCompDirective) {
	dir := monitorOf(c)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Context()), completionTime)
	defer cancel()
	if absent(dir.folder()) {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	// What cannot be read is not offered, and nothing is said about it.
	_ = dir.with(monitor.Config{}, func(m *monitor.Monitor) error {
		for r, err := range m.Records(ctx, monitor.Filter{Kind: monitor.KindProof}) {
			if err != nil || len(list) >= completionEntries {
				return err
			}
			for _, id := range query.IdentitiesOf(r) {
				if strings.HasPrefix(string(id), typed) && !slices.Contains(list, string(id)) {
					list = append(list, string(id))
				}
			}
		}
		return nil
	})
	return list, cobra.ShellCompDirectiveNoFileComp
}

// completeLogs offers the addresses of the logs of the tlog-policy, and those that the monitor
// follows.
func completeLogs(c *cobra.Command, _ []string, _ string) (list []string, _ cobra.ShellCompDirective) {
	if p, err := readTlogPolicy(c, valueOf(c, "policy")); err == nil {
		for _, l := range p.Logs() {
			list = append(list, l.URL)
		}
	}
	for _, l := range followed(c) {
		list = append(list, l.URL)
	}
	list = slices.DeleteFunc(list, func(url string) bool { return url == "" })
	slices.Sort(list)
	return slices.Compact(list), cobra.ShellCompDirectiveNoFileComp
}

// completeOrigins offers the names of the logs that the monitor follows.
func completeOrigins(c *cobra.Command, _ []string, _ string) (list []string, _ cobra.ShellCompDirective) {
	for _, l := range followed(c) {
		list = append(list, l.Origin)
	}
	return list, cobra.ShellCompDirectiveNoFileComp
}

// followed are the logs of the monitor's folder, if there is one.
func followed(c *cobra.Command) (list []monitor.LogInfo) {
	dir := monitorOf(c)
	if absent(dir.folder()) {
		return nil
	}
	_ = dir.with(monitor.Config{}, func(m *monitor.Monitor) (err error) { // as above
		list, err = m.Logs(c.Context())
		list = slices.DeleteFunc(list, func(l monitor.LogInfo) bool { return l.Removed })
		return err
	})
	return list
}
