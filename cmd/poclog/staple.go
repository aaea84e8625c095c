package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/verify/dossier"
	"github.com/poclog/poclog/verify/receipt"
)

// staplePause is the time between two looks at a log's index: it covers a new entry within a minute
// or so.
const staplePause = 5 * time.Second

// A staple is the flag --dossier of commands that keep a receipt: the publisher hands out both, so
// that who reads them asks nobody.
type staple struct {
	out output
}

func (s *staple) flags(fs *pflag.FlagSet) {
	fs.StringVar(&s.out.path, "dossier", "", "keep a dossier that clears the receipt, too, in this file (waits until the log's index has the entry)")
}

// check refuses early what keep would refuse after the work was done.
func (s *staple) check(force bool) error {
	s.out.force = force
	return s.out.checkIfNamed()
}

// keep gets the dossier of a receipt and keeps it, if one was asked for. It waits until the index
// has the entry. One that does not clear the receipt is kept, and is an error: it says what else is
// claimed.
func (s *staple) keep(cmd *cobra.Command, cl *client.Client, file []byte) error {
	if s.out.path == "" {
		return nil
	}
	v, err := receipt.Open(file, cl.Policy)
	if err != nil {
		return err
	}
	if v.Entry == nil {
		return fmt.Errorf("the receipt is of an entry of kind %s: a dossier is of a proof", v.Kind)
	}
	for told := false; ; told = true {
		file, a, err := stapled(cmd.Context(), cl, v)
		if err == nil {
			if err := s.out.write(cmd, file); err != nil {
				return err
			}
			return a.Clears(v)
		}
		behind, ok := errors.AsType[*behindError](err)
		if !ok {
			return err
		}
		if !told {
			fmt.Fprintf(cmd.ErrOrStderr(), "waiting until the index of %s, which ends at entry %d, has entry %d\n", v.Origin, behind.size, v.Index)
		}
		if err := cl.Wait(cmd.Context(), staplePause); err != nil {
			return undecided(err)
		}
	}
}

// A behindError says that an index does not have an entry yet.
type behindError struct{ size uint64 }

func (e *behindError) Error() string { return fmt.Sprintf("the index ends at entry %d", e.size) }

// stapled fetches the dossier of a receipt's identities, and checks it.
func stapled(ctx context.Context, cl *client.Client, v *receipt.Verdict) (file []byte, a *dossier.Answer, err error) {
	names := slices.Concat(dossier.NamesFor(v.Entry), dossier.StatementNamesFor(v.Entry))
	file, a, err = askedDossier(ctx, cl, client.DossierOf{Names: names, Intervals: true}, dossier.Demands{Names: names, UnsafeRealm: v.Entry.Realm})
	if p, ok := errors.AsType[*client.Problem](err); ok && p.Temporary() {
		return nil, nil, &behindError{}
	}
	if err == nil && a.Size <= v.Index {
		err = &behindError{a.Size}
	}
	return file, a, err
}
