package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/poclog/poclog/witness"
	"github.com/poclog/poclog/witness/audit"
)

func newAuditCmd() *cobra.Command {
	c := &cobra.Command{
		Use:   "audit",
		Short: "Re-verify every entry of logs from its evidence, and cosign what passed",
		Long: "An auditor's cosignature on a checkpoint states that every entry of the tree was recomputed from the evidence that the log keeps, byte\n" +
			"for byte. It has a name and keys of its own: never those of a witness. What it refuses it reports at /audit/<hex SHA-256(origin)>.\n" +
			"Never restore its folder from a backup: make a new auditor instead, with another name.",
	}
	c.AddCommand(newAuditInitCmd(), newAuditKeysCmd(), newAuditServeCmd(), newAuditAddLogCmd(), newAuditRemoveLogCmd(), newAuditReportCmd(), newAuditExceptionsCmd())
	return c
}

func newAuditInitCmd() *cobra.Command {
	var name string
	c := &cobra.Command{
		Use:   "init DIR --name NAME",
		Short: "Make an auditor, and print its verifier keys",
		Long: "Makes a folder with an Ed25519 and an ML-DSA-44 key, the same for trees with exceptions (NAME/except), and an empty state. Prints the verifier\n" +
			"keys, which policies name.",
		Example: "  poclog audit init /var/lib/auditor --name auditor.example/a1",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if name == "" {
				return usagef("give the auditor a --name, such as auditor.example/a1")
			}
			if err := audit.Init(args[0], name); err != nil {
				return err
			}
			return printKeys(cmd, args[0], auditorKeys)
		},
	}
	c.Flags().StringVar(&name, "name", "", "name under which it signs: a URL without scheme")
	return c
}

func newAuditKeysCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "keys DIR",
		Short: "Print the verifier keys of an auditor",
		Long: "Prints the auditor's own keys, and those named NAME/except, with which it signs trees that have entries whose evidence the log withheld by law\n" +
			"before the auditor saw it. Policies name all of them, and only its own keys in their group of auditors.",
		Example: "  poclog audit keys /var/lib/auditor",
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return printKeys(cmd, args[0], auditorKeys) },
	}
}

func newAuditServeCmd() *cobra.Command {
	var listen string
	var ready readyFlags
	var cfg audit.Config
	c := &cobra.Command{
		Use:   "serve DIR --listen ADDR",
		Short: "Audit logs and serve what was found",
		Long: "Follows the logs that add-log named, and prints the URL it listens on. It answers POST /add-checkpoint like a witness, once it has\n" +
			"audited every entry, and until then 503 with Retry-After; GET /<hex SHA-256(origin)>/checkpoint, the latest audited checkpoint;\n" +
			"GET /audit/<hex SHA-256(origin)>, the report; /health and /metrics. It speaks HTTP: put what terminates TLS before it, and keep\n" +
			"/metrics from strangers there.",
		Example: "  poclog audit serve /var/lib/auditor --listen 127.0.0.1:7390",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if listen == "" {
				return usagef("say where to --listen, such as 127.0.0.1:7390")
			}
			if cfg.Interval <= 0 || cfg.Refresh <= 0 || cfg.Wait <= 0 || cfg.Parallel < 0 {
				return usagef("--interval %s, --refresh %s, --wait %s, --parallel %d: want none negative, and times above 0", cfg.Interval, cfg.Refresh, cfg.Wait, cfg.Parallel)
			}
			if err := limitHTTP(&cfg.Limits); err != nil {
				return err
			}
			if err := ready.auditor(cmd, args[0]); err != nil {
				return err
			}
			cfg.Logger, cfg.Agent = newLogger(cmd), softwareName()
			return withAuditor(args[0], cfg, func(a *audit.Auditor) error { return serve(cmd, listen, a.Serve) })
		},
	}
	f := c.Flags()
	f.StringVar(&listen, "listen", os.Getenv("POCLOG_AUDIT_LISTEN"), "address and port; port 0 takes a free one")
	f.StringVar(&ready.name, "name", "", "make the auditor under this name if DIR is not there")
	f.StringVar(&ready.log, "log", "", "audit the log at this URL, too, by --policy")
	f.StringVar(&ready.policy, "policy", "", "the tlog-policy of --log")
	registerHTTP(f, &cfg.Limits)
	f.Float64Var(&cfg.Limits.Rate, "address-rate", witness.DefaultAddressRate, "requests a second from one address, whatever log they name")
	f.DurationVar(&cfg.Interval, "interval", audit.DefaultInterval, "time between two looks at a log")
	f.DurationVar(&cfg.Refresh, "refresh", audit.DefaultRefresh, "time after which an unchanged checkpoint is cosigned again")
	f.DurationVar(&cfg.Wait, "wait", audit.DefaultWait, "time that add-checkpoint waits for the audit, at most 20s")
	f.IntVar(&cfg.Parallel, "parallel", 0, "entries verified at once (default: twice the processors)")
	return c
}

