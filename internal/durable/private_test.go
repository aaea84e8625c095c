//go:build unix

package durable_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/poclog/poclog/internal/durable"
)

// stranger is another user.
const stranger = 54321

func TestFoldersOfOthersAreNotPrivate(t *testing.T) {
	base := t.TempDir()
	folder := func(name string, mode os.FileMode) string {
		p := filepath.Join(base, name)
		if err := os.MkdirAll(p, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(p, mode); err != nil {
			t.Fatal(err)
		}
		return p
	}
	link := func(name, to string) string {
		p := filepath.Join(base, name)
		if err := os.Symlink(to, p); err != nil {
			t.Fatal(err)
		}
		return p
	}
	good := map[string]string{
		"ours":                     folder("ours", 0o755),
		"ours alone":               folder("alone", 0o700),
		"below a sticky one":       func() string { folder("tmp", 0o777|os.ModeSticky); return folder("tmp/below", 0o755) }(),
		"a link to ours":           link("good", "ours/../alone/./"),
		"an absolute link to ours": link("absolute", filepath.Join(base, "ours")),
		"the root":                 "/",
	}
	bad := map[string]string{
		"the group's":            folder("group", 0o775),
		"everybody's":            folder("all", 0o757),
		"a sticky one":           filepath.Join(base, "tmp"),
		"below everybody's":      folder("all/below", 0o755),
		"a link to the group's":  link("bad", "group"),
		"a link below all":       link("all/link", "../ours"),
		"a link to itself":       link("loop", "loop"),
		"nothing":                filepath.Join(base, "none"),
		"a file":                 filepath.Join(base, "file"),
		"below a file":           filepath.Join(base, "file/x"),
		"through a link to all":  link("through", "all/../all/below"),
		"a link to a sticky one": link("sticky", "tmp"),
	}
	if err := os.WriteFile(filepath.Join(base, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		own := func(p string) string {
			if err := os.Lchown(p, stranger, stranger); err != nil {
				t.Fatal(err)
			}
			return p
		}
		bad["another's"] = own(folder("another", 0o755))
		bad["below another's"] = folder("another/below", 0o755)
		bad["another's link to ours"] = own(link("tmp/link", "../ours"))
		bad["another's below a sticky one"] = own(folder("tmp/another", 0o755))
	} else {
		t.Log("not root: folders of other users are not tried")
	}
	for name, dir := range good {
		if err := durable.CheckPrivate(dir); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, dir := range bad {
		if err := durable.CheckPrivate(dir); err == nil {
			t.Errorf("%s: %s is private", name, dir)
		}
	}
	if err := durable.CheckPrivate(bad["below everybody's"]); err == nil || !strings.Contains(err.Error(), "all has mode 0757") {
		t.Errorf("%v: want the folder above, and its mode", err)
	}
}

func TestFilesOfOthersAreNotOwn(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, mode os.FileMode) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(p, mode); err != nil {
			t.Fatal(err)
		}
		return p
	}
	ours := file("ours", 0o644)
	if err := durable.CheckOwn(ours); err != nil {
		t.Error(err)
	}
	if err := os.Symlink("ours", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	bad := []string{file("group", 0o660), file("all", 0o646), filepath.Join(dir, "link"), dir, filepath.Join(dir, "none")}
	if os.Geteuid() == 0 {
		p := file("another", 0o600)
		if err := os.Chown(p, stranger, stranger); err != nil {
			t.Fatal(err)
		}
		bad = append(bad, p)
	}
	for _, p := range bad {
		if err := durable.CheckOwn(p); err == nil {
			t.Errorf("%s is our own", p)
		}
	}
}
