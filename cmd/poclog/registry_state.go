package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/signer"
	"github.com/poclog/poclog/verify/dossier"
	"github.com/poclog/poclog/verify/index"
	"github.com/poclog/poclog/verify/vouch/registry"
)

// statementExt ends the names of files of statements, signed or not.
const statementExt = ".statement.json"

// A stateFlags is what every command that writes a statement takes.
type stateFlags struct {
	logFlags
	keyFlags
	out       output
	registrar string
	origin    string
	serial    uint32
	documents []string
}

func (f *stateFlags) register(c *cobra.Command, documents bool) {
	f.logFlags.register(c)
	f.keyFlags.register(c, "sign with this key at once")
	c.Flags().StringVar(&f.registrar, "registrar", "", "the registrar's name, as logs list it")
	c.Flags().StringVar(&f.origin, "origin", "", "the log's origin, with --serial: nobody is asked")
	c.Flags().Uint32Var(&f.serial, "serial", 0, "the statement's serial (default: one more than the last in the log)")
	if documents {
		c.Flags().StringArrayVar(&f.documents, "document", nil, "a file that it rests on, as FILE or FILE=MEDIATYPE; the log keeps and publishes it")
	}
}

// subjectsAtOnce is about how many subjects a log is asked at a time. A dossier can have 64 names,
// but proxies take 8 kB of an address, and an AMD chip has 168 bytes in it.
const subjectsAtOnce = 32

// complete fills in the log, registrar and serial of statements about different subjects. Unless
// --origin and --serial say them, the log is asked what the registrar stated before.
func (f *stateFlags) complete(cmd *cobra.Command, list ...*poclog.Statement) error {
	switch {
	case f.registrar == "":
		return usagef("say in whose name: --registrar NAME")
	case f.origin != "" && f.serial == 0:
		return usagef("--origin asks nobody: say the serial, too: --serial N")
	}
	documents, err := f.documentsOf(cmd)
	if err != nil {
		return err
	}
	for _, s := range list { // their form is checked before the log is asked
		s.Registrar, s.Origin, s.Serial, s.Documents = f.registrar, cmp.Or(f.origin, "unknown yet"), max(f.serial, 1), documents
		if err := f.checkForm(s); err != nil {
			return aboutOne(list, s, err)
		}
	}
	if f.origin != "" {
		return nil
	}
	told, done := progress(cmd, "machines"), 0
	for some := range slices.Chunk(list, subjectsAtOnce) {
		if err := f.follow(cmd, some); err != nil {
			return err
		}
		if done += len(some); told != nil {
			told(uint64(done), uint64(len(list)))
		}
	}
	return nil
}

// follow gives statements the serials that follow what the log has.
func (f *stateFlags) follow(cmd *cobra.Command, list []*poclog.Statement) error {
	var names []string
	for _, s := range list {
		name := index.Statements + string(s.Subject)
		if s.Type == poclog.Commit {
			name = index.RegistrarName(s.Registrar)
		}
		names = append(names, name)
	}
	a, err := statementsOf(cmd, &f.logFlags, "", names, nil)
	if err != nil {
		return err
	}
	for _, s := range list {
		s.Origin = a.Origin
		h, err := historyOf(a, s)
		if err != nil {
			return err
		}
		if f.serial == 0 {
			s.Serial = h.Serial() + 1
		}
		if err := h.Admits(s); err != nil {
			return aboutOne(list, s, err)
		}
	}
	return nil
}

// aboutOne says of which statement an error is, where there are several.
func aboutOne(list []*poclog.Statement, s *poclog.Statement, err error) error {
	if len(list) == 1 {
		return err
	}
	return fmt.Errorf("%s: %w", s.Subject, err)
}

// documentsOf are the documents of the flags, ascending by digest.
func (f *stateFlags) documentsOf(cmd *cobra.Command) (list []poclog.Document, err error) {
	for _, ref := range f.documents {
		d, err := documentOf(cmd, ref)
		if err != nil {
			return nil, err
		}
		list = append(list, d)
	}
	slices.SortFunc(list, func(a, b poclog.Document) int { return strings.Compare(a.SHA256.String(), b.SHA256.String()) })
	return list, nil
}

// checkForm refuses a statement that could not be written.
func (f *stateFlags) checkForm(s *poclog.Statement) error {
	if _, err := s.Marshal(); err != nil {
		return usagef("%w", errors.Unwrap(err))
	}
	return nil
}

