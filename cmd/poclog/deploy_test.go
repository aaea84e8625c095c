package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/poclog/poclog/log/store/mysqls3"
)

// commandParses reports what a command line is refused for before anything runs: an unknown command
// or flag, or a number of arguments that it does not take.
func commandParses(args []string) error {
	c, rest, err := newRootCmd().Find(args)
	if err != nil {
		return err
	}
	if err := c.ParseFlags(rest); err != nil {
		return err
	}
	if err := c.ValidateArgs(c.Flags().Args()); err != nil {
		return err
	}
	return c.ValidateRequiredFlags()
}

func TestDeploymentsHaveCommandsThatParse(t *testing.T) {
	found := 0
	try := func(where string, args []string) {
		found++
		if err := commandParses(args); err != nil {
			t.Errorf("%s: poclog %s: %v", where, strings.Join(args, " "), err)
		}
	}
	units, err := filepath.Glob("../../deploy/systemd/*.service")
	if err != nil || len(units) != 5 {
		t.Fatalf("%d units, %v", len(units), err)
	}
	for _, unit := range units {
		text, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if args, ok := strings.CutPrefix(strings.TrimPrefix(strings.TrimSpace(line), "# "), "ExecStart=/usr/local/bin/poclog "); ok {
				try(unit, strings.Fields(args))
			}
		}
		for _, want := range []string{"NoNewPrivileges=yes", "ProtectSystem=strict", "CapabilityBoundingSet=\n", "User=poclog", "MemoryDenyWriteExecute=yes"} {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s: no %q", unit, want)
			}
		}
	}
	text, err := os.ReadFile("../../deploy/compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var compose struct {
		Services map[string]struct {
			Image   string
			Command []string
			Volumes []string
		}
		Volumes map[string]any
	}
	if err := yaml.Unmarshal(text, &compose); err != nil {
		t.Fatal(err)
	}
	for name, s := range compose.Services {
		if strings.HasPrefix(s.Image, "poclog:") {
			try(name, s.Command)
		}
		for _, v := range s.Volumes {
			if from, _, _ := strings.Cut(v, ":"); !strings.HasPrefix(from, ".") {
				if _, ok := compose.Volumes[from]; !ok {
					t.Errorf("%s: no volume %s", name, from)
				}
			}
		}
	}
	store, err := os.ReadFile("../../deploy/mysqls3.json")
	if err == nil {
		_, err = mysqls3.ParseConfig(store)
	}
	if err != nil {
		t.Error(err)
	}
	if found < 14 {
		t.Errorf("%d commands: too few to show anything", found)
	}
}
