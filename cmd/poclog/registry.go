package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/internal/durable"
	"github.com/poclog/poclog/verify/dossier"
	"github.com/poclog/poclog/verify/index"
	"github.com/poclog/poclog/verify/profile"
	"github.com/poclog/poclog/verify/vouch/registry"
)

func newRegistryCmd() *cobra.Command {
	c := &cobra.Command{
		Use:   "registry",
		Short: "Vouch for machines in public, take it back, and see who vouches",
		Long: "A registrar (an alliance, a data center, an owner) vouches for machines by statements in a log. A statement is written, signed by as many\n" +
			"members as its type needs (`poclog sign`), and submitted. Readers choose whom to believe: `poclog registry trust`.\n\n" +
			"A statement changes no proof's level and places nothing. Its labels, methods, places and texts are the registrar's words.",
	}
	c.AddCommand(newStateCmds()...)
	c.AddCommand(newRegistryImportCmd(), newRegistrySubmitCmd(), newRegistryShowCmd(), newRegistryOpenCmd(), newRegistryNewCmd(), newRegistryAdmitCmd(), newRegistryTrustCmd())
	return c
}

// registrarsFlag is the reader's file of registrars.
const registrarsFlag = "registrars"

// pinsPath finds the reader's file of registrars: the flag, POCLOG_REGISTRARS, or registrars.json
// in the XDG config folder.
func pinsPath(flag string) (path string, chosen bool) {
	if flag != "" {
		return flag, true
	}
	if path = os.Getenv("POCLOG_REGISTRARS"); path != "" {
		return path, true
	}
	return filepath.Join(xdg("XDG_CONFIG_HOME", ".config"), "poclog", "registrars.json"), false
}

// readPins reads whom the reader believes about machines. Without a file it is nobody: nil.
func readPins(cmd *cobra.Command, flag string) (*registry.Registrars, error) {
	path, chosen := pinsPath(flag)
	if !chosen {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
	}
	p, err := parsePinsFile(cmd, path)
	if err != nil {
		return nil, err
	}
	return registry.New(p.Registrars)
}

func parsePinsFile(cmd *cobra.Command, path string) (*poclog.Pins, error) {
	file, err := readFile(cmd, path, 1<<20)
	if err != nil {
		return nil, err
	}
	p, err := poclog.ParsePins(file)
	if err != nil {
		return nil, hint(usagef("%s: %w", path, err), "`poclog registry new` and `poclog registry trust` write such files")
	}
	return p, nil
}

func newRegistryNewCmd() *cobra.Command {
	var out output
	var members []string
	var thresholds string
	c := &cobra.Command{
		Use:   "new NAME",
		Short: "Make a registrar's file of its members' keys, for logs and readers",
		Long: "Make the file that names a registrar, its members' public keys and how many must sign. Logs list it (`poclog registry admit`), readers pin it\n" +
			"(`poclog registry trust`). --member is a key's public part as `poclog key show` prints it behind \"policy\", or a file that it can show.\n\n" +
			"A thaw, and a freeze that renews one, need as many as an endorsement.",
		Example: "  poclog registry new \"Example Data Center\" --member awskms:///alias/registry -o registrar.json\n" +
			"  poclog registry new Alliance --member MCow…= --member MCow…= --member MCow…= --thresholds endorse=2,revoke=2,move=2,freeze=1,commit=2 -o alliance.json",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			r := poclog.Registrar{Name: args[0]}
			for _, ref := range members {
				key, err := publicKey(cmd, ref)
				if err != nil {
					return err
				}
				r.Keys = append(r.Keys, key.String())
			}
			slices.Sort(r.Keys)
			var err error
			if r.Thresholds, err = parseThresholds(thresholds, len(r.Keys)); err != nil {
				return err
			}
			file, err := (&poclog.Pins{V: 1, Registrars: []poclog.Registrar{r}}).Marshal()
			if err != nil {
				return usagef("%w", err)
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "registrar %s, %d keys: %s\n", r.Name, len(r.Keys), registrarPrint(&r))
			return out.write(cmd, file)
		},
	}
	out.flags(c, "file")
	c.Flags().StringArrayVar(&members, "member", nil, "a member's key; may be repeated")
	c.Flags().StringVar(&thresholds, "thresholds", "", "how many must sign, by type: endorse=8,revoke=8,move=8,freeze=2,commit=8 (default: all, and one may freeze)")
	return c
}

