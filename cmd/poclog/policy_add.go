package main

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/durable"
	"github.com/poclog/poclog/verify/receipt"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

const (
	receiptAuditGroup = receipt.DefaultAuditGroup
	exceptSuffix      = poclog.ExceptSuffix
)

// fingerprint is what people compare of somebody's keys, in whatever order they stand.
func fingerprint(vkeys []string) string {
	sorted := slices.Sorted(slices.Values(vkeys))
	sum := sha256.Sum256([]byte(strings.Join(sorted, "\n") + "\n"))
	return "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:])
}

// A trustFlags says how somebody's keys are accepted.
type trustFlags struct {
	yes         bool
	fingerprint string
	name        string
}

func (f *trustFlags) register(c *cobra.Command, named bool) {
	c.Flags().BoolVar(&f.yes, "yes", false, "take the keys that the address answers, without comparing")
	c.Flags().StringVar(&f.fingerprint, "fingerprint", "", "take the keys only if they have this fingerprint")
	if named {
		c.Flags().StringVar(&f.name, "name", "", "the name in the policy (default: the last part of the key's)")
	}
}

// accept shows a fingerprint and asks, or compares it with the one of the flag.
func (f *trustFlags) accept(cmd *cobra.Command, who string, vkeys []string) error {
	return f.acceptPrint(cmd, who, len(vkeys), fingerprint(vkeys))
}

// acceptPrint is accept of n keys by their fingerprint.
func (f *trustFlags) acceptPrint(cmd *cobra.Command, who string, n int, got string) error {
	fmt.Fprintf(cmd.ErrOrStderr(), "%s, %d keys: %s\n", who, n, got)
	switch {
	case f.fingerprint != "" && f.fingerprint != got:
		return fmt.Errorf("the keys of %s have the fingerprint %s, not %s", who, got, f.fingerprint)
	case f.fingerprint != "" || f.yes:
		return nil
	case !isTerminal(cmd.InOrStdin()):
		return hint(usagef("there is no terminal to ask whether the fingerprint is right"), "--fingerprint %s, once its operator told you so; --yes trusts the connection", got)
	}
	ok, err := agrees(cmd, "Did the operator tell you this fingerprint?")
	if err == nil && !ok {
		err = fmt.Errorf("the keys of %s are not trusted: nothing is changed", who)
	}
	return err
}

// joinURL joins a base address, with or without a final slash, and what stands under it.
func joinURL(base, path string) (string, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", usagef("address %.200q: want http:// or https:// and a host", base)
	}
	return u.JoinPath(path).String(), nil
}

func newPolicyAddLogCmd() *cobra.Command {
	var f trustFlags
	c := &cobra.Command{
		Use:   "add-log FILE URL",
		Short: "Accept a log: its keys come from the policy.txt that it serves",
		Long: "Add the keys of the log at URL to FILE, which is made if there is none. Only the log's own lines are taken: whom else its operator\n" +
			"trusts is not your policy.",
		Example: "  poclog policy add-log policy.txt https://log.example/2026",
		Args:    cobra.ExactArgs(2),
		RunE:    func(cmd *cobra.Command, args []string) error { return addLogTo(cmd, args[0], args[1], &f) },
	}
	f.register(c, false)
	return c
}

func addLogTo(cmd *cobra.Command, path, at string, f *trustFlags) error {
	from, err := joinURL(at, "policy.txt")
	if err != nil {
		return err
	}
	served, err := fetchText(cmd, from)
	if err != nil {
		return err
	}
	p, err := tlogpolicy.Parse(served)
	if err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	var keys []string
	for _, l := range p.Logs() {
		if l.Origin != p.Logs()[0].Origin {
			return fmt.Errorf("%s has keys of %s and of %s: want those of one log", from, p.Logs()[0].Origin, l.Origin)
		}
		keys = append(keys, l.VKey)
	}
	if err := f.accept(cmd, "log "+p.Logs()[0].Origin, keys); err != nil {
		return err
	}
	e, err := editOf(path)
	if err != nil {
		return err
	}
	for _, k := range keys {
		e.insert("log " + k + " " + at)
	}
	return e.keep(cmd)
}

