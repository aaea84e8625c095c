package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/poclog/poclog/monitor"
	"github.com/poclog/poclog/monitor/notify"
	"github.com/poclog/poclog/monitor/registrars"
	"github.com/poclog/poclog/verify/rule"
)

// flushTime is how long one run waits for a webhook: what it has not taken then is told by the next
// run.
const flushTime = 30 * time.Second

// watchEvery is how often the watch and silence lists are looked at while following.
const watchEvery = 5 * time.Second

// A tellFlags says whom to tell, and of what.
type tellFlags struct {
	lines, webhook, secret string
	watch                  []string
	watchFile              string
	every                  time.Duration
}

func (f *tellFlags) register(c *cobra.Command) {
	c.Flags().StringVar(&f.lines, "alerts", "", `append alerts to this file as lines of JSON ("-": standard output)`)
	c.Flags().StringVar(&f.webhook, "webhook", os.Getenv("POCLOG_WEBHOOK"), "post alerts to this URL (default: POCLOG_WEBHOOK)")
	c.Flags().StringVar(&f.secret, "webhook-secret", os.Getenv("POCLOG_WEBHOOK_SECRET"), "file with the secrets that sign them, mode 0600, lines of whsec_ and base64")
	c.Flags().StringArrayVar(&f.watch, "watch", nil, "tell every claim about this identity")
	c.Flags().StringVar(&f.watchFile, "watch-file", "", "tell every claim about the identities of this file: IDENTITY [every DURATION] [# NOTE] a line")
	c.Flags().DurationVar(&f.every, "every", 0, "a fresh proof of what --watch names is due so often")
}

// used refuses flags that say more of what was not asked for.
func (f *tellFlags) used(cmd *cobra.Command) error {
	if f.webhook == "" {
		if err := unused(cmd, "without --webhook nothing is posted", "webhook-secret"); err != nil {
			return err
		}
	}
	if len(f.watch) == 0 {
		return unused(cmd, "without --watch no proof is due; a watch file says it for itself", "every")
	}
	return nil
}

// A teller tells what a monitor finds.
type teller struct {
	registrars *registrars.Watch // nil: none is pinned
	m          *monitor.Monitor
	silences   *notify.Silences
	watcher    *notify.Watcher
	couriers   []*notify.Courier
	closers    []func() error
	lines      bool   // on standard output
	active     string // the silences that the marks are of
	logger     *slog.Logger
}

// open reads the lists and opens the sinks. What is wrong with a flag is found before any log is
// asked.
func (f *tellFlags) open(cmd *cobra.Command, m *monitor.Monitor, dir string, logger *slog.Logger) (t *teller, err error) {
	t = &teller{m: m, silences: notify.SilencesIn(dir), logger: logger}
	list, err := f.watched(cmd)
	if err != nil {
		return nil, err
	}
	t.watcher = notify.NewWatcher(m, list)
	sinks, err := f.sinks(cmd, t)
	if err != nil {
		return nil, errors.Join(err, t.close())
	}
	for _, s := range sinks {
		t.couriers = append(t.couriers, notify.NewCourier(m, s, notify.Config{Logger: logger}))
	}
	return t, nil
}

// watched reads the watch list.
func (f *tellFlags) watched(cmd *cobra.Command) ([]notify.Watched, error) {
	var text strings.Builder
	for _, id := range f.watch {
		text.WriteString(id)
		if f.every > 0 {
			fmt.Fprintf(&text, " every %s", f.every)
		}
		text.WriteByte('\n')
	}
	list, err := notify.ParseWatchFile(text.String())
	if err != nil {
		return nil, usagef("--watch: %w", err)
	}
	if f.watchFile == "" {
		return list, nil
	}
	file, err := readFile(cmd, f.watchFile, notify.MaxWatchFile)
	if err != nil {
		return nil, err
	}
	more, err := notify.ParseWatchFile(string(file))
	if err != nil {
		return nil, usagef("%s: %w", f.watchFile, err)
	}
	return append(list, more...), nil
}

func (f *tellFlags) sinks(cmd *cobra.Command, t *teller) ([]notify.Sink, error) {
	var sinks []notify.Sink
	switch f.lines {
	case "":
	case "-":
		t.lines = true
		sinks = append(sinks, notify.NewLines("standard output", cmd.OutOrStdout()))
	default:
		l, err := notify.OpenLines(f.lines)
		if err != nil {
			return nil, undecided(err)
		}
		t.closers = append(t.closers, l.Close)
		sinks = append(sinks, l)
	}
	if f.webhook == "" {
		return sinks, nil
	}
	if f.secret == "" {
		return nil, hint(usagef("--webhook without --webhook-secret: nobody could tell who posts"),
			`(umask 077; echo "whsec_$(head -c 32 /dev/urandom | base64 -w0)" > secret) makes one`)
	}
	secrets, err := notify.ReadSecrets(f.secret)
	if err != nil {
		return nil, usagef("%w", err)
	}
	w, err := notify.NewWebhook(f.webhook, secrets, softwareName(), time.Now, nil)
	if err != nil {
		return nil, usagef("%w", err)
	}
	return append(sinks, w), nil
}

