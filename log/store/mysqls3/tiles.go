package mysqls3

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/api/layout"
	driver "github.com/transparency-dev/tessera/storage/aws"

	"github.com/poclog/poclog/log/store"
	"github.com/poclog/poclog/verify/tlogpolicy"
)

// Bounds of the driver, and of what is asked of the database beside it.
const (
	maxConnections = 32
	maxWatching    = 2 // of those beside the driver's: see databases
	publishTries   = 8
)

const checkpointType = "text/plain; charset=utf-8"

// tiles are a tree in a bucket, whose driver keeps its state in the database.
type tiles struct {
	bucket   *bucket
	db       *sql.DB
	where    Database
	secret   string
	presence *presence
}

// Open opens an object.
func (t *tiles) Open(ctx context.Context, path string) (io.ReadCloser, int64, error) {
	return t.bucket.open(ctx, path)
}

// State reads what Tessera integrated.
func (t *tiles) State(ctx context.Context) (store.TreeState, error) {
	state := store.TreeState{Root: rfc6962.DefaultHasher.EmptyRoot()}
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	err := t.db.QueryRowContext(ctx, "SELECT seq, rootHash FROM IntCoord WHERE id = 0").Scan(&state.Size, &state.Root)
	if errors.Is(err, sql.ErrNoRows) || isNoTable(err) {
		return state, nil
	}
	if err != nil {
		return state, fmt.Errorf("read the state of the log's tree: %w", explain(err))
	}
	state.Written = true
	return state, nil
}

// Driver opens the tree for writing.
func (t *tiles) Driver(ctx context.Context, witnesses *http.Client) (tessera.Driver, func() error, error) {
	c, err := sdkConfig(ctx, t.bucket.where)
	if err != nil {
		return nil, nil, err
	}
	set := s3Options(t.bucket.where)
	fence := newFence()
	dsn, forget := fence.behind(t.where, t.secret)
	d, err := driver.New(ctx, driver.Config{
		SDKConfig: &c,
		S3Options: func(o *s3.Options) {
			set(o)
			o.APIOptions = append(o.APIOptions, t.guardCheckpoint)
		},
		Bucket: t.bucket.where.Name, BucketPrefix: strings.TrimSuffix(t.bucket.prefix, "/"),
		DSN: dsn, MaxOpenConns: maxConnections, MaxIdleConns: maxConnections / 2,
		HTTPClient: witnesses,
	})
	if err != nil {
		forget()
		return nil, nil, err
	}
	t.presence.guardBy(fence)
	return d, func() error { forget(); return nil }, nil
}

// guardCheckpoint has the driver's client write the checkpoint with a condition. The driver writes
// tiles and entries with If-None-Match, and before them the checkpoint; but that itself without a
// condition: one that lost its lock meanwhile would publish a smaller tree over a larger one.
func (t *tiles) guardCheckpoint(stack *middleware.Stack) error {
	return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("poclog.checkpoint",
		func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
			p, ok := in.Parameters.(*s3.PutObjectInput)
			if !ok || aws.ToString(p.Key) != t.bucket.prefix+layout.CheckpointPath {
				return next.HandleInitialize(ctx, in)
			}
			signed, err := io.ReadAll(io.LimitReader(p.Body, maxRegister))
			if err == nil {
				err = t.publish(ctx, signed)
			}
			return middleware.InitializeOutput{Result: &s3.PutObjectOutput{}}, middleware.Metadata{}, err
		}), middleware.Before)
}

// publish replaces the published checkpoint by one of a tree that is not smaller.
func (t *tiles) publish(ctx context.Context, signed []byte) error {
	next, err := tlogpolicy.ParseCheckpoint(signed)
	if err != nil {
		return err
	}
	p := put{body: signed, contentType: checkpointType}
	for range publishTries {
		p.ifMatch, p.ifNoneMatch = "", "*"
		have, err := t.bucket.get(ctx, layout.CheckpointPath, maxRegister)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err == nil {
			if bytes.Equal(have.body, signed) {
				return nil
			}
			last, err := tlogpolicy.ParseCheckpoint(have.body)
			if err != nil {
				return fmt.Errorf("the published checkpoint: %w", err)
			}
			if last.Origin != next.Origin || next.Size < last.Size || next.Size == last.Size && next.Root != last.Root {
				return fmt.Errorf("size %d of %q is published: %d of %q does not take its place", last.Size, last.Origin, next.Size, next.Origin)
			}
			p.ifMatch, p.ifNoneMatch = have.etag, ""
		}
		if err = t.bucket.swap(ctx, layout.CheckpointPath, p); !errors.Is(err, errPrecondition) {
			return err
		}
	}
	return fmt.Errorf("the published checkpoint changed %d times meanwhile", publishTries)
}

// cosign adds cosignature lines to the published checkpoint. Where another front end does so meanwhile
// it begins again from that; where a checkpoint of another tree was published there is nothing to do.
func (t *tiles) cosign(ctx context.Context, cosigned []byte, lines [][]byte) error {
	text, _, _ := bytes.Cut(cosigned, []byte("\n\n"))
	for range publishTries {
		have, err := t.bucket.get(ctx, layout.CheckpointPath, maxRegister)
		if err != nil {
			return err
		}
		if now, _, _ := bytes.Cut(have.body, []byte("\n\n")); !bytes.Equal(now, text) {
			return nil
		}
		merged := store.AddCosignatures(have.body, lines...)
		if len(merged) == len(have.body) {
			return nil
		}
		if len(merged) > maxRegister {
			return fmt.Errorf("the published checkpoint with cosignatures has %d bytes: want at most %d", len(merged), maxRegister)
		}
		err = t.bucket.swap(ctx, layout.CheckpointPath, put{body: merged, ifMatch: have.etag, contentType: checkpointType})
		if !errors.Is(err, errPrecondition) {
			return err
		}
	}
	return fmt.Errorf("the published checkpoint changed %d times meanwhile", publishTries)
}

var _ store.Tiles = (*tiles)(nil)
