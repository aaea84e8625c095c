package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/signer"
	"github.com/poclog/poclog/verify/vouch/dsse"
)

// keyFlags are the keys that a publisher signs with.
type keyFlags struct{ refs []string }

func (f *keyFlags) register(c *cobra.Command, usage string) {
	c.Flags().StringArrayVar(&f.refs, "key", nil, usage+": a PEM file, or NAME://KEY of a key management system (plugin sigstore-kms-NAME); may be repeated")
}

// open opens the keys, in the order given.
func (f *keyFlags) open(cmd *cobra.Command) ([]*signer.Signer, error) {
	var list []*signer.Signer
	for _, ref := range f.refs {
		s, err := openKey(cmd, ref)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(list, func(o *signer.Signer) bool { return o.Key().Digest == s.Key().Digest }) {
			return nil, usagef("--key %s: this key signs already", ref)
		}
		list = append(list, s)
	}
	return list, nil
}

func openKey(cmd *cobra.Command, ref string) (*signer.Signer, error) {
	o := signer.Opener{Password: func(path string) ([]byte, error) { return password(cmd, "Password of "+path) }, Notes: cmd.ErrOrStderr()}
	s, err := o.Open(cmd.Context(), ref)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, hint(undecided(err), "`poclog key new` makes a key")
	case err != nil && strings.Contains(ref, "://"):
		return nil, hint(undecided(err), "keys of a system NAME:// need its sigstore plugin, the program sigstore-kms-NAME, on the PATH")
	}
	return s, err
}

// publicKey is the public part of a key: as policies list it, or of a key that can be opened.
func publicKey(cmd *cobra.Command, ref string) (*poclog.PublisherKey, error) {
	if key, err := poclog.ParsePublisherKey(ref); err == nil {
		return key, nil
	}
	s, err := openKey(cmd, ref)
	if err != nil {
		return nil, err
	}
	return s.Key(), nil
}

func newKeyCmd() *cobra.Command {
	c := &cobra.Command{Use: "key", Short: "Make and show publishers' keys"}
	c.AddCommand(newKeyNewCmd(), newKeyShowCmd())
	return c
}

func newKeyNewCmd() *cobra.Command {
	out := output{mode: 0o600}
	var encrypt bool
	c := &cobra.Command{
		Use:   "new",
		Short: "Make a publisher's key",
		Long: "Make an Ed25519 key to sign submissions with, in a file of mode 0600, and print what a log's operator needs to list it: the line for\n" +
			"\"publishers\" in the appraisal policy, and the digest by which entries name it.\n\n" +
			"With --encrypt the file is encrypted with a password, asked for or taken from " + passwordVariable + ".",
		Example: "  poclog key new -o publisher.key",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			var secret []byte
			if encrypt {
				var err error
				if secret, err = newPassword(cmd); err != nil {
					return err
				}
			}
			file, key, err := signer.Generate(secret)
			if err != nil {
				return err
			}
			if err := out.write(cmd, file); err != nil {
				return err
			}
			return printKey(out.words(cmd), key)
		},
	}
	out.flags(c, "key")
	c.Flags().BoolVar(&encrypt, "encrypt", false, "encrypt the file with a password")
	return c
}

// newPassword asks twice: a slip would lose the key.
func newPassword(cmd *cobra.Command) ([]byte, error) {
	ask := func(question string) ([]byte, error) {
		p, err := password(cmd, question)
		if err != nil && !errors.Is(err, errInterrupted) {
			err = usagef("--encrypt: %w", err)
		}
		return p, err
	}
	first, err := ask("Password for the new key")
	if err != nil {
		return nil, err
	}
	if _, set := os.LookupEnv(passwordVariable); !set {
		again, err := ask("The same again")
		if err != nil {
			return nil, err
		}
		if string(first) != string(again) {
			return nil, usagef("--encrypt: these are two passwords")
		}
	}
	if len(first) == 0 {
		return nil, usagef("--encrypt: the password is empty")
	}
	return first, nil
}

func newKeyShowCmd() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "show KEY",
		Short: "Show a key's public part: how policies list it and entries name it",
		Long: "Show the public part of a key: a PEM file, NAME://KEY of a key management system, or a line of \"publishers\" in an appraisal policy.\n" +
			"The key signs nothing.",
		Example: "  poclog key show publisher.key\n  poclog key show awskms:///alias/publisher",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := publicKey(cmd, args[0])
			if err != nil {
				return err
			}
			if !asJSON {
				return printKey(cmd.OutOrStdout(), key)
			}
			id, err := dsse.KeyID(key)
			if err != nil {
				return err
			}
			return printJSON(cmd.OutOrStdout(), map[string]any{"v": 1, "policy": key.String(), "sha256": key.Digest, "keyid": id})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func printKey(w io.Writer, key *poclog.PublisherKey) error {
	id, err := dsse.KeyID(key)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "policy  %s\nsha256  %s\nkeyid   %s\n", key, key.Digest, id)
	return err
}

type signCmd struct {
	evidenceFlags
	keyFlags
	out output
}

func newSignCmd() *cobra.Command {
	s := new(signCmd)
	c := &cobra.Command{
		Use:   "sign FILE | FOLDER --key KEY",
		Short: "Sign a bundle or a registrar's statement, or add a signature to an envelope",
		Long: "Sign a bundle, with collateral if you give some, and write the DSSE envelope that `poclog submit` sends. Of an envelope, add a signature: a log\n" +
			"whose policy wants two publishers takes what both signed, on machines of their own. Nothing is sent.\n\n" +
			"A registrar's statement is signed the same way. Of a folder, every *.statement.json in it is signed, into a new folder.",
		Example: "  poclog sign vm.bundle.json --key alice.key -o vm.dsse.json\n  poclog sign vm.dsse.json --key awskms:///alias/bob -o vm2.dsse.json\n" +
			"  poclog sign statements --key alice.key -o signed-by-alice",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return s.run(cmd, args[0]) },
	}
	s.evidenceFlags.register(c)
	s.keyFlags.register(c, "sign with this key")
	s.out.flags(c, "envelope")
	return c
}

func (s *signCmd) run(cmd *cobra.Command, path string) error {
	if len(s.refs) == 0 {
		return usagef("say which key signs: --key KEY")
	}
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		if err := s.out.check(); err != nil {
			return err
		}
	}
	if path != "-" {
		if is, err := s.signsStatements(cmd, path); is {
			return err
		}
	}
	sub, err := s.submission(cmd, path)
	if err != nil {
		return err
	}
	keys, err := s.open(cmd)
	if err != nil {
		return err
	}
	list, err := disclosed(sub, keys)
	if err != nil {
		return err
	}
	show(cmd, "Signed, to become public for good with this signature:", list, keys)
	if err := seal(cmd, sub, keys); err != nil {
		return err
	}
	return s.out.write(cmd, sub.Envelope)
}

// seal signs a submission, or adds signatures to the envelope that it has.
func seal(cmd *cobra.Command, sub *poclog.Submission, keys []*signer.Signer) (err error) {
	switch {
	case len(keys) == 0:
		return nil
	case len(sub.Envelope) > 0:
		sub.Envelope, err = signer.Countersign(cmd.Context(), sub.Envelope, keys...)
	default:
		sub.Envelope, err = signer.Seal(cmd.Context(), sub, keys...)
	}
	return unsealed(keys, err)
}

// unsealed is the error of signing: a key management system is to blame, and may be back later.
func unsealed(keys []*signer.Signer, err error) error {
	if slices.ContainsFunc(keys, func(k *signer.Signer) bool { return strings.Contains(k.Ref(), "://") }) {
		return undecided(err)
	}
	return err
}
