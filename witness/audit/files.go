package audit

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sync/singleflight"

	"github.com/poclog/poclog"
)

// maxShared bounds the files that are kept because many entries name them, in bytes.
const maxShared = 16 << 20

// files fetches evidence, and keeps what many entries share: policies and collateral.
type files struct {
	// fetch returns a file of the digest, and of the size where it is not 0: client.Client.Evidence.
	fetch func(ctx context.Context, blob poclog.Blob) ([]byte, error)

	once singleflight.Group
	mu   sync.Mutex // guards what follows
	kept map[poclog.Blob][]byte
	age  []poclog.Blob // of kept, oldest first
	size int           // of kept, in bytes
}

func newFiles(fetch func(context.Context, poclog.Blob) ([]byte, error)) *files {
	return &files{fetch: fetch, kept: make(map[poclog.Blob][]byte)}
}

func (f *files) get(ctx context.Context, blob poclog.Blob) ([]byte, error) { return f.fetch(ctx, blob) }

// getShared fetches a file once for all who want it. Nobody may write into it.
func (f *files) getShared(ctx context.Context, blob poclog.Blob) ([]byte, error) {
	f.mu.Lock()
	b, ok := f.kept[blob]
	f.mu.Unlock()
	if ok {
		return b, nil
	}
	v, err, _ := f.once.Do(fmt.Sprint(blob), func() (any, error) {
		b, err := f.fetch(ctx, blob)
		if err == nil {
			f.keep(blob, b)
		}
		return b, err
	})
	if err != nil {
		return nil, err
	}
	return v.([]byte), nil
}

func (f *files) keep(blob poclog.Blob, b []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.kept[blob]; ok {
		return
	}
	f.kept[blob], f.age, f.size = b, append(f.age, blob), f.size+len(b)
	for f.size > maxShared && len(f.age) > 1 {
		oldest := f.age[0]
		f.size -= len(f.kept[oldest])
		delete(f.kept, oldest)
		f.age = f.age[1:]
	}
}
