package attest

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/poclog/poclog/internal/dial"
)

// Addresses that real certificates name, of clouds and of TPMs.
func TestMakersAddressesAreKnown(t *testing.T) {
	for _, address := range []string{
		"http://primary-cdn.pki.core.windows.net/westus3/cacerts/azurevtpmicapki/azurevtpmicausw3/cert.cer",
		"http://secondary-cdn.pki.core.windows.net/westus3/cacerts/azurevtpmicapki/azurevtpmicausw3/cert.cer",
		"http://crl.microsoft.com/westus3/cacerts/azurevtpmicapki/azurevtpmicausw3/cert.cer",
		"http://azurevtpmicapki.westus3.pki.core.windows.net/certificateAuthorities/azurevtpmicausw3",
		"http://azurevtpmpki.eastus2.pki.core.windows.net/certificateAuthorities/azurevtpmpolicycaeus2",
		"http://www.microsoft.com/pkiops/certs/Azure%20Virtual%20TPM%20Root%20Certificate%20Authority%202023.crt",
		"http://privateca-content-633beb94-0000-25c1-a9d7-001a114ba6e8.storage.googleapis.com/c59a22589ab43a57e3a4/ca.crt",
		"https://ftpm.amd.com/pki/aia/9DE34E7EF9C15FA479A9F398BC865D60",
		"https://pki.infineon.com/OptigaRsaMfrCA003/OptigaRsaMfrCA003.crt",
		"https://tsci.intel.com/content/OnDieCA/certs/OnDie_CA_RootCA_Certificate.cer",
		"https://www.nuvoton.com/security/NTC-TPM-EK-Cert/NuvotonTPMRootCA2211.cer",
		"https://secure.globalsign.com/cacert/stmtpmekroot.crt",
		"https://sw-center.st.com/STSAFE/STSAFEEccRootCA02.crt",
	} {
		if u, err := parseIssuerURL(address); err != nil || u.String() != address {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// The client that asks makers is one that refuses, and follows no redirect.
func TestTheIssuersClientIsHeldToPublicAddresses(t *testing.T) {
	inside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a server inside was asked") }))
	defer inside.Close()
	u, err := url.Parse(inside.URL)
	if err != nil {
		t.Fatal(err)
	}
	c, err := issuerClient(t.Context(), u)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := c.Get(inside.URL); err == nil || !errors.Is(err, dial.ErrNotPublic) {
		t.Errorf("%v, %v", resp, err)
	}
	if c.CheckRedirect(nil, nil) != http.ErrUseLastResponse {
		t.Error("redirects are followed")
	}
}
