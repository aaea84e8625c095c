// Package collateral keeps what manufacturers and providers publish to judge evidence: it asks
// them, verifies every answer, and keeps it on disk while it is valid.
//
// Nothing enters the cache that its issuer did not sign under the policy's roots, that is for
// another platform, not yet or no longer valid, or older than what was seen before: numbers and
// times of issue that were seen are kept durably, and never go back. A wrong answer changes
// nothing; what is kept stays in use until it expires, and not a second longer. Answers are asked
// for again while the old one is still valid, one request at a time for each, with growing and
// jittered waits where the issuer fails; a flood of questions about what is unavailable asks
// nobody.
//
// Whoever issues collateral is a [Source]: [Intel]'s PCS or a PCCS, [AMD]'s KDS, and [Google]'s
// launch endorsements. Files in the folder are not trusted either: they are verified when they are
// read, and ignored if they do not pass. The folder's list of what was seen is the exception: where
// it is damaged the cache does not open, for nobody could say what must not come back.
//
// It does not judge evidence, and asks no registry. TestLyingServers and
// TestLogSurvivesTheManufacturer (package log) are the evidence.
package collateral

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
)

// A Key names one piece of collateral.
type Key struct {
	Kind poclog.CollateralKind
	For  string // what it is for: FMSPC or MRTD in lower-case hexadecimal, "platform" or "processor", "vcek-milan"; empty where there is one for all
}

// String gives kind and For with a dot between: a file's name.
func (k Key) String() string {
	if k.For == "" {
		return string(k.Kind)
	}
	return string(k.Kind) + "." + k.For
}

var keyForm = regexp.MustCompile(`^[a-z0-9-]{1,40}(\.[a-z0-9-]{1,128})?$`)

// parseKey reads what String gives.
func parseKey(s string) (Key, error) {
	if !keyForm.MatchString(s) {
		return Key{}, fmt.Errorf("key %.80q: want a kind and what it is for", s)
	}
	kind, of, _ := strings.Cut(s, ".")
	return Key{poclog.CollateralKind(kind), of}, nil
}

// A Need is a piece of collateral that judges a bundle.
type Need struct {
	Key
	Chain []byte // PEM: certificates of the bundle that can sign it, for answers that come without any
}

// Facts is what an authenticated item says of itself.
type Facts struct {
	verify.Span
	Issuer string
	Number *big.Int // never falls; zero where there is none
}

// A Source is an issuer of collateral. Its methods may be called concurrently; all but Fetch are
// pure.
type Source interface {
	// Needs returns what this source has that judges a bundle, at most one of a kind, or nothing.
	// The bundle is not yet verified.
	Needs(b *poclog.Bundle) []Need
	// Has reports whether a key is one of this source's.
	Has(k Key) bool
	// Fetch asks for a key. It believes nothing: Open does. ErrNone says that the issuer answers
	// that there is none: not that something on the way is missing.
	Fetch(ctx context.Context, get Getter, r Request) (*poclog.CollateralItem, error)
	// Open authenticates an item: signed by its issuer under the policy's roots, for this key,
	// valid at a time.
	Open(k Key, it *poclog.CollateralItem, at time.Time) (*Facts, error)
}

// A Request is what to ask a source for.
type Request struct {
	Key
	// Early asks for what the issuer announced but does not yet give by default: the usual answer
	// is older than one seen.
	Early bool
}

// A Getter makes a bounded GET request. Statuses other than 200 are errors.
type Getter func(ctx context.Context, url string) (*Answer, error)

// An Answer is the issuer's.
type Answer struct {
	Header http.Header
	Body   []byte
}

// ErrNone says that the issuer answers that there is no such collateral.
var ErrNone = errors.New("the issuer has none")

// An UnavailableError says that collateral is unavailable now.
type UnavailableError struct {
	Key   Key
	After time.Duration // until it will be asked for again
	Err   error
}

func (e *UnavailableError) Error() string {
	return fmt.Sprintf("%s is unavailable now: %s", e.Key, e.Err)
}

func (e *UnavailableError) Unwrap() error { return e.Err }

// RetryAfter is how long it is of no use to ask again.
func (e *UnavailableError) RetryAfter() time.Duration { return e.After }

// A mark is how new something is.
type mark struct {
	number *big.Int
	issued time.Time
}

func (f *Facts) mark() mark {
	n := f.Number
	if n == nil {
		n = new(big.Int)
	}
	return mark{n, f.Issued.UTC()}
}

// before reports whether m is older: by number, then by the time of issue.
func (m mark) before(o mark) bool {
	if c := m.number.Cmp(o.number); c != 0 {
		return c < 0
	}
	return m.issued.Before(o.issued)
}
