// Package folder keeps a log in a folder, for one process:
//
//	tiles/              what Tessera's POSIX driver writes, and the public tree
//	evidence/           files of evidence, many in each segment
//	state/checkpoints.db
//	state/evidence.db   where in the segments each file is: derived from them
//	lock                held while the log is served
//
// The guard is a file beside the folder. TestPowerLossLosesNoEvidence,
// TestKilledProcessLosesNoEvidence, and TestKilledLogLosesNoReceipt and
// TestRestoredDirectoryRefusesToStart of package log are the evidence.
package folder

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/durable"
	"github.com/poclog/poclog/log/store"
)

// Files and folders of a log.
const (
	dirTiles    = "tiles"
	dirEvidence = "evidence"
	dirState    = "state"
	fileLock    = "lock"
	filePlaces  = "evidence.db" // in dirState
)

// probeInterval is how long a probe of the disk holds.
const probeInterval = 100 * time.Millisecond

// pollInterval is how often the published checkpoint is read.
const pollInterval = 20 * time.Millisecond

// minInterval is the driver's own least time between two checkpoints.
const minInterval = 100 * time.Millisecond

// Options say how a folder is opened.
type Options struct {
	Guard    string        // the guard file
	Interval time.Duration // between checkpoints of a growing log
	Logger   *slog.Logger  // nil: the folder is only read
}

// Make makes the folders of a new log.
func Make(dir string) error {
	for _, d := range []string{filepath.Join(dir, dirTiles), filepath.Join(dir, dirEvidence)} {
		if err := durable.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	return nil
}

// Open opens a folder. It reads nothing, and makes nothing.
func Open(dir string, o Options) *store.Store {
	evidence := newEvidence(filepath.Join(dir, dirEvidence), filepath.Join(dir, dirState, filePlaces), o.Logger)
	disk := &store.Probe{What: "the disk", Every: probeInterval, Try: func() error { return probeAll(filepath.Join(dir, dirTiles), filepath.Join(dir, dirEvidence)) }}
	checkpoints := &checkpoints{path: filepath.Join(dir, dirState, "checkpoints.db")}
	return &store.Store{
		Name:        dir,
		Tiles:       &tiles{root: filepath.Join(dir, dirTiles), interval: o.Interval, logger: o.Logger},
		Evidence:    evidence,
		Guard:       &Register{Path: o.Guard},
		Checkpoints: checkpoints,
		Poll:        pollInterval,
		MinInterval: minInterval,
		Lock:        func() (func() error, error) { return store.LockFiles(filepath.Join(dir, fileLock), o.Guard+".lock") },
		Join:        func(context.Context, poclog.Digest) error { return nil },
		Lost:        func() error { return nil },
		Turn:        func(context.Context, string) (func(), uint64, error) { return func() {}, 0, nil },
		Prepare:     evidence.prepare,
		Writable:    disk.Check,
		Close:       func() error { return errors.Join(evidence.close(), checkpoints.close()) },
	}
}
