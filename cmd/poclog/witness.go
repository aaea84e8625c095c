package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/time/rate"

	"github.com/poclog/poclog/internal/httpd"
	"github.com/poclog/poclog/witness"
	"github.com/poclog/poclog/witness/conformance"
)

func newWitnessCmd() *cobra.Command {
	c := &cobra.Command{
		Use:   "witness",
		Short: "Cosign the checkpoints of logs, and check any witness",
		Long: "A witness cosigns a checkpoint of a log that it knows after it has checked that the log only grew (https://c2sp.org/tlog-witness).\n" +
			"Its folder holds its keys and what it signed. Never restore that folder from a backup: a witness that has forgotten what it signed\n" +
			"could contradict itself. Make a new one instead, with another name.",
	}
	c.AddCommand(newWitnessInitCmd(), newWitnessKeysCmd(), newWitnessServeCmd(), newWitnessAddLogCmd(), newWitnessRemoveLogCmd(),
		newWitnessLogsCmd(), newWitnessConflictsCmd(), newWitnessConformanceCmd())
	return c
}

func newWitnessInitCmd() *cobra.Command {
	var name, sshKey string
	c := &cobra.Command{
		Use:   "init DIR --name NAME",
		Short: "Make a witness, and print its verifier keys",
		Long: "Makes a folder with an Ed25519 and an ML-DSA-44 key and an empty state, and prints both verifier keys, which policies name.\n" +
			"With --ssh-key the Ed25519 key is one that an ssh-agent holds; agents do not know ML-DSA-44.",
		Example: "  poclog witness init /var/lib/witness --name witness.example/w1",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if name == "" {
				return usagef("give the witness a --name, such as witness.example/w1")
			}
			if err := initWitness(cmd, args[0], name, sshKey); err != nil {
				return err
			}
			return printKeys(cmd, args[0], witness.Keys)
		},
	}
	c.Flags().StringVar(&name, "name", "", "name under which it signs: a URL without scheme")
	c.Flags().StringVar(&sshKey, "ssh-key", "", "file with the public Ed25519 key, as ssh-add -L prints it, that an ssh-agent holds")
	return c
}

func initWitness(cmd *cobra.Command, dir, name, sshKey string) error {
	if sshKey == "" {
		return witness.Init(dir, name)
	}
	line, err := readFile(cmd, sshKey, 16<<10)
	if err != nil {
		return err
	}
	return witness.InitAgent(dir, name, string(line))
}

func newWitnessKeysCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "keys DIR",
		Short:   "Print the verifier keys of a witness",
		Example: "  poclog witness keys /var/lib/witness",
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return printKeys(cmd, args[0], witness.Keys) },
	}
}

func newWitnessServeCmd() *cobra.Command {
	var listen, agentSocket string
	var perSecond float64
	var burst int
	var limits httpd.Config
	var ready readyFlags
	c := &cobra.Command{
		Use:   "serve DIR --listen ADDR",
		Short: "Serve a witness",
		Long: "Answers POST /add-checkpoint, GET /<hex SHA-256(origin)>/checkpoint, /health and /metrics, and prints the URL it listens on.\n" +
			"It speaks HTTP: put what terminates TLS before it, and keep /metrics from strangers there.",
		Example: "  poclog witness serve /var/lib/witness --listen 127.0.0.1:7380",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if listen == "" {
				return usagef("say where to --listen, such as 127.0.0.1:7380")
			}
			if perSecond <= 0 || burst < 1 {
				return usagef("--rate %v and --burst %d: want a rate above 0 and a burst of at least 1", perSecond, burst)
			}
			if err := limitHTTP(&limits); err != nil {
				return err
			}
			cfg := witness.Config{Rate: rate.Limit(perSecond), Burst: burst, Limits: limits, Logger: newLogger(cmd)}
			if agentSocket != "" {
				cfg.Agent = func() (net.Conn, error) { return net.DialTimeout("unix", agentSocket, 5*time.Second) }
			}
			if !witness.NeedsAgent(args[0]) {
				if err := unused(cmd, args[0]+" has the key itself", "agent"); err != nil {
					return err
				}
			}
			if err := ready.witness(cmd, args[0]); err != nil {
				return err
			}
			return withWitness(args[0], cfg, func(w *witness.Witness) error { return serve(cmd, listen, w.Serve) })
		},
	}
	c.Flags().StringVar(&listen, "listen", os.Getenv("POCLOG_WITNESS_LISTEN"), "address and port; port 0 takes a free one")
	c.Flags().StringVar(&ready.name, "name", "", "make the witness under this name if DIR is not there")
	c.Flags().StringVar(&ready.policy, "policy", "", "cosign the logs of this tlog-policy, too")
	c.Flags().StringVar(&agentSocket, "agent", os.Getenv("POCLOG_AGENT"), "socket of the ssh-agent that holds the key, if one does")
	registerHTTP(c.Flags(), &limits)
	c.Flags().Float64Var(&limits.Rate, "address-rate", witness.DefaultAddressRate, "requests a second from one address, whatever log they name")
	c.Flags().Float64Var(&perSecond, "rate", float64(witness.DefaultRate), "checkpoints a second that one log gets cosigned")
	c.Flags().IntVar(&burst, "burst", witness.DefaultBurst, "checkpoints that one log gets cosigned at once")
	return c
}