// historyOf is what a statement's registrar stated of its subject, as a log took it.
func historyOf(a *dossier.Answer, s *poclog.Statement) (*registry.History, error) {
	h := new(registry.History)
	for i := range a.Entries {
		e := a.Entries[i].Leaf().Statement
		if e == nil || e.Envelope.Statement.Registrar != s.Registrar || e.Envelope.Statement.Subject != s.Subject {
			continue
		}
		if _, err := h.Add(&e.Envelope.Statement, e.Time); err != nil {
			return nil, err
		}
	}
	return h, nil
}

func documentOf(cmd *cobra.Command, ref string) (poclog.Document, error) {
	path, kind, _ := strings.Cut(ref, "=")
	file, err := readFile(cmd, path, poclog.MaxDocument)
	if err != nil {
		return poclog.Document{}, err
	}
	return poclog.Document{SHA256: poclog.Sum(file), Size: uint32(len(file)), Type: cmp.Or(kind, "application/octet-stream")}, nil
}

// write writes a statement: its file, or its envelope where keys sign at once.
func (f *stateFlags) write(cmd *cobra.Command, s *poclog.Statement) error {
	file, err := s.Marshal()
	if err != nil {
		return usagef("%w", err)
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%s\n", statementLine(s))
	if len(f.refs) == 0 {
		return f.out.write(cmd, file)
	}
	keys, err := f.open(cmd)
	if err != nil {
		return err
	}
	v := &poclog.StatementEnvelope{Statement: *s}
	if err := signStatement(cmd, v, keys); err != nil {
		return err
	}
	return f.out.keep(cmd, v)
}

func statementLine(s *poclog.Statement) string {
	return oneLine(fmt.Sprintf("%s %s, by %q in %s, serial %d: %s", s.Type, cmp.Or(string(s.Subject), "a private fleet"), s.Registrar, s.Origin, s.Serial, s.Words()))
}

func signStatement(cmd *cobra.Command, v *poclog.StatementEnvelope, keys []*signer.Signer) error {
	return unsealed(keys, signer.SignStatement(cmd.Context(), v, keys...))
}

// newStateCmds are the commands that write a statement.
func newStateCmds() []*cobra.Command {
	return []*cobra.Command{newEndorseCmd(), newRevokeCmd(), newMoveCmd(), newFreezeCmd(poclog.Freeze), newFreezeCmd(poclog.Thaw), newCommitCmd()}
}

// levelsOfStatements are what the shell offers for --level of commands that write statements.
var levelsOfStatements = map[string]string{"level": "1,2,3"}

// stateCmd makes a command that writes a statement about an identity.
func stateCmd(use, short, long, example string, documents bool, fill func(cmd *cobra.Command, s *poclog.Statement) error) *cobra.Command {
	f := new(stateFlags)
	c := &cobra.Command{
		Use: use + " IDENTITY --registrar NAME", Short: short, Long: long, Example: example, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.out.check(); err != nil {
				return err
			}
			if err := poclog.CheckSubject(args[0]); err != nil {
				return usagef("%w", err)
			}
			s := &poclog.Statement{Subject: poclog.Identity(args[0])}
			if err := fill(cmd, s); err != nil {
				return err
			}
			if err := f.complete(cmd, s); err != nil {
				return err
			}
			return f.write(cmd, s)
		},
	}
	f.register(c, documents)
	f.out.flags(c, "statement")
	return c
}

const stateOffline = "\n\nThe last serial is asked of the log, whose index may be a minute old. With --origin and --serial nobody is asked."

// A spanFlags is from when until when.
type spanFlags struct{ from, until string }

func (f *spanFlags) register(c *cobra.Command, what string) {
	c.Flags().StringVar(&f.from, "from", "", what+" from: RFC 3339 or a date (default: now)")
	c.Flags().StringVar(&f.until, "until", "", what+" until: RFC 3339, a date, or how long from its beginning (90d)")
}

func (f *spanFlags) parse() (from, until time.Time, err error) {
	from = time.Now().UTC().Truncate(time.Second)
	if f.from != "" {
		if from, err = parseDate("from", f.from); err != nil {
			return from, until, err
		}
	}
	if f.until == "" {
		return from, until, usagef("say until when: --until DATE, or --until 90d")
	}
	if d, err := parseSpan(f.until); err == nil {
		return from, from.Add(d).Truncate(time.Second), nil
	}
	until, err = parseDate("until", f.until)
	return from, until, err
}

func parseDate(flag, text string) (time.Time, error) {
	if t, ok := parseStamp(text); ok {
		return t.Truncate(time.Second), nil
	}
	return time.Time{}, usagef("--%s %.40q: want a time as in RFC 3339, or a date such as 2027-01-31", flag, text)
}

