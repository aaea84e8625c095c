package mysqls3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"time"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/poclog/poclog"
)

// Bounds of what evidence remembers.
const (
	maxDurable = 1 << 14 // digests
	trusted    = time.Minute
	maxPuts    = s3Idle // at a time: each has a connection, which stays open for the next
)

const evidenceType = "application/json"

// evidence keeps files as objects under their digest. What was seen a minute ago is not looked for
// again: nobody but an operator removes an object.
type evidence struct {
	bucket *bucket
	fast   *fastPut
	puts   chan struct{} // has an element for each that is under way

	mu   sync.Mutex // guards what follows
	seen map[poclog.Digest]time.Time
}

func newEvidence(b *bucket) *evidence {
	return &evidence{bucket: b, fast: &fastPut{signer: v4.NewSigner()}, puts: make(chan struct{}, maxPuts)}
}

func evidenceName(d poclog.Digest) string {
	name := d.String()
	return "evidence/sha256/" + name[:2] + "/" + name
}

func (e *evidence) known(d poclog.Digest) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	at, ok := e.seen[d]
	return ok && time.Since(at) < trusted
}

func (e *evidence) note(d poclog.Digest, there bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !there {
		delete(e.seen, d)
		return
	}
	if e.seen == nil || len(e.seen) >= maxDurable {
		e.seen = make(map[poclog.Digest]time.Time)
	}
	e.seen[d] = time.Now()
}

// Put keeps a file. An object that is there with other bytes is damaged, and is replaced.
func (e *evidence) Put(ctx context.Context, b []byte) (poclog.Blob, error) {
	blob := poclog.BlobOf(b)
	if e.known(blob.SHA256) {
		return blob, nil
	}
	select {
	case e.puts <- struct{}{}:
		defer func() { <-e.puts }()
	case <-ctx.Done():
		return blob, fmt.Errorf("keep evidence: %w", ctx.Err())
	}
	name := evidenceName(blob.SHA256)
	if !e.fast.try(ctx, e.bucket, name, b, blob.SHA256, evidenceType) {
		err := e.bucket.putNew(ctx, name, put{body: b, contentType: evidenceType})
		if errors.Is(err, fs.ErrExist) {
			err = e.bucket.put(ctx, name, put{body: b, contentType: evidenceType})
		}
		if err != nil {
			return blob, fmt.Errorf("keep evidence: %w", err)
		}
	}
	e.note(blob.SHA256, true)
	return blob, nil
}

// Has reports whether an object is there with its length.
func (e *evidence) Has(ctx context.Context, b poclog.Blob) (bool, error) {
	if e.known(b.SHA256) {
		return true, nil
	}
	size, err := e.bucket.size(ctx, evidenceName(b.SHA256))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return size == int64(b.Size), nil
}

// Get reads an object and checks its digest.
func (e *evidence) Get(ctx context.Context, d poclog.Digest) ([]byte, error) {
	o, err := e.bucket.get(ctx, evidenceName(d), maxObject)
	if err == nil && poclog.Sum(o.body) != d {
		err = fmt.Errorf("the object has digest %s", poclog.Sum(o.body))
	}
	if err != nil {
		e.note(d, false)
		return nil, fmt.Errorf("evidence %s: %w", d, err)
	}
	return o.body, nil
}

// Open reads an object into memory: its digest is checked before the first byte is passed on.
func (e *evidence) Open(ctx context.Context, d poclog.Digest) (io.ReadCloser, int64, error) {
	b, err := e.Get(ctx, d)
	if err != nil {
		return nil, 0, err
	}
	return io.NopCloser(bytes.NewReader(b)), int64(len(b)), nil
}
