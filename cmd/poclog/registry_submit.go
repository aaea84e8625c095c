package main

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"unicode"

	"crypto/rand"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/verify/vouch/registry"
)

func newRegistrySubmitCmd() *cobra.Command {
	var f logFlags
	var out output
	var documents []string
	c := &cobra.Command{
		Use:   "submit FILE | FOLDER",
		Short: "Send signed statements to a log and keep the receipts",
		Long: "Send a statement's envelope to its log, with the documents that it names, and keep the receipt. Of a folder, every statement in it is sent,\n" +
			"and the receipts are kept in another folder. If signatures are missing, the log says how many; the envelope stays as it is, and\n" +
			"`poclog sign` adds more. What is in the log already is not sent twice.",
		Example: "  poclog registry submit rack7.statement.json --log https://log.example/2026 --document ceremony.pdf -o rack7.tlog-proof\n" +
			"  poclog registry submit signed/ --log https://log.example/2026 -o receipts",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			info, err := os.Stat(args[0])
			if err != nil {
				return undecided(err)
			}
			paths := []string{args[0]}
			if info.IsDir() {
				if paths, err = statementFiles(args[0]); err == nil {
					err = makeFolder(out.path)
				}
			} else {
				err = out.check()
			}
			if err != nil {
				return err
			}
			files, err := documentFiles(cmd, documents)
			if err != nil {
				return err
			}
			cl, err := f.client(cmd)
			if err != nil {
				return err
			}
			var all []*sentStatement
			for _, path := range paths {
				to := out
				if info.IsDir() {
					to = output{path: filepath.Join(out.path, strings.TrimSuffix(filepath.Base(path), statementExt)+".tlog-proof")}
				}
				s, err := readStatement(cmd, path, files, to)
				if err != nil {
					return fmt.Errorf("%s: %w", path, err)
				}
				all = append(all, s)
			}
			return submitStatements(cmd, cl, all)
		},
	}
	f.register(c)
	out.flags(c, "receipt")
	c.Flags().StringArrayVar(&documents, "document", nil, "a document that the statements name; may be repeated")
	return c
}

// documentFiles reads documents, by digest.
func documentFiles(cmd *cobra.Command, paths []string) (map[poclog.Digest][]byte, error) {
	files := make(map[poclog.Digest][]byte)
	for _, ref := range paths {
		path, _, _ := strings.Cut(ref, "=")
		file, err := readFile(cmd, path, poclog.MaxDocument)
		if err != nil {
			return nil, err
		}
		files[poclog.Sum(file)] = file
	}
	return files, nil
}

// A sentStatement is a statement with its documents, and where its receipt goes.
type sentStatement struct {
	poclog.StatementSubmission
	path string
	out  output
}

func readStatement(cmd *cobra.Command, path string, files map[poclog.Digest][]byte, out output) (*sentStatement, error) {
	file, err := readFile(cmd, path, poclog.MaxStatementEnvelope)
	if err != nil {
		return nil, err
	}
	v, err := parseStated(file)
	switch {
	case err != nil:
		return nil, err
	case v == nil:
		return nil, errors.New("no statement")
	case len(v.Signatures) == 0:
		return nil, hint(errors.New("the statement is not signed"), "poclog sign %s --key KEY -o FILE", path)
	}
	s := &sentStatement{StatementSubmission: poclog.StatementSubmission{Envelope: *v}, path: path, out: out}
	for _, blob := range v.Statement.Kept() {
		if b := files[blob.SHA256]; b != nil {
			s.Documents = append(s.Documents, b)
		}
	}
	return s, nil
}

// submitsAtOnce is how many statements wait for their receipts at a time: they share checkpoints.
const submitsAtOnce = 8

// submitStatements sends statements: those about one subject in their order, others at once. After
// one that fails no further one is sent.
func submitStatements(cmd *cobra.Command, cl *client.Client, list []*sentStatement) error {
	lines := make(map[string][]*sentStatement)
	var subjects []string
	for _, s := range list {
		of := s.Envelope.Statement.Registrar + "\n" + string(s.Envelope.Statement.Subject)
		if lines[of] == nil {
			subjects = append(subjects, of)
		}
		lines[of] = append(lines[of], s)
	}
	var sending errgroup.Group
	sending.SetLimit(submitsAtOnce)
	var failed atomic.Bool
	for _, of := range subjects {
		sending.Go(func() error {
			for _, s := range lines[of] {
				if failed.Load() {
					return nil
				}
				if err := s.submit(cmd, cl); err != nil {
					failed.Store(true)
					return fmt.Errorf("%s: %w", s.path, err)
				}
			}
			return nil
		})
	}
	return sending.Wait()
}

