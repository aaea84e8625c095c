package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/klog/v2"

	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/internal/httpd"
	"github.com/poclog/poclog/internal/page"
	"github.com/poclog/poclog/internal/signer"
	"github.com/poclog/poclog/internal/terminal"
	"github.com/poclog/poclog/log"
	"github.com/poclog/poclog/verify/profile"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

func newLogCmd() *cobra.Command {
	c := &cobra.Command{Use: "log", Short: "Run and check a log"}
	c.AddCommand(newLogInitCmd(), newLogServeCmd(), newLogFsckCmd(), newLogMoveCmd(), newLogRecoverCmd(), newLogEraseCmd(), newLogEntriesCmd())
	return c
}

func newLogInitCmd() *cobra.Command {
	var o log.InitOptions
	var historical bool
	var appraisal, keyRef, storeFile string
	c := &cobra.Command{
		Use:   "init DIR --origin NAME",
		Short: "Make a new log: keys and policies",
		Long: "Make a new log in DIR: its keys (DIR/keys, mode 0600), DIR/policy.txt (the tlog-policy for clients) and DIR/appraisal.json (what it\n" +
			"admits: level 2 only and, with --allow-historical, evidence without a challenge at level 0). The guard file, which remembers what the\n" +
			"log signed last, stands beside DIR and not in it: never restore it from a backup. Nothing is overwritten.\n\n" +
			"With --key-ref the Ed25519 key lives in a key management system, which signs every checkpoint: DIR/keys/ed25519.ref names it, and pins its\n" +
			"public part. NAME://KEY is asked through sigstore's plugin, the program sigstore-kms-NAME on the PATH.\n\n" +
			"With --store FILE the log is kept in MySQL or MariaDB and in S3, as FILE says, which is copied to DIR/store.json. Any number of front ends\n" +
			"serve it, each from a copy of DIR. Secrets come from the environment: POCLOG_MYSQL_PASSWORD or POCLOG_MYSQL_PASSWORD_FILE, and what\n" +
			"Amazon's SDK reads (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_PROFILE).",
		Example: "  poclog log init /var/lib/poclog --origin log.example/2026 --url https://log.example/2026\n" +
			"  poclog log init /var/lib/poclog --origin log.example/2026 --store mysqls3.json",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.Origin == "" {
				return usagef("say what the log is called: --origin NAME")
			}
			o.Policy = profile.DefaultPolicy(historical)
			if appraisal != "" {
				if err := unused(cmd, "the policy of --appraisal says whether it admits historical evidence", "allow-historical"); err != nil {
					return err
				}
				var err error
				if _, o.Policy, err = readAppraisal(cmd, appraisal); err != nil {
					return err
				}
			}
			if keyRef != "" {
				if err := signer.CheckRef(keyRef); err != nil {
					return hint(usagef("--key-ref: %w", err), "without it the key is made in a file")
				}
				key, err := openKey(cmd, keyRef)
				if err != nil {
					return err
				}
				o.Key = key
			}
			if storeFile != "" {
				var err error
				if o.Store, err = readStore(cmd, storeFile); err != nil {
					return err
				}
			}
			if err := log.Init(args[0], o); err != nil {
				return err
			}
			warnOfNamesake(cmd, o.Origin)
			rememberMade(o.Origin, args[0])
			labelled(cmd.ErrOrStderr(), "", fmt.Sprintf("made log %s in %s; clients need %s/policy.txt; serve it with: `poclog log serve %s`", o.Origin, args[0], args[0], args[0]))
			return nil
		},
	}
	c.Flags().StringVar(&o.Origin, "origin", "", "the log's name, such as log.example/2026: it never changes")
	c.Flags().StringVar(&o.URL, "url", "", "where it will be served, for policy.txt")
	c.Flags().StringVar(&o.Guard, "guard", "", "the guard file (default: DIR.guard; best on another disk)")
	c.Flags().StringVar(&storeFile, "store", "", "keep it where this file says, in MySQL and S3 (default: in DIR)")
	c.Flags().BoolVar(&historical, "allow-historical", false, "admit evidence without a challenge, at level 0")
	c.Flags().StringVar(&keyRef, "key-ref", "", "the Ed25519 key: NAME://KEY of a key management system")
	c.Flags().StringVar(&appraisal, "appraisal", "", "start from this appraisal policy")
	return c
}

