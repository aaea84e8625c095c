package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/httpd"
	"github.com/poclog/poclog/internal/page"
	"github.com/poclog/poclog/monitor"
	"github.com/poclog/poclog/monitor/notify"
	"github.com/poclog/poclog/monitor/query"
	"github.com/poclog/poclog/monitor/web"
	"github.com/poclog/poclog/verify/profile"
)

// A monitorServeCmd answers over HTTP what a monitor knows.
type monitorServeCmd struct {
	monitorFlags
	listen     string
	appraisals []string
	noReceipts bool
	backlog    bool
	limits     httpd.Config
	registrars string
}

func newMonitorServeCmd() *cobra.Command {
	s := new(monitorServeCmd)
	c := &cobra.Command{
		Use:   "serve --listen ADDR",
		Short: "Answer over HTTP what the monitor knows",
		Long: "Answers from the monitor's folder, which it does not change, beside the process that follows the logs, and prints the URL it listens on:\n" +
			"  GET  /v1/identities/<identity>  what entries say of it, and contradictions and alerts about it\n" +
			"  POST /v1/check_quote            {\"quote\": \"<hex>\"}: is its chip proven, and where; as the alliance's trust servers answer, unsigned, with receipts\n" +
			"  GET  /v1/alerts, /v1/alerts/<id>, /v1/alerts/<id>/file\n" +
			"  GET  /health, /metrics\n" +
			"  GET  /                          the same for people, in a browser\n" +
			"Whom the watch list has, and why something is silenced, it tells nobody. A chip about which there is a contradiction is not vouched for (409). It\n" +
			"speaks HTTP: put what terminates TLS before it, and keep /metrics from strangers there.",
		Example: "  poclog monitor serve --listen 127.0.0.1:7391\n  curl -s http://127.0.0.1:7391/v1/identities/intel:tdx:ppid:00112233445566778899aabbccddeeff",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return s.run(cmd) },
	}
	s.register(c)
	c.Flags().StringVar(&s.listen, "listen", os.Getenv("POCLOG_MONITOR_LISTEN"), "address and port; port 0 takes a free one")
	c.Flags().StringArrayVar(&s.appraisals, "appraisal", nil, "appraisal policies whose roots say which quotes are genuine (default: those of the realm production)")
	c.Flags().BoolVar(&s.noReceipts, "no-receipts", false, "ask no log for receipts and dossiers: answers stand on the monitor's word")
	c.Flags().StringVar(&s.registrars, registrarsFlag, "", "the registrars that you believe about machines (default: POCLOG_REGISTRARS, or registrars.json in the config folder, if it is there)")
	registerHTTP(c.Flags(), &s.limits)
	c.Flags().Float64Var(&s.limits.Rate, "rate", httpd.DefaultRate, "questions about quotes a second from one address")
	c.Flags().BoolVar(&s.backlog, "webhook-backlog", false, "measure what the webhook of run or tell has not taken yet")
	return c
}

func (s *monitorServeCmd) run(cmd *cobra.Command) error {
	if s.listen == "" {
		return usagef("say where to --listen, such as 127.0.0.1:7391")
	}
	if err := limitHTTP(&s.limits); err != nil {
		return err
	}
	cfg := web.Config{
		Go:  page.BuiltVerifier(),
		Dir: s.folder(), Limits: s.limits, Private: []string{notify.RuleWatched, notify.RuleOverdue},
		Logger: newLogger(cmd),
	}
	if s.backlog {
		cfg.Sink = notify.WebhookName
	}
	var err error
	if cfg.Policies, err = readPolicies(cmd, s.appraisals); err != nil {
		return err
	}
	pins, err := readPins(cmd, s.registrars)
	if err != nil {
		return err
	}
	return s.with(monitor.Config{}, func(m *monitor.Monitor) error {
		cfg.Pins = pins
		if !s.noReceipts {
			cfg.Receipts = func(ctx context.Context, origin string, index uint64) ([]byte, error) {
				return query.ReceiptOf(ctx, m, monitor.EntryRef{Origin: origin, Index: index})
			}
			cfg.Dossiers = func(ctx context.Context, origin string, id poclog.Identity) ([]byte, error) {
				return query.DossierOf(ctx, m, origin, id)
			}
		}
		return serve(cmd, s.listen, web.NewServer(m, cfg).Serve)
	})
}

// readPolicies reads appraisal policies; without any there is the built-in one of the realm
// production.
func readPolicies(cmd *cobra.Command, paths []string) ([]*poclog.Policy, error) {
	if len(paths) == 0 {
		return []*poclog.Policy{profile.DefaultPolicy(true)}, nil
	}
	var out []*poclog.Policy
	for _, path := range paths {
		_, p, err := readAppraisal(cmd, path)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}