func (s *sentStatement) submit(cmd *cobra.Command, cl *client.Client) error {
	got, err := cl.Register(cmd.Context(), &s.StatementSubmission)
	if err != nil && got == nil {
		return unstated(fromLog(err), s.path)
	}
	if werr := s.out.write(cmd, got.Receipt); werr != nil {
		return werr
	}
	what := "logged as entry"
	if !got.New {
		what = "was in the log already, as entry"
	}
	stated := &s.Envelope.Statement
	fmt.Fprintf(cmd.ErrOrStderr(), "%s %s %d: %s\n", stated.Type, what, got.Verdict.Index, oneLine(string(stated.Subject)))
	return fromLog(err)
}

// unstated adds to a log's refusal what a registrar can do.
func unstated(err error, path string) error {
	switch checkOf(err) {
	case registry.CheckSignature:
		return hint(err, "%s is kept: have more members sign it, poclog sign %s --key KEY -o FILE", path, path)
	case registry.CheckSerial:
		return hint(err, "write and sign it again: the serial is part of what is signed")
	case registry.CheckRegistrar:
		return hint(err, "the log's operator lists registrars: poclog registry admit appraisal.json FILE")
	case registry.CheckDocument:
		return hint(err, "--document FILE sends it")
	}
	return err
}

// A listed is a machine in a list: its identity and its label.
type listedMachine struct {
	id    poclog.Identity
	label string
}

// readList reads a CSV of identities and labels. The first line may be a heading.
func readList(cmd *cobra.Command, path string) (list []listedMachine, err error) {
	file, err := readFile(cmd, path, 16<<20)
	if err != nil {
		return nil, err
	}
	r := csv.NewReader(strings.NewReader(string(file)))
	r.FieldsPerRecord = -1
	seen := make(map[poclog.Identity]int)
	for line := 1; ; line++ {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		id := strings.TrimSpace(row[0])
		if line == 1 && !strings.ContainsFunc(id, unicode.IsDigit) {
			continue // a heading
		}
		if err := poclog.CheckSubject(id); err != nil {
			return nil, usagef("%s, line %d: %w", path, line, err)
		}
		m := listedMachine{id: poclog.Identity(id)}
		if len(row) > 1 {
			m.label = strings.TrimSpace(row[1])
		}
		if before := seen[m.id]; before > 0 {
			return nil, usagef("%s, line %d: %s is in line %d, too", path, line, m.id, before)
		}
		seen[m.id] = line
		list = append(list, m)
	}
	if len(list) == 0 {
		return nil, usagef("%s: no machine in it: want a CSV of identity,label", path)
	}
	return list, nil
}

func newRegistryImportCmd() *cobra.Command {
	var f stateFlags
	var e endorseFlags
	c := &cobra.Command{
		Use:   "import LIST.CSV --registrar NAME",
		Short: "Make endorsements of a list of machines, one a file",
		Long: "Make an endorsement of each machine of a CSV of identity,label: files *.statement.json in a new folder. `poclog sign FOLDER` signs all of them,\n" +
			"`poclog registry submit FOLDER` sends them." + stateOffline,
		Example: "  poclog registry import machines.csv --registrar Alliance --method visit --until 365d --log https://log.example/2026 -o statements\n" +
			"  poclog sign statements --key alice.key -o signed-by-alice",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			list, err := readList(cmd, args[0])
			if err != nil {
				return err
			}
			var all []*poclog.Statement
			for _, m := range list {
				s := &poclog.Statement{Subject: m.id, Label: m.label}
				if err := e.fill(s); err != nil {
					return err
				}
				all = append(all, s)
			}
			if err := f.complete(cmd, all...); err != nil {
				return err
			}
			if err := makeFolder(f.out.path); err != nil {
				return err
			}
			for i, s := range all {
				one := f
				one.out = output{path: filepath.Join(f.out.path, fmt.Sprintf("%05d%s", i+1, statementExt))}
				if err := one.write(cmd, s); err != nil {
					return err
				}
			}
			return nil
		},
	}
	f.register(c, false)
	e.register(c)
	c.Flags().StringVarP(&f.out.path, "output", "o", "", "the new folder")
	return c
}