type logServeCmd struct {
	listen     string
	cfg        log.Config
	collateral logCollateral
}

func newLogServeCmd() *cobra.Command {
	s := new(logServeCmd)
	c := &cobra.Command{
		Use:     "serve DIR",
		Short:   "Serve a log",
		Example: "  poclog log serve /var/lib/poclog --listen :8080",
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return s.run(cmd, args[0]) },
	}
	f := c.Flags()
	f.StringVar(&s.listen, "listen", "127.0.0.1:8080", "address to listen on")
	f.StringVar(&s.cfg.Guard, "guard", "", "the guard file (default: DIR.guard)")
	f.DurationVar(&s.cfg.IndexInterval, "index-interval", log.DefaultIndexInterval, "time between index entries of a growing log; ten times that of an idle one")
	f.DurationVar(&s.cfg.CheckpointInterval, "checkpoint-interval", log.DefaultCheckpointInterval, "time between checkpoints of a growing log, at least 100ms")
	f.DurationVar(&s.cfg.Republish, "republish", log.DefaultRepublish, "time between checkpoints of an idle log, at most 60s")
	f.DurationVar(&s.cfg.Drain, "drain", log.DefaultDrain, "how long a front end that is stopped serves on, not ready; a log in a folder stops at once")
	registerHTTP(f, &s.cfg.Limits)
	f.Float64Var(&s.cfg.Limits.Rate, "rate", httpd.DefaultRate, "submissions a second from one address")
	f.IntVar(&s.cfg.Budget, "budget", log.DefaultBudget, "entries an hour of one chip, key or instance")
	s.cfg.Evidence = log.DefaultEvidence
	f.Var((*mibFlag)(&s.cfg.Evidence), "evidence", "MiB of evidence that are kept in an hour; addresses share them")
	s.collateral.register(c)
	f.BoolVar(&s.cfg.UnsafeWithoutCollateral, "unsafe-without-collateral", false,
		"where collateral is unavailable, appraise without it: at level 0, if the policy admits that, instead of 503")
	return c
}

func (s *logServeCmd) run(cmd *cobra.Command, dir string) error {
	if err := limitHTTP(&s.cfg.Limits); err != nil {
		return err
	}
	logger := newLogger(cmd)
	quietTessera()
	s.cfg.Software, s.cfg.Logger, s.cfg.Go = softwareName(), logger, page.BuiltVerifier()
	cache, err := s.collateral.open(dir, logger)
	if err != nil {
		return err
	}
	if cache != nil {
		defer cache.Close()
		s.cfg.Collateral = cache
	} else if err := unused(cmd, "nobody is asked for collateral (--pcs, --kds and --launch-endorsements are off, or the realm is no manufacturer's)",
		"collateral-cache", "collateral-refresh", "unsafe-without-collateral"); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, "store.json")); errors.Is(err, fs.ErrNotExist) {
		if err := unused(cmd, "a log in a folder has no other front ends", "drain"); err != nil {
			return err
		}
	}
	if err := servesNoTrap(dir); err != nil {
		return err
	}
	svc, err := log.Open(cmd.Context(), dir, s.cfg)
	if err != nil {
		return err
	}
	return serveUntilDone(cmd.Context(), s.listen, logger, svc)
}

// servesNoTrap refuses to serve a policy.txt that counts one witness twice: clients copy it. What
// else is wrong with the file, opening the log says.
func servesNoTrap(dir string) error {
	path := filepath.Join(dir, "policy.txt")
	if text, err := os.ReadFile(path); err == nil {
		if p, err := tlogpolicy.Parse(text); err == nil {
			if err := countsTwice(p); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
		}
	}
	return nil
}

// quietTessera keeps the library's own messages off standard error: what matters of them is in
// /health. Its errors would be written there as well as to the output that is set.
func quietTessera() {
	var own flag.FlagSet
	klog.InitFlags(&own)
	for name, value := range map[string]string{"logtostderr": "false", "alsologtostderr": "false", "stderrthreshold": "FATAL"} {
		if err := own.Set(name, value); err != nil {
			panic(err) // the library has these flags
		}
	}
	klog.SetOutput(io.Discard)
}

// serveUntilDone serves until the context ends; then it lets requests finish and closes the log.
func serveUntilDone(ctx context.Context, listen string, logger *slog.Logger, svc *log.Service) error {
	l, err := net.Listen("tcp", listen)
	if err == nil {
		logger.Info("serving", "address", l.Addr().String())
		err = svc.Serve(ctx, l)
	}
	logger.Info("stopping")
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	return errors.Join(undecided(err), svc.Close(stop))
}

