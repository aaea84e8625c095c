package main

import (
	"testing"

	"github.com/spf13/pflag"

	"github.com/poclog/poclog/internal/httpd"
)

func TestLimitsThatAreNoneAreRefused(t *testing.T) {
	for _, c := range []struct {
		args []string
		ok   bool
	}{
		{nil, true},
		{[]string{"--trusted-proxy", "127.0.0.1", "--trusted-proxy", "2001:db8::/32"}, true},
		{[]string{"--trusted-proxy", "proxy.example"}, false},
		{[]string{"--trusted-proxy", ""}, false},
		{[]string{"--memory", "1024"}, true},
		{[]string{"--memory", "127"}, false},
		{[]string{"--memory", "-1"}, false},
		{[]string{"--memory", "1GiB"}, false},
		{[]string{"--connections", "0"}, false},
		{[]string{"--reads", "-1"}, false},
		{[]string{"--writes", "0"}, false},
		{[]string{"--waiting", "0"}, false},
		{[]string{"--least-rate", "0"}, false},
	} {
		t.Setenv("GOMEMLIMIT", "off") // this process keeps its own
		f, cfg := pflag.NewFlagSet("test", pflag.ContinueOnError), httpd.Config{}
		registerHTTP(f, &cfg)
		err := f.Parse(c.args)
		if err == nil {
			err = limitHTTP(&cfg)
		}
		if (err == nil) != c.ok {
			t.Errorf("%q: %v", c.args, err)
		}
	}
}
