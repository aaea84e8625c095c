package mysqls3

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/poclog/poclog/log/store"
)

// registerTimeout is how long a guard is waited for: a signature is made in it, or not at all.
const registerTimeout = 10 * time.Second

// guardName is the key of the guard's object.
const guardName = "guard"

// register is an object that is replaced by compare-and-swap.
type register struct{ bucket *bucket }

// Name names the object.
func (r *register) Name() string { return "guard object " + r.bucket.String() + guardName }

// Create makes the object.
func (r *register) Create(ctx context.Context, text []byte) error {
	ctx, cancel := context.WithTimeout(ctx, registerTimeout)
	defer cancel()
	// An object that is there belongs to a log, whatever it says.
	return r.bucket.create(ctx, guardName, text)
}

// Load reads the object.
func (r *register) Load(ctx context.Context) (text []byte, version string, err error) {
	ctx, cancel := context.WithTimeout(ctx, registerTimeout)
	defer cancel()
	o, err := r.bucket.get(ctx, guardName, maxRegister)
	if err != nil {
		return nil, "", err
	}
	if o.etag == "" {
		return nil, "", fmt.Errorf("%s has no ETag", r.Name())
	}
	return o.body, o.etag, nil
}

// Swap replaces the object, with If-Match.
func (r *register) Swap(ctx context.Context, version string, text []byte) error {
	ctx, cancel := context.WithTimeout(ctx, registerTimeout)
	defer cancel()
	err := r.bucket.swap(ctx, guardName, put{body: text, ifMatch: version, contentType: checkpointType})
	if errors.Is(err, errPrecondition) {
		return store.ErrChanged
	}
	return err
}
