package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	fence     = regexp.MustCompile("(?ms)^```.*?^```$")
	continued = regexp.MustCompile(`\\\n\s*`)
	codeLine  = regexp.MustCompile(`(?m)^    +(?:sudo |\$ )?(?:[A-Z_]+=\S+ )*(poclog .*)$`)
	inlineRun = regexp.MustCompile("`(?:sudo )?(poclog [^`]*)`")
	comment   = regexp.MustCompile(`\s+#.*$|\s+&.*$|\s*[|;].*$|\s+>\S*.*$`)
)

// TestCommandsOfPagesExist holds that every poclog command of the documentation, in code or within
// a sentence, is one that the program has, with flags that it has.
func TestCommandsOfPagesExist(t *testing.T) {
	root := filepath.Join("..", "..")
	pages := []string{"README.md", "SECURITY.md", "CONTRIBUTING.md"}
	err := filepath.WalkDir(filepath.Join(root, "docs"), func(path string, _ fs.DirEntry, err error) error {
		if filepath.Ext(path) == ".md" {
			pages = append(pages, strings.TrimPrefix(path, root+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, page := range pages {
		text, err := os.ReadFile(filepath.Join(root, page))
		if err != nil {
			t.Fatal(err)
		}
		joined := continued.ReplaceAllString(string(text), " ")
		joined = fence.ReplaceAllStringFunc(joined, func(block string) string { return strings.ReplaceAll(block, "\n", "\n    ") })
		commands := codeLine.FindAllStringSubmatch(joined, -1)
		prose := fence.ReplaceAllString(string(text), "")
		commands = append(commands, inlineRun.FindAllStringSubmatch(strings.Join(strings.Fields(prose), " "), -1)...)
		for _, m := range commands {
			seen++
			if err := parses(m[1]); err != nil {
				t.Errorf("%s: %s: %v", page, m[1], err)
			}
		}
	}
	if seen < 100 {
		t.Errorf("%d commands: want at least 100", seen)
	}
}

// parses finds the command of a line and parses its flags.
func parses(line string) error {
	var args []string
	for _, arg := range strings.Fields(comment.ReplaceAllString(line, "")) {
		if arg == "…" { // the rest is elsewhere
			if strings.HasPrefix(args[len(args)-1], "-") {
				args = args[:len(args)-1]
			}
			break
		}
		args = append(args, strings.Trim(arg, "'\"[]"))
	}
	found, rest, err := newRootCmd().Find(args[1:])
	if err != nil {
		return err
	}
	if found.HasSubCommands() && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
		return fmt.Errorf("%s has no command %s", found.CommandPath(), rest[0])
	}
	return found.ParseFlags(rest)
}