// parseThresholds reads --thresholds of n members.
func parseThresholds(text string, n int) (t poclog.Thresholds, err error) {
	most := min(n, poclog.MaxSignatures)
	t = poclog.Thresholds{Endorse: most, Revoke: most, Move: most, Freeze: 1, Commit: most}
	if text == "" {
		return t, nil
	}
	for _, part := range strings.Split(text, ",") {
		name, value, _ := strings.Cut(part, "=")
		to, known := map[string]*int{"endorse": &t.Endorse, "revoke": &t.Revoke, "move": &t.Move, "freeze": &t.Freeze, "commit": &t.Commit}[name]
		if !known {
			return t, usagef("--thresholds %.40q: want endorse=N, revoke=N, move=N, freeze=N or commit=N", part)
		}
		if _, err := fmt.Sscanf(value, "%d", to); err != nil {
			return t, usagef("--thresholds %.40q: want a number behind the =", part)
		}
	}
	return t, nil
}

// registrarPrint is what people compare of a registrar: its keys and how many must sign.
func registrarPrint(r *poclog.Registrar) string {
	t := r.Thresholds
	return fingerprint(append(slices.Clone(r.Keys), r.Name, fmt.Sprintf("endorse %d revoke %d move %d freeze %d commit %d", t.Endorse, t.Revoke, t.Move, t.Freeze, t.Commit)))
}

func newRegistryAdmitCmd() *cobra.Command {
	c := &cobra.Command{
		Use:   "admit APPRAISAL FILE",
		Short: "List a registrar in a log's appraisal policy: the log takes its statements",
		Long: "Add the registrars of FILE, as `poclog registry new` makes it, to a log's appraisal policy. One of the same name is replaced. It takes effect\n" +
			"when the log is started again: by a config entry, which ends no statement.",
		Example: "  poclog registry admit log/appraisal.json alliance.json",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			_, policy, err := readAppraisal(cmd, args[0])
			if err != nil {
				return err
			}
			from, err := parsePinsFile(cmd, args[1])
			if err != nil {
				return err
			}
			policy.Registrars = withRegistrars(policy.Registrars, from.Registrars)
			if err := profile.CheckPolicy(policy); err != nil {
				return err
			}
			file, err := policy.Marshal()
			if err != nil {
				return err
			}
			return undecided(durable.Replace(args[0], file, 0o644))
		},
	}
	return c
}

// withRegistrars returns a list with others, which replace those of the same name.
func withRegistrars(list, others []poclog.Registrar) []poclog.Registrar {
	for _, r := range others {
		list = slices.DeleteFunc(list, func(o poclog.Registrar) bool { return o.Name == r.Name })
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b poclog.Registrar) int { return strings.Compare(a.Name, b.Name) })
	return list
}

func newRegistryTrustCmd() *cobra.Command {
	var f trustFlags
	var at, path string
	var list bool
	c := &cobra.Command{
		Use:   "trust [NAME --log URL | FILE]",
		Short: "Believe a registrar: pin its name, keys and thresholds",
		Long: "Pin a registrar in your own file. Its keys come from FILE, which the registrar publishes, or from the appraisal policy of the log at URL.\n" +
			"Compare the fingerprint with what the registrar told you. --list says whom you believe.\n\n" +
			"From then on a dossier that clears a receipt has to say what the registrar stated, and its revocations and freezes count for you.",
		Example: "  poclog registry trust alliance.json\n  poclog registry trust \"Proof of Cloud Alliance\" --log https://log.example/2026\n  poclog registry trust --list",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			to, _ := pinsPath(path)
			pins := &poclog.Pins{V: 1}
			if _, err := os.Stat(to); err == nil {
				if pins, err = parsePinsFile(cmd, to); err != nil {
					return err
				}
			}
			if list || len(args) == 0 {
				for i := range pins.Registrars {
					r := &pins.Registrars[i]
					fmt.Fprintf(cmd.OutOrStdout(), "%s, %d keys: %s\n", r.Name, len(r.Keys), registrarPrint(r))
				}
				return nil
			}
			from, err := offeredRegistrars(cmd, args[0], at)
			if err != nil {
				return err
			}
			for i := range from {
				if err := f.acceptRegistrar(cmd, &from[i]); err != nil {
					return err
				}
			}
			pins.Registrars = withRegistrars(pins.Registrars, from)
			file, err := pins.Marshal()
			if err != nil {
				return err
			}
			if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
				return undecided(err)
			}
			return undecided(durable.Replace(to, file, 0o644))
		},
	}
	c.Flags().BoolVar(&f.yes, "yes", false, "take the keys without comparing")
	c.Flags().StringVar(&f.fingerprint, "fingerprint", "", "take the keys only if they have this fingerprint")
	c.Flags().StringVar(&at, "log", "", "take the registrar of this name from the appraisal policy of the log at this URL")
	c.Flags().StringVar(&path, registrarsFlag, "", "your file of registrars (default: POCLOG_REGISTRARS, or registrars.json in the config folder)")
	c.Flags().BoolVar(&list, "list", false, "list whom you believe")
	return c
}