func newPolicyAddWitnessCmd() *cobra.Command {
	var f trustFlags
	var quorum string
	c := &cobra.Command{
		Use:   "add-witness FILE URL...",
		Short: "Name witnesses: their keys come from their addresses",
		Long: "Add the keys of the witness at URL to FILE, and a group of which any one of its keys is enough, so that it counts once. The quorum does\n" +
			"not change unless --quorum is given, or `poclog policy quorum` says how many witnesses a checkpoint needs.",
		Example: "  poclog policy add-witness policy.txt https://witness.example/w1 --name w1\n" +
			"  poclog policy add-witness policy.txt https://w1.example https://w2.example https://w3.example --quorum 2",
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 2 {
				if err := unused(cmd, "it is of one witness, and several are given", "name", "fingerprint"); err != nil {
					return err
				}
			}
			e, err := editOf(args[0])
			if err != nil {
				return err
			}
			var names []string
			for _, at := range args[1:] {
				name, err := addCosigner(cmd, e, at, &f, false)
				if err != nil {
					return err
				}
				names = append(names, name)
			}
			if quorum != "" {
				if err := e.setQuorum(quorum, names); err != nil {
					return err
				}
			}
			return e.keep(cmd)
		},
	}
	f.register(c, true)
	c.Flags().StringVar(&quorum, "quorum", "", `how many of these witnesses a checkpoint needs: a number, "any" or "all"`)
	return c
}

func newPolicyAddAuditorCmd() *cobra.Command {
	var f trustFlags
	c := &cobra.Command{
		Use:   "add-auditor FILE URL",
		Short: "Name an auditor: its keys come from its address",
		Long: "Add the keys of the auditor at URL to FILE, and the auditor to the group \"auditors\", any one of which makes an entry audited. Its keys for\n" +
			"trees with exceptions are named, too, and are in no group.",
		Example: "  poclog policy add-auditor policy.txt https://auditor.example/a1 --name a1",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			e, err := editOf(args[0])
			if err != nil {
				return err
			}
			if _, err := addCosigner(cmd, e, args[1], &f, true); err != nil {
				return err
			}
			return e.keep(cmd)
		},
	}
	f.register(c, true)
	return c
}

// cosignerKeys asks an address for its keys: those of one name, and of its name for exceptions.
func cosignerKeys(cmd *cobra.Command, at string) (name string, own, except []string, err error) {
	from, err := joinURL(at, "keys")
	if err != nil {
		return "", nil, nil, err
	}
	answer, err := fetchText(cmd, from)
	if err != nil {
		return "", nil, nil, err
	}
	for line := range strings.Lines(string(answer)) {
		k := strings.TrimSpace(line)
		v, err := tlogpolicy.WitnessVerifier(k)
		if err != nil {
			return "", nil, nil, fmt.Errorf("%s: %w", from, err)
		}
		plain, isExcept := strings.CutSuffix(v.Name(), exceptSuffix)
		if name == "" {
			name = plain
		}
		switch {
		case plain != name:
			return "", nil, nil, fmt.Errorf("%s has keys of %s and of %s: want those of one name", from, name, plain)
		case isExcept:
			except = append(except, k)
		default:
			own = append(own, k)
		}
	}
	if len(own) == 0 || len(own)+len(except) > 8 {
		return "", nil, nil, fmt.Errorf("%s has %d keys: want 1 to 8", from, len(own)+len(except))
	}
	return name, own, except, nil
}

// addCosigner adds a witness or an auditor to a policy, and returns its name there.
func addCosigner(cmd *cobra.Command, e *policyEdit, at string, f *trustFlags, auditor bool) (name string, err error) {
	if len(e.lines) == 0 {
		return "", hint(usagef("%s: there is no such policy", e.path), "poclog policy add-log %s URL makes one", e.path)
	}
	keyName, own, except, err := cosignerKeys(cmd, at)
	if err != nil {
		return "", err
	}
	role := "witness "
	if auditor {
		role = "auditor "
	} else if len(except) > 0 {
		return "", hint(usagef("%s is an auditor", keyName), "poclog policy add-auditor names it; it may be a witness of the quorum as well")
	}
	if err := f.accept(cmd, role+keyName, slices.Concat(own, except)); err != nil {
		return "", err
	}
	name = cmp.Or(f.name, lastPart(keyName))
	members := []string{name}
	if len(own) > 1 {
		members = nil
		for _, k := range own {
			members = append(members, name+keySuffix(k))
		}
	}
	for i, k := range own {
		e.insert("witness " + members[i] + " " + k + " " + at)
	}
	for _, k := range except {
		e.insert("witness " + name + "-except" + keySuffix(k) + " " + k + " " + at)
	}
	if len(own) > 1 {
		e.insert("group " + name + " any " + strings.Join(members, " "))
	}
	if auditor {
		threshold, others := e.remove(receiptAuditGroup)
		e.insert(strings.Join(slices.Concat([]string{"group", receiptAuditGroup, threshold}, others, []string{name}), " "))
	}
	return name, nil
}

