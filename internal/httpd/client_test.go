package httpd

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

func clientOf(t *testing.T, s *Server, peer string, headers ...string) string {
	t.Helper()
	r := &http.Request{RemoteAddr: peer, Header: http.Header{}}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	return s.client(r)
}

func TestLimitsCountNetworks(t *testing.T) {
	s := New(Config{})
	for peer, want := range map[string]string{
		"192.0.2.1:1234":                 "192.0.2.1",
		"[::ffff:192.0.2.1]:1":           "192.0.2.1",
		"[2001:db8:1:2:3:4:5:6]:443":     "2001:db8:1:2::/64",
		"[2001:db8:1:2:ffff::]:80":       "2001:db8:1:2::/64",
		"[fe80::1%eth0]:80":              "fe80::/64",
		"@":                              "@", // a Unix socket
		"":                               "",
		"proxy.example:80":               "proxy.example:80",
		"[2001:db8:1:3:3:4:5:6]:443":     "2001:db8:1:3::/64",
		"[2001:db8:1:2:3:4:5:6%x]:65535": "2001:db8:1:2::/64",
	} {
		if got := clientOf(t, s, peer); got != want {
			t.Errorf("%s: %s, want %s", peer, got, want)
		}
	}
}

func TestClientIsTheRightmostThatNoTrustedProxyIs(t *testing.T) {
	s := New(Config{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:ffff::/48")}})
	const proxy = "127.0.0.1:1000"
	for _, c := range []struct {
		name, peer string
		headers    []string
		want       string
	}{
		{"no header", proxy, nil, "127.0.0.1"},
		{"a stranger's word", "192.0.2.7:1", []string{"X-Forwarded-For: 192.0.2.1"}, "192.0.2.7"},
		{"one", proxy, []string{"X-Forwarded-For: 192.0.2.1"}, "192.0.2.1"},
		{"the client's own word before it", proxy, []string{"X-Forwarded-For: 203.0.113.9, 192.0.2.1"}, "192.0.2.1"},
		{"the client's own line before it", proxy, []string{"X-Forwarded-For: 203.0.113.9", "X-Forwarded-For: 192.0.2.1"}, "192.0.2.1"},
		{"two proxies", proxy, []string{"X-Forwarded-For: 203.0.113.9, 192.0.2.1, 10.1.2.3"}, "192.0.2.1"},
		{"only proxies", proxy, []string{"X-Forwarded-For: 10.1.2.3"}, "10.1.2.3"},
		{"with a port", proxy, []string{"X-Forwarded-For: 192.0.2.1:4711"}, "192.0.2.1"},
		{"IPv6", proxy, []string{"X-Forwarded-For: 2001:db8:1:2:3::4"}, "2001:db8:1:2::/64"},
		{"IPv6 with a port", proxy, []string{"X-Forwarded-For: [2001:db8:1:2:3::4]:80"}, "2001:db8:1:2::/64"},
		{"mapped IPv4", proxy, []string{"X-Forwarded-For: ::ffff:192.0.2.1"}, "192.0.2.1"},
		{"garbage", proxy, []string{"X-Forwarded-For: 192.0.2.1, unknown"}, "127.0.0.1"},
		{"empty", proxy, []string{"X-Forwarded-For: "}, "127.0.0.1"},
		{"Forwarded", proxy, []string{`Forwarded: for=203.0.113.9, for=192.0.2.1;proto=https;by=10.0.0.1`}, "192.0.2.1"},
		{"Forwarded, quoted", proxy, []string{`Forwarded: proto=https;For="[2001:db8:1:2:3::4]:4711"`}, "2001:db8:1:2::/64"},
		{"Forwarded, hidden", proxy, []string{`Forwarded: for=_secret`}, "127.0.0.1"},
		{"both agree", proxy, []string{"X-Forwarded-For: 192.0.2.1", "Forwarded: for=192.0.2.1"}, "192.0.2.1"},
		{"one is the client's own", proxy, []string{"X-Forwarded-For: 192.0.2.1", "Forwarded: for=203.0.113.9"}, "127.0.0.1"},
	} {
		if got := clientOf(t, s, c.peer, c.headers...); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestProxyThatIsNotTrustedIsWarnedOf(t *testing.T) {
	s := New(Config{})
	clientOf(t, s, "127.0.0.1:1")
	clientOf(t, s, "192.0.2.1:1", "X-Forwarded-For: 192.0.2.9")
	if w := s.Warnings(); len(w) != 0 {
		t.Errorf("%q", w)
	}
	if got := clientOf(t, s, "127.0.0.1:1", "X-Forwarded-For: 192.0.2.9"); got != "127.0.0.1" {
		t.Errorf("%s: nobody trusts that proxy", got)
	}
	if w := s.Warnings(); len(w) != 1 || !strings.Contains(w[0], "--trusted-proxy") {
		t.Errorf("%q", w)
	}
}

func TestTrustedProxiesAreAddressesOrPrefixes(t *testing.T) {
	for text, want := range map[string]string{"127.0.0.1": "127.0.0.1/32", "10.1.2.3/8": "10.0.0.0/8", "::1": "::1/128", "::ffff:10.0.0.1": "10.0.0.1/32", "proxy": "", "10.0.0.0/33": ""} {
		p, err := ParseProxy(text)
		if (err != nil) != (want == "") || err == nil && p.String() != want {
			t.Errorf("%s: %s, %v", text, p, err)
		}
	}
}

func FuzzForwarded(f *testing.F) {
	f.Add("192.0.2.1, 10.0.0.1", `for=192.0.2.1`)
	f.Add(",,[", `for="[";;for`)
	s := New(Config{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	f.Fuzz(func(t *testing.T, x, forwarded string) {
		if got := clientOf(t, s, "127.0.0.1:1", "X-Forwarded-For: "+x, "Forwarded: "+forwarded); got == "" {
			t.Error("no client")
		}
	})
}