func newWitnessAddLogCmd() *cobra.Command {
	var lists []string
	var policy string
	c := &cobra.Command{
		Use:   "add-log DIR [VKEY...]",
		Short: "Cosign further logs",
		Long: "Adds logs by their verifier keys, Ed25519 (0x01) or ML-DSA-44 (0x06); the name of a key is the log's origin, and several keys of one\n" +
			"name are one log's. --list adds the logs of a list in the form logs/v0 of the witness network; a list never adds a key to a log that is\n" +
			"there. A witness that is running follows at once.",
		Example: "  poclog witness add-log /var/lib/witness example.com/log+1a2b3c4d+AVv6q3xD...\n  poclog witness add-log /var/lib/witness --list logs.txt",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && len(lists) == 0 && policy == "" {
				return usagef("give a verifier key, a --policy or a --list")
			}
			if policy != "" {
				p, err := readTlogPolicy(cmd, policy)
				if err != nil {
					return err
				}
				for _, l := range p.Logs() {
					args = append(args, l.VKey)
				}
			}
			return withWitness(args[0], witness.Config{}, func(w *witness.Witness) error {
				if len(args) > 1 {
					if err := w.AddLog(cmd.Context(), args[1:]...); err != nil {
						return err
					}
				}
				for _, path := range lists {
					if err := addLogList(cmd, w, path); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	c.Flags().StringVar(&policy, "policy", "", "the logs of this tlog-policy")
	c.Flags().StringArrayVar(&lists, "list", nil, `log list, "-" is standard input; can be given more than once`)
	return c
}

func addLogList(cmd *cobra.Command, w *witness.Witness, path string) error {
	list, err := readFile(cmd, path, 64<<20)
	if err != nil {
		return err
	}
	res, err := w.AddLogList(cmd.Context(), list)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for _, why := range res.Skipped {
		fmt.Fprintf(cmd.ErrOrStderr(), "%s: skipped %s\n", path, why)
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%s: %d logs added, %d were there, %d skipped\n", path, len(res.Added), res.Known, len(res.Skipped))
	return nil
}

// withWitness opens the witness of a folder for one command.
func withWitness(dir string, cfg witness.Config, f func(*witness.Witness) error) error {
	w, err := witness.Open(dir, cfg)
	if err != nil {
		return undecided(err)
	}
	return errors.Join(f(w), w.Close())
}

func newWitnessRemoveLogCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "remove-log DIR ORIGIN",
		Short: "Stop cosigning a log",
		Long: "Forgets the keys of a log, so that its checkpoints get 404. What was cosigned stays on record: a log that is added again goes on\n" +
			"from there.",
		Example: "  poclog witness remove-log /var/lib/witness example.com/log",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withWitness(args[0], witness.Config{}, func(w *witness.Witness) error { return w.RemoveLog(cmd.Context(), args[1]) })
		},
	}
}

type witnessLog struct {
	Origin    string   `json:"origin"`
	VKeys     []string `json:"vkeys"`
	Size      *uint64  `json:"size"`     // of the latest cosigned checkpoint, null before the first
	Cosigned  string   `json:"cosigned"` // RFC 3339, empty before the first
	Conflicts int      `json:"conflicts"`
}

func newWitnessLogsCmd() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:     "logs DIR",
		Short:   "List the logs of a witness",
		Example: "  poclog witness logs /var/lib/witness",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withWitness(args[0], witness.Config{}, func(w *witness.Witness) error {
				logs, err := w.Logs(cmd.Context())
				if err != nil {
					return undecided(err)
				}
				return printWitnessLogs(cmd, logs, asJSON)
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func printWitnessLogs(cmd *cobra.Command, logs []witness.Log, asJSON bool) error {
	list := make([]witnessLog, 0, len(logs))
	for _, l := range logs {
		e := witnessLog{Origin: l.Origin, VKeys: l.VKeys, Conflicts: l.Conflicts}
		if l.Started {
			e.Size, e.Cosigned = &l.Size, l.Cosigned.Format(time.RFC3339)
		}
		list = append(list, e)
	}
	if asJSON {
		return printJSON(cmd.OutOrStdout(), struct {
			V    int          `json:"v"`
			Logs []witnessLog `json:"logs"`
		}{1, list})
	}
	for _, e := range list {
		line := e.Origin + "\tnothing cosigned yet"
		if e.Size != nil {
			line = fmt.Sprintf("%s\tsize %d\tcosigned %s", e.Origin, *e.Size, e.Cosigned)
		}
		if e.Conflicts > 0 {
			line += fmt.Sprintf("\tSPLIT VIEW: %d conflicting checkpoints", e.Conflicts)
		}
		if _, err := fmt.Fprintln(cmd.OutOrStdout(), line); err != nil {
			return undecided(err)
		}
	}
	return nil
}

type witnessConflict struct {
	Size   uint64 `json:"size"`
	Seen   string `json:"seen"`   // RFC 3339
	Theirs string `json:"theirs"` // the signed checkpoint that was refused
	Ours   string `json:"ours"`   // the one that had been cosigned
}

func newWitnessConflictsCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "conflicts DIR ORIGIN",
		Short: "Print the proof that a log signed two trees of one size, as JSON",
		Long: "Prints the checkpoints on record that contradict those the witness cosigned. Both of a pair carry the log's signature, so anybody who\n" +
			"has the log's key can check them. Exit status 1 means that there are some.",
		Example: "  poclog witness conflicts /var/lib/witness example.com/log",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withWitness(args[0], witness.Config{}, func(w *witness.Witness) error {
				conflicts, err := w.Conflicts(cmd.Context(), args[1])
				if err != nil {
					return undecided(err)
				}
				list := make([]witnessConflict, 0, len(conflicts))
				for _, c := range conflicts {
					list = append(list, witnessConflict{c.Size, c.Seen.Format(time.RFC3339), string(c.Theirs), string(c.Ours)})
				}
				err = printJSON(cmd.OutOrStdout(), struct {
					V         int               `json:"v"`
					Origin    string            `json:"origin"`
					Conflicts []witnessConflict `json:"conflicts"`
				}{1, args[1], list})
				if err == nil && len(list) > 0 {
					err = fmt.Errorf("%s has shown two histories", args[1])
				}
				return err
			})
		},
	}
}

// A conformanceRun is what the flags of witness conformance say.
type conformanceRun struct {
	logKeys, vkeys []string
	monitoring     string
	timeout        time.Duration
	asJSON         bool
}

func newWitnessConformanceCmd() *cobra.Command {
	var run conformanceRun
	c := &cobra.Command{
		Use:   "conformance URL --log-key FILE --witness-key VKEY",
		Short: "Check any witness against the specification",
		Long: "Plays a log against a witness and checks what it answers against https://c2sp.org/tlog-witness.\n\n" +
			"--log-key names the private key of a log that the witness knows and of which it has cosigned nothing; every run needs a new one, and\n" +
			"leaves the witness with a tree that nobody has. Keys with other names are spare logs: three checks take one each if there are some.\n" +
			"Exit status 1 means that a check failed, 3 that the witness could not be reached.",
		Example: "  poclog witness conformance https://witness.example --log-key log.key --witness-key witness.example/w1+1a2b3c4d+BF4L...",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			target, err := run.target(cmd, args[0])
			if err != nil {
				return err
			}
			ctx, stop := context.WithTimeout(cmd.Context(), run.timeout)
			defer stop()
			return run.report(cmd, args[0], conformance.Run(ctx, target))
		},
	}
	c.Flags().StringArrayVar(&run.logKeys, "log-key", nil, "file with a private key of a log, PRIVATE+KEY+...; can be given more than once")
	c.Flags().StringArrayVar(&run.vkeys, "witness-key", nil, "verifier key of the witness; can be given more than once")
	c.Flags().StringVar(&run.monitoring, "monitoring", "", "URL of the monitoring API, if it is another")
	c.Flags().DurationVar(&run.timeout, "timeout", 10*time.Minute, "how long the run may take")
	c.Flags().BoolVar(&run.asJSON, "json", false, "print JSON")
	return c
}

