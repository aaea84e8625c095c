package attest

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/poclog/poclog/internal/dial"
)

// makerHosts are where clouds and makers of TPMs publish the certificates of their CAs. A
// certificate that nobody has verified yet names the address: without this list whoever wrote it,
// such as the host of a managed VM, would have the VM ask any server that it reaches.
var makerHosts = []*regexp.Regexp{
	// Google: Certificate Authority Service.
	regexp.MustCompile(`^privateca-content-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.storage\.googleapis\.com$`),
	// Microsoft: Azure's virtual TPMs.
	regexp.MustCompile(`^((primary|secondary)-cdn|azurevtpm[a-z]{0,16}\.[a-z0-9]{1,32})\.pki\.core\.windows\.net$`),
	regexp.MustCompile(`^(www|crl)\.microsoft\.com$`),
	// TPMs: AMD, Infineon, Intel, Nuvoton, STMicroelectronics.
	regexp.MustCompile(`^ftpm\.amd\.com$`),
	regexp.MustCompile(`^pki\.infineon\.com$`),
	regexp.MustCompile(`^(tsci|upgrades|trustedservices)\.intel\.com$`),
	regexp.MustCompile(`^www\.nuvoton\.com$`),
	regexp.MustCompile(`^(secure\.globalsign|sw-center\.st)\.com$`),
}

// parseIssuerURL refuses an address that is not a maker's: http or https on its usual port, a known
// host, a path, and nothing else.
func parseIssuerURL(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, errors.New("not an address of http or https")
	}
	if u.User != nil || strings.ContainsAny(address, "?#") {
		return nil, errors.New("it has a user or a query: no maker's has")
	}
	for _, h := range makerHosts {
		if h.MatchString(u.Host) {
			return u, nil
		}
	}
	return nil, errors.New("it is not fetched, for no maker of TPMs and no cloud is known to publish there: the certificate that names it is not verified yet")
}

// issuerClient makes requests to makers. Where the environment names a proxy, that is asked,
// wherever it is: it resolves names itself.
func issuerClient(ctx context.Context, u *url.URL) (*http.Client, error) {
	proxy, err := http.ProxyFromEnvironment((&http.Request{URL: u}).WithContext(ctx))
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: issuerTimeout, Control: dial.PublicOnly}
	if proxy != nil {
		dialer.Control = nil
	}
	return &http.Client{
		Timeout: issuerTimeout, CheckRedirect: refuseRedirect,
		Transport: &http.Transport{Proxy: http.ProxyURL(proxy), DialContext: dialer.DialContext, DisableKeepAlives: true},
	}, nil
}

func refuseRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