// A fleetFile is what a registrar keeps of a private fleet: who has it can show every machine.
type fleetFile struct {
	V        int            `json:"v"`
	Machines []fleetMachine `json:"machines"`
}

type fleetMachine struct {
	Identity poclog.Identity `json:"identity"`
	Salt     poclog.Digest   `json:"salt"`
}

func (f *fleetFile) fleet() (*registry.Fleet, error) {
	list := make([]registry.Machine, len(f.Machines))
	for i, m := range f.Machines {
		list[i] = registry.Machine(m)
	}
	return registry.NewFleet(list)
}

func newCommitCmd() *cobra.Command {
	var f stateFlags
	var e endorseFlags
	secret := output{mode: 0o600}
	c := &cobra.Command{
		Use:   "commit LIST.CSV --registrar NAME --fleet FILE",
		Short: "Vouch for a private fleet without naming it: write the statement",
		Long: "Write a commitment to the machines of a CSV of identity,label. It shows their number and nothing else. --fleet keeps the secret part, with\n" +
			"which `poclog registry open` shows a machine to whom you choose. The newest commitment replaces the one before." + stateOffline,
		Example: "  poclog registry commit fleet.csv --registrar \"Example Data Center\" --until 90d --fleet fleet.secret.json -o fleet.statement.json",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if secret.path == "" {
				return usagef("say where to keep the secret part: --fleet FILE")
			}
			if err := errors.Join(f.out.check(), secret.check()); err != nil {
				return err
			}
			list, err := readList(cmd, args[0])
			if err != nil {
				return err
			}
			kept := fleetFile{V: 1}
			for _, m := range list {
				one := fleetMachine{Identity: m.id}
				rand.Read(one.Salt[:]) // never fails: crypto/rand
				kept.Machines = append(kept.Machines, one)
			}
			fleet, err := kept.fleet()
			if err != nil {
				return err
			}
			s := &poclog.Statement{Type: poclog.Commit, Root: fleet.Root(), Count: uint32(len(list)), Level: e.level}
			if s.From, s.Until, err = e.parse(); err != nil {
				return err
			}
			if err := f.complete(cmd, s); err != nil {
				return err
			}
			b, err := json.Marshal(kept)
			if err != nil {
				return err
			}
			if err := secret.write(cmd, append(b, '\n')); err != nil {
				return err
			}
			return f.write(cmd, s)
		},
	}
	f.register(c, false)
	f.out.flags(c, "statement")
	e.spanFlags.register(c, "valid")
	c.Annotations = levelsOfStatements
	c.Flags().Uint32Var(&e.level, "level", 1, "the alliance's level: 1 human-assisted, 2 automated, 3 continuous")
	c.Flags().StringVar(&secret.path, "fleet", "", "where to keep the secret part")
	return c
}

func newRegistryOpenCmd() *cobra.Command {
	var out output
	c := &cobra.Command{
		Use:   "open FLEET IDENTITY",
		Short: "Show that a machine is one of a private fleet",
		Long: "Make the file that shows one machine of a commitment, from what `poclog registry commit` kept. Whoever gets it can check it offline, with a\n" +
			"dossier, and can pass it on: poclog verify RECEIPT --dossier FILE --opening FILE --endorsed-by NAME.",
		Example: "  poclog registry open fleet.secret.json intel:tdx:ppid:00112233445566778899aabbccddeeff -o machine.opening.json",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			if err := poclog.CheckSubject(args[1]); err != nil {
				return usagef("%w", err)
			}
			b, err := readFile(cmd, args[0], 1<<30)
			if err != nil {
				return err
			}
			var kept fleetFile
			if err := json.Unmarshal(b, &kept); err != nil || kept.V != 1 {
				return hint(usagef("%s: not what `poclog registry commit` keeps", args[0]), "its flag --fleet wrote the file")
			}
			fleet, err := kept.fleet()
			if err != nil {
				return err
			}
			o, err := fleet.Open(poclog.Identity(args[1]))
			if err != nil {
				return err
			}
			return out.keep(cmd, o)
		},
	}
	out.flags(c, "opening")
	return c
}
