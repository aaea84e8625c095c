package client

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/poclog/poclog/internal/dial"
)

const maxRedirects = 3

var errRedirect = errors.New("redirect refused")

// followRedirects lets static files move, but neither to another scheme (https alone may replace
// http) nor for long.
func followRedirects(req *http.Request, via []*http.Request) error {
	from := via[len(via)-1].URL.Scheme
	if req.URL.Scheme != from && req.URL.Scheme != "https" {
		return fmt.Errorf("%w: from %s to %s", errRedirect, from, req.URL.Scheme)
	}
	if len(via) > maxRedirects {
		return fmt.Errorf("%w: more than %d", errRedirect, maxRedirects)
	}
	return nil
}

// refuseRedirects keeps evidence from being posted to where its publisher did not send it.
func refuseRedirects(req *http.Request, _ []*http.Request) error {
	return fmt.Errorf("%w: the log sends submissions to %.200s; submit there if you trust it", errRedirect, req.URL.Redacted())
}

// A redirectGuard makes the requests of a client. What the caller named it asks, wherever it is; a
// redirect, which the log chose, leads to public addresses alone, so that no log has this machine
// ask its neighbours. Where the caller named an address of a private network, and no name whose
// owner could let it lead elsewhere, the log may redirect to that address, too.
type redirectGuard struct {
	asked  http.RoundTripper
	public *http.Transport // of redirects; nil if the caller's transport cannot be told where not to connect
	own    string          // host and port that redirects may lead to, or ""
}

func guardRedirects(t http.RoundTripper, log *url.URL) *redirectGuard {
	g := &redirectGuard{asked: t}
	if t, ok := t.(*http.Transport); ok {
		g.public = t.Clone()
		g.public.DialContext = (&net.Dialer{Timeout: 30 * time.Second, Control: dial.PublicOnly}).DialContext
		g.public.DialTLSContext = nil
	}
	if _, err := netip.ParseAddr(log.Hostname()); err == nil || log.Hostname() == "localhost" {
		g.own = log.Host
	}
	return g
}

// RoundTrip implements [http.RoundTripper].
func (g *redirectGuard) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Response == nil || g.own != "" && r.URL.Host == g.own {
		return g.asked.RoundTrip(r) // no redirect caused it, or none that leads away
	}
	if g.public == nil {
		return nil, fmt.Errorf("%w: to %.200s: the client's transport does not say where it connects to", errRedirect, r.URL.Host)
	}
	if proxy, err := g.proxy(r); err != nil {
		return nil, err
	} else if proxy {
		return g.asked.RoundTrip(r)
	}
	resp, err := g.public.RoundTrip(r)
	if errors.Is(err, dial.ErrNotPublic) {
		return nil, fmt.Errorf("%w: the log sends to %.200s: %w; name that address yourself if you trust it", errRedirect, r.URL.Host, err)
	}
	return resp, err
}

// proxy reports whether a proxy is asked, which connects and resolves names by itself. Addresses it
// is not trusted with.
func (g *redirectGuard) proxy(r *http.Request) (bool, error) {
	if g.public.Proxy == nil {
		return false, nil
	}
	u, err := g.public.Proxy(r)
	if u == nil || err != nil {
		return false, err
	}
	if ip, err := netip.ParseAddr(r.URL.Hostname()); err == nil && !dial.IsPublic(ip) {
		return false, fmt.Errorf("%w: the log sends to %s, which %w", errRedirect, ip, dial.ErrNotPublic)
	}
	return true, nil
}
