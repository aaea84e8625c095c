// Package log is the log service: it admits submissions, appends entries to a Merkle log in C2SP
// tlog-tiles form, keeps the evidence, and answers with receipts.
//
// It is built on Tessera, which only packages below this one import. Where a log is kept is package
// store. Beyond Tessera it promises:
//
//   - a receipt that was returned is never lost: evidence is durable before its entry is appended,
//     and the entry before it is answered;
//   - it never signs what contradicts: every checkpoint is first proven, from the tiles, to extend
//     the last one signed, which is kept in a guard file outside the log's directory; a directory
//     that was rolled back refuses to start;
//   - what contradicts earlier entries is logged, not refused: the log is where proxying becomes
//     visible;
//   - no log is made by serving one: [Init] does, once.
//
// TestKilledLogLosesNoReceipt and TestRestoredDirectoryRefusesToStart are the evidence.
package log

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	fnote "github.com/transparency-dev/formats/note"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/durable"
	"github.com/poclog/poclog/internal/signer"
	"github.com/poclog/poclog/log/store"
	"github.com/poclog/poclog/log/store/folder"
	"github.com/poclog/poclog/log/store/mysqls3"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

// Files and folders of a log.
const (
	fileEd25519    = "keys/ed25519.key"
	fileMLDSA      = "keys/mldsa44.key"
	filePolicy     = "policy.txt"     // tlog-policy for clients
	fileAppraisal  = "appraisal.json" // appraisal policy
	fileLock       = "lock"           // of a front end; of a folder it is the store's
	dirState       = "state"          // databases: index and known evidence, which are derived, and published checkpoints that receipts and dossiers need again
	fileWithheld   = "withheld.txt"   // digests of evidence that a law withholds, one a line
	fileDuplicates = "duplicates.db"  // in dirState
)

// GuardPath is where the guard of a log's directory is kept unless the operator says otherwise:
// beside it, so that a restored copy of the directory does not bring an old guard along.
func GuardPath(dir string) string { return filepath.Clean(dir) + ".guard" }

// InitOptions say what a new log is.
type InitOptions struct {
	Origin string         // the log's name, such as "log.example/2026": the first line of its checkpoints
	URL    string         // where it will be served, for policy.txt; may be empty
	Policy *poclog.Policy // what it admits; without a ChallengePolicy the log's own tlog-policy is that
	Guard  string         // the guard file; empty is GuardPath
	Key    *signer.Signer // the Ed25519 key, in a key management system; nil makes one in a file

	Store *mysqls3.Config // where it is kept; nil: in its folder
}

// Init makes a log in a directory that does not exist or is empty, with new keys. It never
// overwrites anything.
func Init(dir string, o InitOptions) error {
	guard := cmp.Or(o.Guard, GuardPath(dir))
	if _, err := os.Lstat(guard); err == nil {
		return fmt.Errorf("guard file %s exists: it belongs to a log", guard)
	}
	if names, err := os.ReadDir(dir); err == nil && len(names) > 0 {
		return fmt.Errorf("directory %s is not empty", dir)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("make log: %w", err)
	}
	keyFile, ed25519Key, ed25519VKey, err := newEd25519(o.Origin, o.Key)
	if err != nil {
		return err
	}
	mldsaKey, mldsaVKey, err := fnote.GenerateMLDSAKey(o.Origin)
	if err != nil {
		return fmt.Errorf("make ML-DSA-44 key for origin %q: %w", o.Origin, err)
	}
	policy := clientPolicy(o, ed25519VKey, mldsaVKey)
	clients, err := tlogpolicy.Parse([]byte(policy))
	if err != nil {
		return fmt.Errorf("origin %q: %w", o.Origin, err)
	}
	appraisal := *o.Policy
	if len(appraisal.ChallengePolicy) == 0 {
		appraisal.ChallengePolicy = challengeLines(clients)
	}
	file, err := appraisal.Marshal()
	if err != nil {
		return err
	}
	kept, where, err := makeStore(dir, guard, o)
	if err != nil {
		return fmt.Errorf("make log: %w", err)
	}
	defer kept.Close()
	if err := durable.MkdirAll(filepath.Join(dir, "keys"), 0o755); err != nil {
		return fmt.Errorf("make log: %w", err)
	}
	for _, f := range []struct {
		path string
		mode os.FileMode
		b    []byte
	}{
		{filepath.Join(dir, keyFile), 0o600, ed25519Key},
		{filepath.Join(dir, fileMLDSA), 0o600, []byte(mldsaKey + "\n")},
		{filepath.Join(dir, filePolicy), 0o644, []byte(policy)},
		{filepath.Join(dir, fileAppraisal), 0o644, file},
		{filepath.Join(dir, fileStore), 0o644, where},
	} {
		if f.b == nil {
			continue
		}
		if err := durable.Create(f.path, f.b, f.mode); err != nil {
			return fmt.Errorf("make log: %w", err)
		}
	}
	// The guard comes last: without it nothing is served.
	if err := kept.Guard.Create(context.Background(), []byte(checkpointText(o.Origin, 0, emptyRoot[:]))); err != nil {
		return fmt.Errorf("make log: %w", err)
	}
	return nil
}

// makeStore makes where a new log is kept, and returns its store.json, nil where it is its folder.
// Nothing that belongs to another log is taken.
func makeStore(dir, guard string, o InitOptions) (*store.Store, []byte, error) {
	if o.Store != nil {
		return makeShared(o)
	}
	if err := folder.Make(dir); err != nil {
		return nil, nil, err
	}
	return folder.Open(dir, folder.Options{Guard: guard}), nil, nil
}

func makeShared(o InitOptions) (*store.Store, []byte, error) {
	file, err := o.Store.Marshal()
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", fileStore, err)
	}
	if o.Guard != "" {
		return nil, nil, errors.New("a guard file is named, and the store keeps the guard as an object")
	}
	ctx := context.Background()
	s, err := mysqls3.Open(ctx, o.Store, "")
	if err != nil {
		return nil, nil, err
	}
	if _, _, err = s.Guard.Load(ctx); err == nil {
		err = fmt.Errorf("%s exists: it belongs to a log", s.Guard.Name())
	} else if errors.Is(err, fs.ErrNotExist) {
		err = isNew(ctx, s)
	}
	if err != nil {
		return nil, nil, errors.Join(err, s.Close())
	}
	return s, file, nil
}

// isNew refuses a store that has a tree already.
func isNew(ctx context.Context, s *store.Store) error {
	state, err := s.Tiles.State(ctx)
	if err != nil {
		return err
	}
	if state.Written {
		return fmt.Errorf("store %s: its database has a log's tables already", s.Name)
	}
	_, err = store.Reader{Tiles: s.Tiles}.ReadCheckpoint(ctx)
	switch {
	case err == nil:
		return fmt.Errorf("store %s: its bucket has a log's checkpoint already", s.Name)
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("store %s: look for a log's checkpoint in its bucket: %w", s.Name, err)
	}
	return nil
}

func clientPolicy(o InitOptions, vkeys ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Clients of the log %s trust these keys and witnesses.\n", o.Origin)
	for _, k := range vkeys {
		fmt.Fprintln(&b, strings.TrimSpace("log "+k+" "+o.URL))
	}
	b.WriteString("quorum none\n")
	return b.String()
}