func (t *teller) close() (err error) {
	for _, c := range t.closers {
		err = errors.Join(err, c())
	}
	return err
}

// look brings marks of silence up to date, and looks for claims about the watch list and for what
// registrars state.
func (t *teller) look(ctx context.Context) error {
	if err := t.mark(ctx); err != nil {
		return err
	}
	_, err := t.watcher.Look(ctx)
	if t.registrars != nil && err == nil {
		_, err = t.registrars.Look(ctx)
	}
	return err
}

// mark brings the marks of all alerts up to date, if the silences have changed.
func (t *teller) mark(ctx context.Context) error {
	now := time.Now()
	active, err := t.silences.Active(now)
	if err != nil || active == t.active {
		return err
	}
	if _, err := t.silences.Apply(ctx, t.m, now); err != nil {
		return err
	}
	t.active = active
	return nil
}

// once looks, and tells everything that is to be told, as far as it is taken.
func (t *teller) once(ctx context.Context) error {
	var errs []error
	if err := t.look(ctx); err != nil {
		errs = append(errs, err)
	}
	ctx, cancel := context.WithTimeout(ctx, flushTime)
	defer cancel()
	for _, c := range t.couriers {
		if _, err := c.Flush(ctx); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return inOneLine(errs)
}

// run looks and tells until the context ends.
func (t *teller) run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, c := range t.couriers {
		wg.Go(func() { c.Run(ctx) })
	}
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		if err := t.look(ctx); err != nil && ctx.Err() == nil {
			t.logger.Error("watch and silence lists", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	wg.Wait()
}

func newMonitorTellCmd() *cobra.Command {
	var dir monitorFlags
	var f tellFlags
	var once bool
	c := &cobra.Command{
		Use:   "tell",
		Short: "Tell what the monitor found: JSON lines, a webhook, a watch list",
		Long: "Tells every alert that is not silenced to each sink, at least once: who gets one twice knows it by its id. A sink that fails is asked again with growing\n" +
			"waits, and nothing is given up. `poclog monitor run` takes the same flags; this command is for a process of its own. Every claim about watched\n" +
			"identities is told as information, also what was claimed before they were watched; a fresh proof that is overdue is an alert.\n" +
			"Webhooks are signed as \"Standard Webhooks\" 1.0.0 has it. With --once, exit status 1: this look found what calls for one, such as an overdue proof; 3: not all was taken.",
		Example: "  poclog monitor tell --webhook https://hooks.example/poclog --webhook-secret secret\n" +
			"  poclog monitor tell --once --alerts alerts.jsonl --watch-file fleet.txt",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			logger := newLogger(cmd)
			cfg := monitor.Config{Silence: notify.SilencesIn(dir.folder()).Silencer(time.Now, logger)}
			return dir.with(cfg, func(m *monitor.Monitor) error { return f.tell(cmd, m, dir.folder(), logger, once) })
		},
	}
	dir.register(c)
	f.register(c)
	c.Flags().BoolVar(&once, "once", false, "tell what there is, and end")
	return c
}

func (f *tellFlags) tell(cmd *cobra.Command, m *monitor.Monitor, dir string, logger *slog.Logger, once bool) (err error) {
	if f.lines == "" && f.webhook == "" && len(f.watch) == 0 && f.watchFile == "" {
		return usagef("say whom to tell, or of what: --alerts, --webhook, --watch or --watch-file")
	}
	if err := f.used(cmd); err != nil {
		return err
	}
	t, err := f.open(cmd, m, dir, logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.close()) }()
	if !once {
		t.run(cmd.Context())
		return nil
	}
	before, err := m.CountAlerts(cmd.Context())
	if err != nil {
		return undecided(err)
	}
	if err := t.once(cmd.Context()); err != nil {
		return undecided(err)
	}
	after, err := m.CountAlerts(cmd.Context())
	if err != nil {
		return undecided(err)
	}
	news := newAlerts(before, after)
	if n := news[rule.Contradiction] + news[rule.Alert]; n > 0 {
		return fmt.Errorf("%s", counted(n, "new alert", "new alerts"))
	}
	return nil
}