func (run *conformanceRun) target(cmd *cobra.Command, address string) (conformance.Target, error) {
	target := conformance.Target{URL: address, Monitoring: run.monitoring, Witness: run.vkeys}
	if u, err := url.Parse(address); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return target, usagef("%q is not the URL of a witness", address)
	}
	if len(run.logKeys) == 0 || len(run.vkeys) == 0 {
		return target, usagef("give a --log-key that the witness knows, and its --witness-key")
	}
	for _, path := range run.logKeys {
		text, err := readFile(cmd, path, 64<<10)
		if err != nil {
			return target, err
		}
		for line := range strings.Lines(string(text)) {
			if strings.TrimSpace(line) == "" {
				continue
			}
			var key note.Signer
			if key, err = conformance.ParseLogKey(line); err != nil {
				return target, usagef("%s: %w", path, err)
			}
			target.Log = append(target.Log, key)
		}
	}
	return target, nil
}

// report prints the results, and is an error unless every check that was made has passed.
func (run *conformanceRun) report(cmd *cobra.Command, address string, results []conformance.Result) error {
	passed, failed, skipped := 0, 0, 0
	for _, r := range results {
		switch {
		case r.OK:
			passed++
		case r.Skipped:
			skipped++
		default:
			failed++
		}
	}
	if run.asJSON {
		if err := printJSON(cmd.OutOrStdout(), struct {
			V       int                  `json:"v"`
			URL     string               `json:"url"`
			Results []conformance.Result `json:"results"`
		}{1, address, results}); err != nil {
			return undecided(err)
		}
	} else if err := printConformance(cmd, results); err != nil {
		return undecided(err)
	}
	switch {
	case len(results) == 1:
		return undecided(fmt.Errorf("no check could be made: %s", results[0].Detail))
	case failed > 0:
		return fmt.Errorf("%d of %d checks failed", failed, passed+failed)
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%d checks passed, %d skipped\n", passed, skipped)
	return nil
}

func printConformance(cmd *cobra.Command, results []conformance.Result) error {
	for _, r := range results {
		word := "FAIL"
		if r.OK {
			word = "ok"
		} else if r.Skipped {
			word = "skip"
		}
		line := fmt.Sprintf("%-4s  %s: %s", word, r.ID, r.Desc)
		if r.Detail != "" {
			line += "\n      " + strings.ReplaceAll(r.Detail, "\n", "\n      ")
		}
		if _, err := fmt.Fprintln(cmd.OutOrStdout(), line); err != nil {
			return err
		}
	}
	return nil
}
