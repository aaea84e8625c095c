package attest

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
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

// Whatever a maker's name resolves to, nothing inside of the machine's network is asked.
func TestNoInternalAddressIsConnectedTo(t *testing.T) {
	for _, address := range []string{
		"127.0.0.1:80", "[::1]:80", "10.1.2.3:80", "172.16.0.1:443", "192.168.1.1:80", "169.254.169.254:80", "[fe80::1]:80", "[fd00::1]:80", "0.0.0.0:80", "[::]:80",
		"224.0.0.1:80", "100.100.100.200:80", "255.255.255.255:80", "198.18.0.1:80", "192.0.0.192:80", "[::ffff:169.254.169.254]:80", "[64:ff9b::a9fe:a9fe]:80",
		"[2002:a9fe:a9fe::1]:80", "[fd00:ec2::254]:80", "pki.infineon.com:80",
	} {
		if err := publicOnly("tcp", address, nil); err == nil {
			t.Errorf("%s is connected to", address)
		}
	}
	for _, address := range []string{"8.8.8.8:80", "[2606:4700::1111]:443", "13.107.246.40:80"} {
		if err := publicOnly("tcp", address, nil); err != nil {
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
	if resp, err := c.Get(inside.URL); err == nil || !strings.Contains(err.Error(), "127.0.0.1 is not a public address") {
		t.Errorf("%v, %v", resp, err)
	}
	if c.CheckRedirect(nil, nil) != http.ErrUseLastResponse {
		t.Error("redirects are followed")
	}
}