func parsePlace(flag, text string) (*poclog.StatedPlace, error) {
	parts := strings.Split(text, "/")
	if text == "" || len(parts) > 3 {
		return nil, usagef("--%s %.80q: want provider, provider/region or provider/region/zone", flag, text)
	}
	parts = append(parts, "", "")
	return &poclog.StatedPlace{Provider: parts[0], Region: parts[1], Zone: parts[2]}, nil
}

// An endorseFlags is what an endorsement says, of one machine or of a list.
type endorseFlags struct {
	spanFlags
	level         uint32
	method, place string
}

func (f *endorseFlags) register(c *cobra.Command) {
	f.spanFlags.register(c, "valid")
	c.Annotations = levelsOfStatements
	c.Flags().Uint32Var(&f.level, "level", 1, "the alliance's level: 1 human-assisted, 2 automated, 3 continuous")
	c.Flags().StringVar(&f.method, "method", "", "how it was established, in your words")
	c.Flags().StringVar(&f.place, "place", "", "where it stands, in your words: provider, provider/region or provider/region/zone")
}

func (f *endorseFlags) fill(s *poclog.Statement) (err error) {
	s.Type, s.Level, s.Method = poclog.Endorse, f.level, f.method
	if f.method == "" {
		return usagef("say how it was established: --method TEXT")
	}
	if f.place != "" {
		if s.Place, err = parsePlace("place", f.place); err != nil {
			return err
		}
	}
	s.From, s.Until, err = f.parse()
	return err
}

func newEndorseCmd() *cobra.Command {
	var e endorseFlags
	var label string
	c := stateCmd("endorse", "Vouch for a machine: write the statement",
		"Write an endorsement: the registrar vouches for a machine until a date. The newest one counts."+stateOffline,
		"  poclog registry endorse intel:tdx:ppid:00112233445566778899aabbccddeeff --registrar Alliance --label \"rack 7\" --method visit --until 365d \\\n"+
			"    --document ceremony.pdf=application/pdf -o rack7.statement.json", true,
		func(_ *cobra.Command, s *poclog.Statement) error {
			s.Label = label
			return e.fill(s)
		})
	e.register(c)
	c.Flags().StringVar(&label, "label", "", "the registrar's name of the machine")
	return c
}

func newRevokeCmd() *cobra.Command {
	var since, reason, of, text string
	c := stateCmd("revoke", "Take endorsements back, as of a date: write the statement",
		"Write a revocation of one endorsement (--of), or of all that are not revoked. Proofs that were certainly made before --since stay good, all\n"+
			"others do not."+stateOffline,
		"  poclog registry revoke intel:tdx:ppid:00112233445566778899aabbccddeeff --registrar Alliance --since 2027-01-31 --reason machine-compromised -o revoke.statement.json", true,
		func(_ *cobra.Command, s *poclog.Statement) (err error) {
			s.Type, s.Reason, s.Text = poclog.Revoke, reason, text
			if !slices.Contains(poclog.Reasons(), reason) {
				return usagef("--reason %.40q: want one of %s", reason, strings.Join(poclog.Reasons(), ", "))
			}
			if since == "" {
				return usagef("say since when proofs no longer count: --since DATE")
			}
			if s.Since, err = parseDate("since", since); err != nil || of == "" {
				return err
			}
			d, err := poclog.ParseDigest(of)
			if err != nil {
				return usagef("--of: %w", err)
			}
			s.Of = &d
			return nil
		})
	c.Flags().StringVar(&since, "since", "", "proofs that were not certainly made before do not count: RFC 3339 or a date")
	c.Annotations = map[string]string{"reason": strings.Join(poclog.Reasons(), ",")}
	c.Flags().StringVar(&reason, "reason", "unspecified", "why: "+strings.Join(poclog.Reasons(), ", "))
	c.Flags().StringVar(&of, "of", "", "the endorsement, by the digest of its statement's file (default: all)")
	c.Flags().StringVar(&text, "text", "", "for people")
	return c
}

func newMoveCmd() *cobra.Command {
	var span spanFlags
	var source, target string
	c := stateCmd("move", "Announce that a machine moves: write the statement",
		"Write the announcement of a move. It changes no finding: it is shown as an explanation, if it was logged before its window began, and no\n"+
			"proof at the old place is later."+stateOffline,
		"  poclog registry move intel:tdx:ppid:00112233445566778899aabbccddeeff --registrar Alliance --source acme/eu/eu-1 --target acme/us --from 2027-02-01 --until 7d -o move.statement.json", false,
		func(_ *cobra.Command, s *poclog.Statement) (err error) {
			s.Type = poclog.Move
			if s.Source, err = parsePlace("source", source); err != nil {
				return err
			}
			if s.Target, err = parsePlace("target", target); err != nil {
				return err
			}
			s.From, s.Until, err = span.parse()
			return err
		})
	span.register(c, "the machine moves")
	c.Flags().StringVar(&source, "source", "", "from where: provider/region/zone")
	c.Flags().StringVar(&target, "target", "", "to where: provider/region/zone")
	return c
}

