package dial

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"
)

func TestIsPublic(t *testing.T) {
	for address, want := range map[string]bool{
		"8.8.8.8": true, "2606:4700::1111": true, "::ffff:8.8.8.8": true, "172.15.0.1": true,
		"127.0.0.1": false, "127.8.8.8": false, "::1": false, "::ffff:127.0.0.1": false, "0.0.0.0": false, "::": false, "0.1.2.3": false,
		"10.0.0.1": false, "172.16.0.1": false, "192.168.1.1": false, "fd00::1": false, "169.254.169.254": false, "fe80::1": false, "fe80::1%eth0": false,
		"100.64.0.1": false, "192.0.0.8": false, "198.18.0.1": false, "255.255.255.255": false, "224.0.0.1": false, "ff02::1": false,
		"64:ff9b::a9fe:a9fe": false, "64:ff9b:1::1": false, "2001::1": false, "2002:7f00:1::": false,
	} {
		if got := IsPublic(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: %v, want %v", address, got, want)
		}
	}
}

func TestNamesAreRefusedByWhatTheyResolveTo(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"127.0.0.1", "localhost"} {
		d := net.Dialer{Timeout: time.Minute, Control: PublicOnly}
		c, err := d.Dial("tcp", net.JoinHostPort(host, port))
		if err == nil {
			c.Close()
		}
		if !errors.Is(err, ErrNotPublic) {
			t.Errorf("%s: %v", host, err)
		}
	}
}

func TestPublicOnly(t *testing.T) {
	for _, address := range []string{
		"127.0.0.1:80", "[::1]:80", "10.1.2.3:80", "172.16.0.1:443", "192.168.1.1:80", "169.254.169.254:80", "[fe80::1]:80", "[fd00::1]:80", "0.0.0.0:80", "[::]:80",
		"224.0.0.1:80", "100.100.100.200:80", "255.255.255.255:80", "198.18.0.1:80", "192.0.0.192:80", "[::ffff:169.254.169.254]:80", "[64:ff9b::a9fe:a9fe]:80",
		"[2002:a9fe:a9fe::1]:80", "[fd00:ec2::254]:80", "pki.infineon.com:80",
	} {
		if err := PublicOnly("tcp", address, nil); err == nil {
			t.Errorf("%s is connected to", address)
		}
	}
	for _, address := range []string{"8.8.8.8:80", "[2606:4700::1111]:443", "13.107.246.40:80"} {
		if err := PublicOnly("tcp", address, nil); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
}