// closeTimeout is how long a log has to publish and answer what it admitted.
const closeTimeout = 60 * time.Second

func newLogFsckCmd() *cobra.Command {
	var policy string
	var asJSON bool
	c := &cobra.Command{
		Use:   "fsck DIR|URL",
		Short: "Recompute a whole log: tree, tiles, entries, evidence",
		Long: "Recompute a whole log from its entries and their evidence: the tree and every tile, the digest of every file, and every entry byte for\n" +
			"byte. DIR is a log's directory (it may be running), URL a log on the network.",
		Example: "  poclog log fsck /var/lib/poclog\n  poclog log fsck https://log.example/2026 --policy policy.txt",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			quietTessera()
			report, err := fsckLog(cmd, args[0], policy)
			if err != nil {
				return err
			}
			return printFsck(cmd, report, asJSON)
		},
	}
	c.Flags().StringVar(&policy, "policy", "", "tlog-policy (default for DIR: DIR/policy.txt)")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func fsckLog(cmd *cobra.Command, where, policyFile string) (*log.Report, error) {
	remote := strings.HasPrefix(where, "http://") || strings.HasPrefix(where, "https://")
	if policyFile == "" && !remote {
		policyFile = where + "/policy.txt"
	}
	policy, err := readTlogPolicy(cmd, policyFile)
	if err != nil {
		return nil, err
	}
	var src log.Source
	if !remote {
		if src, err = log.DirSource(cmd.Context(), where); err != nil {
			return nil, undecided(err)
		}
	} else {
		cl, err := client.New(client.Config{URL: where, Policy: policy, UserAgent: softwareName()})
		if err != nil {
			return nil, usagef("%w", err)
		}
		if src, err = log.URLSource(where, cl.Evidence); err != nil {
			return nil, usagef("%w", err)
		}
	}
	report, err := log.Fsck(cmd.Context(), src, policy, profile.NewKnown().Appraise, progress(cmd, "entries"))
	if err != nil && (unread(err) || cmd.Context().Err() != nil) {
		return nil, undecided(err)
	}
	return report, err
}

// unread reports whether a log was not to be read: then nothing is said against it.
func unread(err error) bool {
	return errors.Is(err, log.ErrUnread) || errors.Is(err, fs.ErrNotExist) || errors.As(err, new(*fs.PathError))
}

func printFsck(cmd *cobra.Command, r *log.Report, asJSON bool) error {
	if asJSON {
		if err := printJSON(cmd.OutOrStdout(), r); err != nil {
			return err
		}
	} else {
		for _, f := range r.Findings {
			fmt.Fprintf(cmd.OutOrStdout(), "entry %d: %s\n", f.Entry, f.Detail)
		}
	}
	if len(r.Findings) > 0 {
		return fmt.Errorf("%s: %d findings in %d entries", r.Origin, len(r.Findings), r.Size)
	}
	if !asJSON {
		fmt.Fprintf(cmd.OutOrStdout(), "clean: %s, %d entries: %d proofs, %d configs, %d unknown\n", r.Origin, r.Size, r.Proofs, r.Configs, r.Unknown)
	}
	return nil
}

// watched reports whether people follow what a command says.
func watched(cmd *cobra.Command) bool { return isTerminal(terminal.Unwrap(cmd.ErrOrStderr())) }

// progress shows how far long work is, on a terminal only.
func progress(cmd *cobra.Command, what string) func(done, total uint64) {
	f := terminal.Unwrap(cmd.ErrOrStderr()) // what is printed here is all our own
	if !watched(cmd) {
		return func(uint64, uint64) {}
	}
	begun, shown := time.Now(), time.Time{}
	return func(done, total uint64) {
		if time.Since(shown) < 200*time.Millisecond && done < total {
			return
		}
		shown = time.Now()
		rate := float64(done) / max(time.Since(begun).Seconds(), 0.001)
		left := time.Duration(float64(total-done)/max(rate, 1)) * time.Second
		fmt.Fprintf(f, "\r\x1b[K%d of %d %s, %.0f a second, %s left", done, total, what, rate, left)
		if done >= total {
			fmt.Fprint(f, "\r\x1b[K")
		}
	}
}
