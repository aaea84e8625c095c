package client_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/poclog/poclog/client"
	"github.com/poclog/poclog/internal/testlog"
)

// A log can be anybody's: it must not have whoever follows it ask the neighbours of that machine.
func TestNoLogHasItsClientAskPrivateAddresses(t *testing.T) {
	var asked atomic.Int32
	l := logOf("a", 3)
	tiles := new(testlog.Server)
	tiles.Set(l, signed(l), nil)
	neighbour := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		tiles.ServeHTTP(w, r)
	}))
	defer neighbour.Close()
	at, err := url.Parse(neighbour.URL)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ desc, log, to string }{
		{"another port of this machine", "127.0.0.1", neighbour.URL},
		{"by a name", "127.0.0.1", "http://localhost:" + at.Port()},
		{"by an address in an address", "127.0.0.1", "http://[::ffff:127.0.0.1]:" + at.Port()},
		{"from localhost", "localhost", neighbour.URL},
	} {
		hostile := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, c.to+r.URL.Path, http.StatusFound)
		}))
		log := strings.Replace(hostile.URL, "127.0.0.1", c.log, 1)
		_, err := newClient(t, log, nil).Checkpoint(t.Context())
		if err == nil || client.Temporary(err) || !strings.Contains(err.Error(), "redirect refused") || !strings.Contains(err.Error(), "not a public address") {
			t.Errorf("%s: %v", c.desc, err)
		}
		_, err = newClientOver(t, log, instrumented{}).Checkpoint(t.Context())
		if err == nil || client.Temporary(err) || !strings.Contains(err.Error(), "redirect refused") {
			t.Errorf("%s, over another transport: %v", c.desc, err)
		}
		hostile.Close()
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("the neighbour was asked %d times", n)
	}
	if _, err := newClient(t, neighbour.URL, nil).Checkpoint(t.Context()); err != nil {
		t.Errorf("a log on this machine that the operator named: %v", err)
	}
}

// Where a proxy connects, addresses are still refused.
func TestNoLogHasAProxyAskPrivateAddresses(t *testing.T) {
	var asked []string
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Host)
		http.Redirect(w, r, "http://169.254.169.254/latest/meta-data", http.StatusFound)
	}))
	defer proxy.Close()
	at, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	c := newClientOver(t, "http://log.test", &http.Transport{Proxy: http.ProxyURL(at)})
	if _, err := c.Checkpoint(t.Context()); err == nil || !strings.Contains(err.Error(), "not a public address") || len(asked) != 1 {
		t.Errorf("%v, asked %v", err, asked)
	}
}

// instrumented is a transport of the caller's own.
type instrumented struct{}

func (instrumented) RoundTrip(r *http.Request) (*http.Response, error) {
	return http.DefaultTransport.RoundTrip(r)
}

func newClientOver(t *testing.T, url string, transport http.RoundTripper) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{URL: url, Policy: policy(t), HTTP: &http.Client{Transport: transport}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}