func newAuditAddLogCmd() *cobra.Command {
	var policy string
	c := &cobra.Command{
		Use:   "add-log DIR URL --policy FILE",
		Short: "Audit a further log",
		Long: "Adds the log at a URL by its tlog-policy, all log lines of which must be of one log. The policy's quorum is what the auditor wants on\n" +
			"the checkpoints that it fetches, and the times of its witnesses bound the entries'. The same log again gets the new URL and policy and\n" +
			"keeps what was audited. An auditor that is running follows with its next look.",
		Example: "  poclog audit add-log /var/lib/auditor https://log.example/2026 --policy policy.txt",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := readLogPolicy(cmd, policy)
			if err != nil {
				return err
			}
			return withAuditor(args[0], audit.Config{}, func(a *audit.Auditor) error {
				origin, err := a.AddLog(cmd.Context(), args[1], text)
				if err != nil {
					return err
				}
				fmt.Fprintf(cmd.ErrOrStderr(), "auditing %s at %s\n", origin, args[1])
				return nil
			})
		},
	}
	c.Flags().StringVar(&policy, "policy", "", `the log's tlog-policy, "-" is standard input`)
	return c
}

// withAuditor opens the auditor of a folder for one command.
func withAuditor(dir string, cfg audit.Config, f func(*audit.Auditor) error) error {
	a, err := audit.Open(dir, cfg)
	if err != nil {
		return undecided(err)
	}
	return errors.Join(f(a), a.Close())
}

func newAuditRemoveLogCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "remove-log DIR ORIGIN",
		Short:   "Stop auditing a log",
		Long:    "Leaves a log alone. What was audited and cosigned stays on record and is served: a log that is added again goes on from there.",
		Example: "  poclog audit remove-log /var/lib/auditor log.example/2026",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withAuditor(args[0], audit.Config{}, func(a *audit.Auditor) error { return a.RemoveLog(cmd.Context(), args[1]) })
		},
	}
}

func newAuditReportCmd() *cobra.Command {
	var asJSON bool
	var from uint64
	c := &cobra.Command{
		Use:   "report DIR ORIGIN",
		Short: "Say what was audited of a log, and what was refused",
		Long: "Prints what the auditor serves at /audit/<hex SHA-256(origin)>. Exit status 1 means that an entry is refused, or that the log has shown\n" +
			"two histories.",
		Example: "  poclog audit report /var/lib/auditor log.example/2026",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withAuditor(args[0], audit.Config{}, func(a *audit.Auditor) error {
				r, err := a.Report(cmd.Context(), args[1], from)
				if err != nil {
					return undecided(err)
				}
				return printAudit(cmd, r, asJSON)
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().Uint64Var(&from, "from", 0, "list exceptions from this entry on")
	return c
}

func newAuditExceptionsCmd() *cobra.Command {
	var out output
	c := &cobra.Command{
		Use:   "exceptions DIR ORIGIN",
		Short: "Write the signed note of a log's exceptions",
		Long: "Writes the note that the auditor serves at /audit/<hex SHA-256(origin)>/exceptions: the entries of the tree that its keys for exceptions cosigned\n" +
			"last whose evidence the log withheld by law before the auditor saw it. A receipt that carries the note is audited if its entry is not\n" +
			"listed. Exit status 1 means that there are no exceptions.",
		Example: "  poclog audit exceptions /var/lib/auditor log.example/2026 -o log.exceptions.json",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			return withAuditor(args[0], audit.Config{}, func(a *audit.Auditor) error {
				file, err := a.Exceptions(cmd.Context(), args[1])
				if errors.Is(err, audit.ErrNoExceptions) {
					return err
				}
				if err != nil {
					return undecided(err)
				}
				return out.write(cmd, file)
			})
		},
	}
	out.flags(c, "note")
	return c
}

func printAudit(cmd *cobra.Command, r *audit.Report, asJSON bool) error {
	if asJSON {
		if err := printJSON(cmd.OutOrStdout(), r); err != nil {
			return undecided(err)
		}
		return auditFaults(r)
	}
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "%s: %d of %d entries re-verified, but for %d exceptions; cosigned up to %d %s\n",
		r.Origin, r.Audited, r.Target, r.WithheldTotal, r.Cosigned, r.At)
	if r.Excepted > 0 {
		fmt.Fprintf(out, "with exceptions: cosigned up to %d %s\n", r.Excepted, r.ExceptAt)
	}
	for _, f := range r.Refused {
		line := fmt.Sprintf("REFUSED entry %d: %s: %s", f.Entry, f.Check, f.Detail)
		if f.Resolved != "" {
			line += " (until " + f.Resolved + ")"
		}
		fmt.Fprintln(out, line)
	}
	for _, w := range r.Withheld {
		fmt.Fprintf(out, "exception entry %d: %s %s was withheld by law before it was seen\n", w.Entry, w.Part, w.Digest)
	}
	for range r.SplitViews {
		fmt.Fprintln(out, "SPLIT VIEW: the evidence is in --json")
	}
	return auditFaults(r)
}

// auditFaults is an error where the report implicates the log.
func auditFaults(r *audit.Report) error {
	open := 0
	for _, f := range r.Refused {
		if f.Resolved == "" {
			open++
		}
	}
	if open+len(r.SplitViews) > 0 {
		return fmt.Errorf("%s: %d entries refused, %d split views", r.Origin, open, len(r.SplitViews))
	}
	return nil
}