// keySuffix tells keys of one name apart by their type.
func keySuffix(vkey string) string {
	_, rest, _ := strings.Cut(vkey, "+")
	_, encoded, _ := strings.Cut(rest, "+")
	if b, err := base64.StdEncoding.DecodeString(encoded); err == nil && len(b) > 0 && b[0] == 0x06 {
		return "-mldsa"
	}
	return "-ed25519"
}

// lastPart is the last part of a key's name, as a name in a policy.
func lastPart(keyName string) string { return keyName[strings.LastIndexByte(keyName, '/')+1:] }

func newPolicyQuorumCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "quorum FILE N NAME...",
		Short: "Say how many of which witnesses must have seen a checkpoint",
		Long: "Say which witnesses count, and how many of them a checkpoint needs: a number, \"any\" or \"all\". Names are those that add-witness gave.\n" +
			"\"poclog policy quorum FILE none\" asks for no witness.",
		Example: "  poclog policy quorum policy.txt 2 w1 w2 w3",
		Args:    cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if (args[1] == tlogpolicy.None) != (len(args) == 2) {
				return usagef("want a number and names of witnesses, or none")
			}
			e, err := editOf(args[0])
			if err != nil {
				return err
			}
			if err := e.setQuorum(args[1], args[2:]); err != nil {
				return err
			}
			return e.keep(cmd)
		},
	}
}

// A policyEdit changes a policy's lines and leaves others, comments too, as they are.
type policyEdit struct {
	path   string
	lines  []string // none if there is no such file
	quorum string   // the name in the quorum line, which is written last
}

// editOf reads a policy that is changed.
func editOf(path string) (*policyEdit, error) {
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, undecided(err)
	}
	if len(text) > tlogpolicy.MaxPolicy {
		return nil, fmt.Errorf("%s: over %d bytes", path, tlogpolicy.MaxPolicy)
	}
	e := &policyEdit{path: path, quorum: tlogpolicy.None}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\n")
		if words := strings.Fields(line); len(words) == 2 && words[0] == "quorum" {
			e.quorum = words[1]
			continue
		}
		e.lines = append(e.lines, line)
	}
	return e, nil
}

// keep writes a policy that parses and counts nobody twice, and says what it means now.
func (e *policyEdit) keep(cmd *cobra.Command) error {
	p, err := tlogpolicy.Parse([]byte(e.String()))
	if err != nil {
		return fmt.Errorf("%s would not be a policy: %w", e.path, err)
	}
	if err := countsTwice(p); err != nil {
		return err
	}
	if err := durable.Replace(e.path, []byte(e.String()), 0o644); err != nil {
		return undecided(err)
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%s: quorum %s\n", e.path, p.QuorumWords())
	return nil
}

// insert adds a line after all that it may refer to.
func (e *policyEdit) insert(line string) { e.lines = append(e.lines, line) }

// remove takes a group's line out, and returns its threshold, or "any", and its members.
func (e *policyEdit) remove(group string) (threshold string, members []string) {
	threshold = "any"
	e.lines = slices.DeleteFunc(e.lines, func(line string) bool {
		words := strings.Fields(line)
		if len(words) < 4 || words[0] != "group" || words[1] != group {
			return false
		}
		threshold, members = words[2], words[3:]
		return true
	})
	return threshold, members
}

// quorumGroup is the name of the group that the quorum command writes.
const quorumGroup = "quorum"

// setQuorum replaces the group that made the quorum, unless it is a witness's own.
func (e *policyEdit) setQuorum(threshold string, names []string) error {
	p, err := tlogpolicy.Parse([]byte(e.String()))
	if err != nil {
		return usagef("%s: %w", e.path, err)
	}
	if _, err := strconv.ParseUint(threshold, 10, 16); err != nil && threshold != "any" && threshold != "all" && threshold != tlogpolicy.None {
		return usagef("%q: want a number, any, all or none", threshold)
	}
	if old := e.quorum; old != tlogpolicy.None && p.MemberWords(old) != old {
		e.remove(old)
	}
	e.remove(quorumGroup)
	e.quorum = tlogpolicy.None
	if threshold != tlogpolicy.None {
		e.insert(strings.Join(append([]string{"group", quorumGroup, threshold}, names...), " "))
		e.quorum = quorumGroup
	}
	return nil
}

func (e *policyEdit) String() string {
	return strings.Join(append(e.lines, "quorum "+e.quorum), "\n") + "\n"
}
