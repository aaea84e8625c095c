// Package mysqls3 keeps a log in MySQL or MariaDB and S3, for any number of front ends:
//
//	database          Tessera's tables, front ends, known evidence and claims on it
//	tiles bucket      tile/…, checkpoint   what Tessera's AWS driver writes, and the public tree
//	                  evidence/sha256/…    files by digest
//	                  checkpoints/…        kept checkpoints
//	guard bucket      guard                the last signed checkpoint
//
// Objects never change, but for two: checkpoint and guard. These are replaced by compare-and-swap
// (If-Match), checkpoint never by a smaller one; cosignatures are added to it the same way. What answers cannot be told from a lost answer is
// read again: the own bytes are success.
//
// The guard is never replicated and never restored. It stands in another bucket than the tiles, so
// that one failure or one restored backup does not take both. The conformance test of package
// storetest is the evidence, run by `make store-test` against MariaDB and an S3 server over HTTP.
package mysqls3

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/log/store"
)

// probeName is an object on which conditions are tried, in either bucket.
const probeName = "poclog-probe"

// How long a look at database and buckets holds, and how much longer while the next look is on its way.
const (
	probeInterval = time.Second
	probeGrace    = 2 * time.Second
)

// Open connects to database and buckets, and refuses what cannot hold the store's promises. One
// process has the lock file of a front end's own folder.
func Open(ctx context.Context, c *Config, lockFile string) (*store.Store, error) {
	if err := c.Check(); err != nil {
		return nil, fmt.Errorf("store.json: %w", err)
	}
	secret, err := password(os.Getenv)
	if err != nil {
		return nil, err
	}
	tilesBucket, err := openBucket(ctx, c.Tiles)
	if err != nil {
		return nil, err
	}
	guardBucket, err := openBucket(ctx, c.Guard)
	if err != nil {
		return nil, err
	}
	for _, b := range []*bucket{tilesBucket, guardBucket} {
		if err := b.probe(ctx, fmt.Sprintf("%s-%d-%d", probeName, os.Getpid(), time.Now().UnixNano())); err != nil {
			return nil, err
		}
	}
	db, err := openDatabase(ctx, c.Database, c.Database.dsn(secret, ""))
	if err != nil {
		return nil, err
	}
	present := &presence{db: db.watch, id: make([]byte, 16)}
	_, _ = rand.Read(present.id) // it does not fail
	turns := newTurns(db.work, present.id)
	tree := &tiles{bucket: tilesBucket, db: db.work, where: c.Database, secret: secret, presence: present}
	probe := &store.Probe{What: "the store", Every: probeInterval, Grace: probeGrace, Try: func() error { return writable(db.watch, tilesBucket, guardBucket) }}
	return &store.Store{
		Name:        fmt.Sprintf("%s and %s", c.Database.Name, tilesBucket),
		Tiles:       tree,
		Evidence:    newEvidence(tilesBucket),
		Guard:       &register{guardBucket},
		Checkpoints: &checkpoints{bucket: tilesBucket},
		Known:       newKnown(db.work, present.id),
		Shared:      true,
		Poll:        pollInterval,
		MinInterval: minInterval,
		Lock:        func() (func() error, error) { return store.LockFiles(lockFile) },
		Join:        func(ctx context.Context, policy poclog.Digest) error { return present.join(ctx, policy[:]) },
		Lost:        present.lost,
		Turn:        turns.take,
		Cosign:      tree.cosign,
		Prepare:     func() error { return nil },
		Writable:    probe.Check,
		Close:       func() error { turns.close(); present.leave(); return db.close() },
	}, nil
}

// minInterval is the driver's own least time between two checkpoints.
const minInterval = time.Second

// pollInterval is how often the published checkpoint is read: each is a request.
const pollInterval = 200 * time.Millisecond

// writable looks whether database, buckets and guard answer, and whether clocks agree.
func writable(db *sql.DB, tiles, guard *bucket) error {
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	defer cancel()
	if err := checkClock(ctx, db); err != nil {
		return fmt.Errorf("database: %w", explain(err))
	}
	// Whether a log was made already is the guard's to say.
	if _, err := tiles.list(ctx, "checkpoint", "", 1); err != nil {
		return err
	}
	if _, err := guard.size(ctx, guardName); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("guard object %s%s is missing: it must not be made anew", guard, guardName)
		}
		return err
	}
	return nil
}
