package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// completions are what the shell is offered behind some words.
func completions(t *testing.T, words ...string) string {
	t.Helper()
	root := newRootCmd()
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&bytes.Buffer{})
	root.SetArgs(append([]string{cobra.ShellCompNoDescRequestCmd}, words...))
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// Every flag that takes one of a closed list offers it, in every command.
func TestFlagsWithAClosedListComplete(t *testing.T) {
	lists, seen := closedLists(), map[string]int{}
	var look func(c *cobra.Command)
	look = func(c *cobra.Command) {
		c.Flags().VisitAll(func(f *pflag.Flag) {
			values, ok := valuesOf(lists, c, f)
			if !ok {
				return
			}
			seen[f.Name]++
			got := completions(t, append(strings.Fields(c.CommandPath())[1:], "--"+f.Name, "")...)
			for _, v := range values {
				if !strings.Contains(got, v+"\n") {
					t.Errorf("%s --%s does not offer %s: %q", c.CommandPath(), f.Name, v, got)
				}
			}
		})
		for _, sub := range c.Commands() {
			look(sub)
		}
	}
	look(newRootCmd())
	for name, values := range lists {
		if seen[name] == 0 || len(values) < 2 {
			t.Errorf("--%s: %d commands have it, %d values", name, seen[name], len(values))
		}
	}
	if got := completions(t, "verify", "--require", "tee.tcb,"); !strings.Contains(got, "tee.tcb,place.registry\n") {
		t.Errorf("behind a comma: %q", got)
	}
	if got := completions(t, "explain", ""); !strings.Contains(got, "place.registry\n") {
		t.Errorf("explain: %q", got)
	}
}

func TestSlipsAreAnswered(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"verfy"}, "did you mean verify?"},
		{[]string{"log", "server"}, "did you mean serve?"},
		{[]string{"verify", "--requires", "x"}, "did you mean --require?"},
		{[]string{"policy", "zzzzzz"}, "hint: poclog policy --help lists the commands"},
	} {
		if status, stderr := invoke(t, c.args...); status != exitUsage || !strings.Contains(stderr, c.want) {
			t.Errorf("%q: status %d, %q: want %q", c.args, status, stderr, c.want)
		}
	}
}
