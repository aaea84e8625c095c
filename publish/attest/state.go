package attest

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/durable"
)

// Names in the state's folder.
const (
	stateFile     = "state.json"
	lockName      = "lock"
	latestFile    = "latest.tlog-proof"
	refusedFile   = "refused.bundle.json"
	receiptSuffix = ".tlog-proof"
	bundleSuffix  = ".bundle.json"
	consentSuffix = ".consent.json"
	stampForm     = "20060102T150405Z"
	maxStateFile  = 4096
)

// A State is a folder that remembers which windows have their proof. A window's bundle is there,
// durably, before it is sent, and its receipt before the bundle goes; so that the files alone say
// what is left to do, whatever stopped the process and wherever:
//
//	state.json                   which log, and when in a window this publisher acts
//	<window>-<key>.bundle.json   sent, or about to be: its receipt is not yet here
//	<window>-<key>.consent.json  that the publisher agreed to that bundle, for which log and with which keys
//	<window>-<key>.tlog-proof    the receipt; public
//	latest.tlog-proof            a copy of the last one
//	refused.bundle.json          the last bundle that was put aside: refused, too old, or not agreed to
//
// <window> is its start, <key> the beginning of the user data's digest: a new key gets a proof of
// its own. One process at a time has a State open.
//
// What lies in the folder is published: a folder that others can write is refused, and so are files
// of theirs.
type State struct {
	dir    string
	disk   durable.FS
	seed   uint32
	unlock func() error
}

// stateJSON is state.json.
type stateJSON struct {
	V    int    `json:"v"`
	Log  string `json:"log"`
	Seed uint32 `json:"seed"` // random: spreads publishers over the window
}

// ErrOtherLog says that a state's folder belongs to another log.
var ErrOtherLog = errors.New("the folder holds the state for another log")

// OpenState opens the state for a log's URL in a folder, which it makes if there is none. It
// finishes what a stopped process left half done.
func OpenState(dir, log string) (*State, error) { return openState(durable.FS{}, dir, log) }

func openState(disk durable.FS, dir, log string) (*State, error) {
	s := &State{dir: dir, disk: disk}
	err := disk.MkdirAll(dir, 0o755)
	if err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	if err := durable.CheckPrivate(dir); err != nil {
		return nil, fmt.Errorf("state: others could have their own evidence published: %w", err)
	}
	if s.unlock, err = durable.TryLock(filepath.Join(dir, lockName)); err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	if err = s.checkFiles(); err == nil {
		err = s.load(log)
	}
	if err == nil {
		err = s.recover()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("state: %w", err), s.Close())
	}
	return s, nil
}

// Close lets another process open the state.
func (s *State) Close() error { return s.unlock() }

func (s *State) load(log string) error {
	path := filepath.Join(s.dir, stateFile)
	b, err := readBounded(path, maxStateFile)
	if errors.Is(err, fs.ErrNotExist) {
		s.seed = rand.Uint32()
		if b, err = json.Marshal(stateJSON{V: 1, Log: log, Seed: s.seed}); err != nil {
			return err
		}
		return s.disk.Replace(path, append(b, '\n'), 0o644)
	}
	if err != nil {
		return err
	}
	var j stateJSON
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&j); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if j.V != 1 {
		return fmt.Errorf("%s: version %d: want 1", path, j.V)
	}
	if j.Log != log {
		return fmt.Errorf("%w: %s is for %q, not for %q", ErrOtherLog, s.dir, j.Log, log)
	}
	s.seed = j.Seed
	return nil
}