func newFreezeCmd(kind poclog.StatementType) *cobra.Command {
	var text string
	use, short, long := "freeze", "Suspend a machine for 14 days, while it is investigated: write the statement",
		"Write a freeze: no proof of the machine counts for those who believe the registrar, for 14 days. Few members are enough; to freeze again\n"+
			"takes as many as an endorsement."
	if kind == poclog.Thaw {
		use, short, long = "thaw", "End a freeze: write the statement", "Write the end of a freeze. It takes as many members as an endorsement."
	}
	c := stateCmd(use, short, long+stateOffline,
		"  poclog registry "+use+" intel:tdx:ppid:00112233445566778899aabbccddeeff --registrar Alliance --key alice.key -o "+use+statementExt, false,
		func(_ *cobra.Command, s *poclog.Statement) error {
			s.Type, s.Text = kind, text
			return nil
		})
	c.Flags().StringVar(&text, "text", "", "for people")
	return c
}

// signsStatements signs a statement's file, adds to its envelope, or does so with every such file
// in a folder. It reports whether the path is one.
func (s *signCmd) signsStatements(cmd *cobra.Command, path string) (bool, error) {
	const why = "a statement has neither"
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		if err := unused(cmd, why, "collateral", "at"); err != nil {
			return true, err
		}
		return true, s.signFolder(cmd, path)
	}
	file, err := readFile(cmd, path, poclog.MaxEnvelope)
	if err != nil {
		return true, err
	}
	v, err := parseStated(file)
	if err != nil {
		return true, fmt.Errorf("%s: %w", path, err)
	}
	if v == nil {
		return false, nil
	}
	if err := unused(cmd, why, "collateral", "at"); err != nil {
		return true, err
	}
	keys, err := s.open(cmd)
	if err != nil {
		return true, err
	}
	if err := s.signed(cmd, v, keys); err != nil {
		return true, err
	}
	return true, s.out.keep(cmd, v)
}

func (s *signCmd) signed(cmd *cobra.Command, v *poclog.StatementEnvelope, keys []*signer.Signer) error {
	fmt.Fprintf(cmd.ErrOrStderr(), "%s\n", statementLine(&v.Statement))
	return signStatement(cmd, v, keys)
}

// parseStated reads a statement's file or its envelope. It is neither if there is neither a
// statement nor an error.
func parseStated(file []byte) (*poclog.StatementEnvelope, error) {
	if begins(`{"v":1,"type":`)(file) {
		s, err := poclog.ParseStatement(file)
		if err != nil {
			return nil, err
		}
		return &poclog.StatementEnvelope{Statement: *s}, nil
	}
	if !poclog.IsEnvelope(file) || !strings.Contains(string(file[:min(len(file), 200)]), poclog.StatementPayloadType) {
		return nil, nil
	}
	return poclog.ParseStatementEnvelope(file)
}

// signFolder signs every statement of a folder into another folder.
func (s *signCmd) signFolder(cmd *cobra.Command, dir string) error {
	paths, err := statementFiles(dir)
	if err != nil {
		return err
	}
	keys, err := s.open(cmd)
	if err != nil {
		return err
	}
	if err := makeFolder(s.out.path); err != nil {
		return err
	}
	for _, path := range paths {
		file, err := readFile(cmd, path, poclog.MaxStatementEnvelope)
		if err != nil {
			return err
		}
		v, err := parseStated(file)
		if err == nil && v == nil {
			err = errors.New("no statement")
		}
		if err == nil {
			err = s.signed(cmd, v, keys)
		}
		if err == nil {
			file, err = v.Marshal()
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		out := output{path: filepath.Join(s.out.path, filepath.Base(path))}
		if err := out.write(cmd, file); err != nil {
			return err
		}
	}
	return nil
}

// statementFiles lists the statements of a folder, ascending by name.
func statementFiles(dir string) ([]string, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*"+statementExt))
	if err != nil {
		return nil, usagef("%w", err)
	}
	if len(paths) == 0 {
		return nil, usagef("%s: no file *%s in it", dir, statementExt)
	}
	return paths, nil
}

// makeFolder makes an output's folder, which must not be there.
func makeFolder(path string) error {
	if path == "" || path == "-" {
		return usagef("say into which folder: -o FOLDER")
	}
	if err := os.Mkdir(path, 0o755); err != nil {
		return hint(undecided(err), "a new folder is made: nothing is overwritten")
	}
	return nil
}
