package collateral

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/poclog/poclog/internal/pause"
)

// A Patience says how long a caller waits for a server that is asked too often (429) or overloaded
// (503). The zero value does not wait.
type Patience struct {
	For  time.Duration                                    // in all, of one request; what asks for more is not waited for
	Told func(host string, wait time.Duration)            // hears of each wait before it begins; nil: nobody does
	Wait func(ctx context.Context, d time.Duration) error // nil is a timer
}

// firstWait is how long a server is left alone that does not say how long it wants to be; it
// doubles.
const firstWait = time.Second

// Do makes a request without body, and makes it again after the time for which the server asks
// (Retry-After). The last answer is returned whatever it is.
func (p *Patience) Do(c *http.Client, req *http.Request) (*http.Response, error) {
	left, unasked := p.For, firstWait
	for {
		resp, err := c.Do(req)
		if err != nil || (resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode != http.StatusServiceUnavailable) {
			return resp, err
		}
		wait := retryAfter(resp.Header.Get("Retry-After"), time.Now())
		if wait == 0 {
			wait, unasked = unasked, 2*unasked
		}
		if wait > left {
			return resp, nil
		}
		left -= wait
		_, _ = io.CopyN(io.Discard, resp.Body, maxHeader) // for the connection; whatever it says is not looked at
		resp.Body.Close()
		if p.Told != nil {
			p.Told(req.URL.Host, wait)
		}
		if err := p.wait(req.Context(), wait); err != nil {
			return nil, err
		}
	}
}

func (p *Patience) wait(ctx context.Context, d time.Duration) error {
	if p.Wait != nil {
		return p.Wait(ctx, d)
	}
	return pause.For(ctx, d)
}
