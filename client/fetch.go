package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// errTooLong says that an answer was cut off.
var errTooLong = errors.New("the answer is too long")

const firstWait = 500 * time.Millisecond

// A call is one request, which may be repeated: all that the client asks for can be asked twice.
type call struct {
	method, path, contentType string
	body                      []byte
	max                       int // bytes of the answer
}

// get fetches a path of at most max bytes.
func (c *Client) get(ctx context.Context, path string, max int) ([]byte, error) {
	b, _, err := c.do(ctx, call{method: http.MethodGet, path: path, max: max})
	return b, err
}

// do makes a call until the log answers other than with overload, and returns body and status of an
// answer in the 200s. Any other answer is a [*Problem].
func (c *Client) do(ctx context.Context, in call) (body []byte, status int, err error) {
	pause := firstWait
	for attempt := 1; ; attempt++ {
		body, status, err = c.once(ctx, in)
		if err == nil || !Temporary(err) || attempt >= c.Attempts || ctx.Err() != nil {
			return body, status, err
		}
		after := min(max(pause, asked(err)), c.MaxWait)
		if c.Again != nil {
			c.Again(err, after)
		}
		if werr := c.Wait(ctx, after); werr != nil {
			return nil, 0, errors.Join(werr, err)
		}
		pause *= 2
	}
}

// A transportError is a request that got no whole answer.
type transportError struct{ err error }

func (e *transportError) Error() string { return e.err.Error() }
func (e *transportError) Unwrap() error { return e.err }

// Temporary reports whether a failed request may succeed later: the log was out of reach,
// overloaded or failing.
func Temporary(err error) bool {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p.Temporary()
	}
	var t *transportError
	var cert *tls.CertificateVerificationError
	return errors.As(err, &t) && !errors.Is(err, errRedirect) && !errors.As(err, &cert)
}

// asked returns how long the log asked to wait.
func asked(err error) time.Duration {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p.RetryAfter
	}
	return 0
}

// ask makes a request, and gives its answer as it is.
func (c *Client) ask(ctx context.Context, in call) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, in.method, c.base+in.path, bytes.NewReader(in.body))
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", in.method, in.path, err)
	}
	req.Header.Set("User-Agent", c.UserAgent)
	h := c.getter
	if in.method == http.MethodPost {
		req.Header.Set("Content-Type", in.contentType)
		h = c.poster
	}
	resp, err := h.Do(req)
	if err != nil {
		return nil, &transportError{fmt.Errorf("ask the log: %w", err)}
	}
	return resp, nil
}

func (c *Client) once(ctx context.Context, in call) ([]byte, int, error) {
	resp, err := c.ask(ctx, in)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return nil, resp.StatusCode, readProblem(in, resp)
	}
	body, err := c.readAll(resp, in.max)
	if err != nil {
		return nil, 0, &transportError{fmt.Errorf("%s %s: %w", in.method, in.path, err)}
	}
	if len(body) > in.max {
		return nil, 0, fmt.Errorf("%s %s: %w: over %d bytes", in.method, in.path, errTooLong, in.max)
	}
	return body, resp.StatusCode, nil
}

// retryAfter reads a Retry-After header (RFC 9110 §10.2.3) in seconds; a date would need a clock
// that agrees with the log's.
func retryAfter(h http.Header) time.Duration {
	n, err := strconv.ParseUint(h.Get("Retry-After"), 10, 20)
	if err != nil {
		return 0
	}
	return time.Duration(n) * time.Second
}

// readAll reads an answer of at most limit bytes, and one more if it is longer. A log that says how
// long it is saves growing into it.
func (c *Client) readAll(resp *http.Response, limit int) ([]byte, error) {
	b := bytes.NewBuffer(c.room(int(max(0, min(resp.ContentLength, int64(limit)))) + bytes.MinRead))
	_, err := b.ReadFrom(io.LimitReader(resp.Body, int64(limit)+1))
	return b.Bytes(), err
}

// room is memory for an answer of n bytes. A long one may get that of a bundle that was released:
// to clear new memory for each takes as long as to copy the answer.
func (c *Client) room(n int) []byte {
	if n >= 1<<16 {
		if old, _ := c.released.Get().(*[]byte); old != nil && cap(*old) >= n {
			return (*old)[:0]
		}
	}
	return make([]byte, 0, n)
}
