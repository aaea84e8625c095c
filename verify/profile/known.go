package profile

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"slices"
	"sync"
	"time"

	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/chain"
)

// maxKnown is how many results a Known keeps, each of a few kilobytes: when it is full, it forgets
// all.
const maxKnown = 4096

// Known remembers what appraisals verified that does not depend on one quote: certificate chains,
// collateral, endorsements, policies. A platform that proves again then costs the two signatures of
// its quote and those of its TPM. Results are remembered by all that they depend on, with the time
// span in which they hold, so that an appraisal with a Known and one without give the same. It may
// be used concurrently.
type Known struct {
	mu sync.Mutex // guards m
	m  map[[32]byte]known
}

// known is a result that holds for a time.
type known struct {
	verify.Span
	value any
}

// NewKnown returns one that remembers nothing.
func NewKnown() *Known { return &Known{m: make(map[[32]byte]known)} }

// get returns a result that holds at a time. A nil Known has none.
func (k *Known) get(key [32]byte, at time.Time) (any, bool) {
	if k == nil {
		return nil, false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	r, ok := k.m[key]
	if !ok || !r.Has(at) {
		return nil, false
	}
	return r.value, true
}

// put remembers a result that holds at a time.
func (k *Known) put(key [32]byte, r known, at time.Time) {
	if k == nil || !r.Has(at) {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.m) >= maxKnown {
		clear(k.m)
	}
	k.m[key] = r
}

// keyOf names a result by its kind and all that it depends on: parts, and the roots that may judge.
func keyOf(kind string, roots map[[32]byte]bool, parts ...[]byte) [32]byte {
	h := sha256.New()
	write := func(b []byte) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(b)))
		h.Write(n[:])
		h.Write(b)
	}
	write([]byte(kind))
	var digests [][]byte
	for d := range roots {
		digests = append(digests, d[:])
	}
	slices.SortFunc(digests, slices.Compare)
	for _, d := range digests {
		write(d)
	}
	write(nil)
	for _, p := range parts {
		write(p)
	}
	return [32]byte(h.Sum(nil))
}

// always is a result that does not depend on time.
func always(value any) known {
	return known{Span: verify.Span{Until: time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)}, value: value}
}

// validity is a result that holds while all certificates are valid.
func validity(certs ...*x509.Certificate) known { return known{Span: chain.Validity(certs...)} }

// Genuine judges a bundle as [Known.Appraise] does, and passes it at any level, historical or not,
// of a profile that the policy admits at all. It says whether the evidence is genuine before all
// that judges it is at hand. Its entry is for no log.
func (k *Known) Genuine(in Input) (*verify.Appraisal, error) {
	in.Known = k
	return genuine(in)
}

// Appraise is [Appraise] with what is known: for judges of many bundles.
func (k *Known) Appraise(in Input) (*verify.Appraisal, error) {
	in.Known = k
	return Appraise(in)
}
