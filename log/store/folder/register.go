package folder

import (
	"context"
	"os"
	"sync"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/durable"
	"github.com/poclog/poclog/log/store"
)

// A Register is a file. It implements store.Register.
type Register struct {
	Path  string
	Files durable.FS

	mu sync.Mutex // held while swapping
}

// Name names the file.
func (r *Register) Name() string { return "guard file " + r.Path }

// Create makes the file.
func (r *Register) Create(_ context.Context, text []byte) error {
	return r.Files.Create(r.Path, text, 0o644)
}

// Load reads the file.
func (r *Register) Load(context.Context) (text []byte, version string, err error) {
	if text, err = os.ReadFile(r.Path); err != nil {
		return nil, "", err
	}
	return text, poclog.Sum(text).String(), nil
}

// Swap replaces the file. Other processes are kept out by the folder's locks.
func (r *Register) Swap(ctx context.Context, version string, text []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, have, err := r.Load(ctx)
	if err != nil {
		return err
	}
	if have != version && have != poclog.Sum(text).String() {
		return store.ErrChanged
	}
	return r.Files.Replace(r.Path, text, 0o644)
}