func (f *trustFlags) acceptRegistrar(cmd *cobra.Command, r *poclog.Registrar) error {
	return f.acceptPrint(cmd, "registrar "+r.Name, len(r.Keys), registrarPrint(r))
}

// offeredRegistrars reads a registrar from its own file, or from a log's policy by name.
func offeredRegistrars(cmd *cobra.Command, arg, at string) ([]poclog.Registrar, error) {
	if at == "" {
		p, err := parsePinsFile(cmd, arg)
		if err != nil {
			return nil, hint(err, "of a registrar that a log lists, say which log: poclog registry trust NAME --log URL")
		}
		return p.Registrars, nil
	}
	from, err := joinURL(at, "v1/policy")
	if err != nil {
		return nil, err
	}
	file, err := fetchText(cmd, from)
	if err != nil {
		return nil, err
	}
	p, err := poclog.ParsePolicy(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", from, err)
	}
	var names []string
	for _, r := range p.Registrars {
		if r.Name == arg {
			return []poclog.Registrar{r}, nil
		}
		names = append(names, fmt.Sprintf("%q", r.Name))
	}
	return nil, hint(fmt.Errorf("the log at %s lists no registrar %q", at, arg), "it lists: %s", strings.Join(names, ", "))
}

func newRegistryShowCmd() *cobra.Command {
	var f logFlags
	var pinned, from string
	var asJSON bool
	c := &cobra.Command{
		Use:   "show IDENTITY",
		Short: "Say who vouches for a machine, since when, until when, and what was stated",
		Long: "Say what the registrars that you pinned say of an identity now, and list every statement about it, by whomever. The statements come from a\n" +
			"log, with the proof that there are no others, or from a dossier that you have.",
		Example: "  poclog registry show intel:tdx:ppid:00112233445566778899aabbccddeeff --log https://log.example/2026\n" +
			"  poclog registry show intel:tdx:ppid:00112233445566778899aabbccddeeff --dossier vm.dossier.json --policy policy.txt",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := poclog.CheckSubject(args[0]); err != nil {
				return usagef("%w", err)
			}
			pins, err := readPins(cmd, pinned)
			if err != nil {
				return err
			}
			name := index.Statements + args[0]
			a, err := statementsOf(cmd, &f, from, []string{name}, pins)
			if err != nil {
				return err
			}
			return showStatements(cmd, a, poclog.Identity(args[0]), pins != nil, asJSON)
		},
	}
	f.register(c)
	c.Flags().StringVar(&from, "dossier", "", "take the statements from this dossier, offline")
	c.Flags().StringVar(&pinned, registrarsFlag, "", "your file of registrars")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// statementsOf gets names' entries from a dossier's file, or from a log.
func statementsOf(cmd *cobra.Command, f *logFlags, path string, names []string, pins *registry.Registrars) (*dossier.Answer, error) {
	demands := dossier.Demands{Names: names, Registrars: pins}
	if path != "" {
		file, err := readFile(cmd, path, poclog.MaxDossier)
		if err != nil {
			return nil, err
		}
		policy, err := readTlogPolicy(cmd, f.policy)
		if err != nil {
			return nil, err
		}
		demands.Since = time.Now().Add(time.Hour) // statements are always listed from the first on
		return dossier.Check(file, policy, time.Now(), demands)
	}
	cl, err := f.client(cmd)
	if err != nil {
		return nil, err
	}
	_, a, err := askedDossier(cmd.Context(), cl, client.DossierOf{Names: names, Intervals: true}, demands)
	return a, err
}