// checkFiles refuses files of others: the folder may have been theirs before.
func (s *State) checkFiles() error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		ours := slices.Contains([]string{stateFile, lockName, latestFile, refusedFile}, e.Name())
		for _, suffix := range []string{bundleSuffix, consentSuffix, receiptSuffix} {
			name, ok := strings.CutSuffix(e.Name(), suffix)
			_, isStem := windowOf(name)
			ours = ours || ok && isStem
		}
		if !ours {
			continue
		}
		if err := durable.CheckOwn(filepath.Join(s.dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// recover removes what a stopped process left: files that were not finished, bundles whose receipt
// is here, and consents without a bundle.
func (s *State) recover() error {
	if err := durable.Sweep(s.dir); err != nil {
		return err
	}
	pending, err := s.list(bundleSuffix)
	if err != nil {
		return err
	}
	for _, stem := range pending {
		if s.done(stem) {
			if err := s.finished(stem); err != nil {
				return err
			}
		}
	}
	consents, err := s.list(consentSuffix)
	if err != nil {
		return err
	}
	for _, stem := range consents {
		if _, err := os.Lstat(s.path(stem, bundleSuffix)); errors.Is(err, fs.ErrNotExist) {
			err = s.disk.Remove(s.path(stem, consentSuffix))
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// stem names a window's files.
func stem(window time.Time, userData poclog.Digest) string {
	return window.UTC().Format(stampForm) + "-" + hex.EncodeToString(userData[:4])
}

// windowOf reads a stem's window.
func windowOf(stem string) (time.Time, bool) {
	stamp, key, ok := strings.Cut(stem, "-")
	t, err := time.Parse(stampForm, stamp)
	_, herr := hex.DecodeString(key)
	return t, ok && err == nil && herr == nil && len(key) == 8
}

// list returns the stems that have a file of one kind, oldest window first.
func (s *State) list(suffix string) (stems []string, err error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), suffix)
		if !ok || !e.Type().IsRegular() {
			continue
		}
		if _, isStem := windowOf(name); isStem {
			stems = append(stems, name)
		}
	}
	slices.Sort(stems)
	return stems, nil
}

// path names a file of a window.
func (s *State) path(stem, suffix string) string { return filepath.Join(s.dir, stem+suffix) }

// done reports whether a window has its receipt.
func (s *State) done(stem string) bool {
	_, err := os.Stat(s.path(stem, receiptSuffix))
	return err == nil
}

// begin keeps a bundle and the consent to it before it is sent.
func (s *State) begin(stem string, bundle []byte, c *consent) error {
	if err := s.keepConsent(stem, c); err != nil {
		return err
	}
	return s.disk.Replace(s.path(stem, bundleSuffix), bundle, 0o600)
}

// pending returns the bundles that have no receipt yet.
func (s *State) pending() (stems []string, err error) { return s.list(bundleSuffix) }

func (s *State) bundle(stem string) ([]byte, error) {
	return readBounded(s.path(stem, bundleSuffix), poclog.MaxBundle)
}

// finish keeps a receipt; its bundle goes.
func (s *State) finish(stem string, receipt []byte) error {
	if err := s.disk.Replace(s.path(stem, receiptSuffix), receipt, 0o644); err != nil {
		return err
	}
	return s.finished(stem)
}

// finished does what follows once a receipt is kept.
func (s *State) finished(stem string) error {
	receipt, err := readBounded(s.path(stem, receiptSuffix), poclog.MaxReceipt)
	if err != nil {
		return err
	}
	if err := s.disk.Replace(filepath.Join(s.dir, latestFile), receipt, 0o644); err != nil {
		return err
	}
	if err := s.disk.Remove(s.path(stem, bundleSuffix)); err != nil {
		return err
	}
	return s.forget(stem)
}

// forget removes the consent to a bundle that has gone.
func (s *State) forget(stem string) error {
	err := s.disk.Remove(s.path(stem, consentSuffix))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// refuse puts a bundle aside: it is not sent again.
func (s *State) refuse(stem string) error {
	if err := s.disk.Rename(s.path(stem, bundleSuffix), filepath.Join(s.dir, refusedFile)); err != nil {
		return err
	}
	return s.forget(stem)
}

// prune removes the oldest receipts but for a number of them, and never the one of a window.
// Receipts of later windows, which a clock that ran ahead made, go first.
func (s *State) prune(keep int, spare string) error {
	if keep <= 0 {
		return nil
	}
	stems, err := s.list(receiptSuffix)
	if err != nil || len(stems) <= keep {
		return err
	}
	later := slices.IndexFunc(stems, func(stem string) bool { return stem[:len(stampForm)] > spare[:len(stampForm)] })
	if later >= 0 {
		stems = slices.Concat(stems[later:], stems[:later])
	}
	for _, stem := range stems[:len(stems)-keep] {
		if stem == spare {
			continue
		}
		if err := s.disk.Remove(s.path(stem, receiptSuffix)); err != nil {
			return err
		}
	}
	return nil
}

// newestBefore returns the start of the newest window with a receipt before a time.
func (s *State) newestBefore(at time.Time) (window time.Time, ok bool) {
	stems, err := s.list(receiptSuffix)
	if err != nil {
		return time.Time{}, false
	}
	for _, stem := range slices.Backward(stems) {
		if w, _ := windowOf(stem); w.Before(at) {
			return w, true
		}
	}
	return time.Time{}, false
}
