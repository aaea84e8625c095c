package collateral

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// Bounds of a request.
const (
	maxAnswer      = 1 << 19 // bytes of a body
	maxHeader      = 1 << 16 // bytes of headers: issuer chains come in them
	requestTimeout = 10 * time.Second
)

// A statusError is an answer that is none.
type statusError struct {
	url    string
	status int
	after  time.Duration // Retry-After; 0: none
}

func (e *statusError) Error() string {
	if e.after > 0 {
		return fmt.Sprintf("%s: status %d, asks to wait %s", e.url, e.status, e.after)
	}
	return fmt.Sprintf("%s: status %d", e.url, e.status)
}

// httpClient follows no redirect: what is asked for is at the address that the operator named.
func httpClient(c *http.Client) *http.Client {
	h := new(http.Client)
	if c != nil {
		*h = *c
	}
	if t, ok := http.DefaultTransport.(*http.Transport); ok && h.Transport == nil {
		t = t.Clone()
		t.MaxResponseHeaderBytes = maxHeader
		h.Transport = t
	}
	h.Timeout = requestTimeout
	h.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return h
}

// get is a [Getter].
func (c *Cache) get(ctx context.Context, url string) (*Answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", c.cfg.UserAgent)
	resp, err := c.cfg.Patience.Do(c.http, req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, &statusError{url, resp.StatusCode, retryAfter(resp.Header.Get("Retry-After"), c.cfg.Now())}
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", url, err)
	}
	if len(body) > maxAnswer {
		return nil, fmt.Errorf("%s: over %d bytes", url, maxAnswer)
	}
	return &Answer{Header: resp.Header, Body: body}, nil
}

// orNone makes a 404 the issuer's word that there is none. It is for the object that was asked for
// alone, and only where the issuer need not have one: what is missing on the way to it is a
// failure.
func orNone(err error) error {
	if s, ok := errors.AsType[*statusError](err); ok && s.status == http.StatusNotFound {
		return fmt.Errorf("%w: %w", s, ErrNone)
	}
	return err
}

// retryAfter reads a header of seconds or a date.
func retryAfter(value string, now time.Time) time.Duration {
	if n, err := strconv.Atoi(value); err == nil && n > 0 {
		return time.Duration(min(n, int(maxBackoff/time.Second))) * time.Second
	}
	if t, err := http.ParseTime(value); err == nil && t.After(now) {
		return min(t.Sub(now), maxBackoff)
	}
	return 0
}

// Bounds of the wait after a failure.
const (
	minBackoff = 30 * time.Second
	maxBackoff = time.Hour
	// noneFor is how long an issuer's word that there is none stands.
	noneFor = 10 * time.Minute
)

// backoff is how long nobody is asked after failures in a row: it doubles, between half of it and
// the whole by chance, and is not less than the issuer asks for.
func (c *Cache) backoff(failures int, err error) time.Duration {
	d := c.cfg.Backoff
	for i := 1; i < failures && d < maxBackoff; i++ {
		d *= 2
	}
	d = min(d, maxBackoff)
	d = d/2 + time.Duration(c.cfg.Rand()*float64(d/2))
	if s, ok := errors.AsType[*statusError](err); ok {
		d = max(d, s.after)
	}
	return d
}
