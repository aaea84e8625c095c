package main

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/poclog/poclog"
)

var (
	quotedCommand = regexp.MustCompile("`(poclog [^`]*)`")
	bareCommand   = regexp.MustCompile("poclog [a-z]")
)

// Every command of ours that a text tells people to run stands between backquotes, so that no line
// breaks in it, and exists with its flags.
func TestCommandsInTextsExist(t *testing.T) {
	var texts []string
	for _, e := range explanations() {
		texts = append(texts, e.proves, e.absent, e.do)
	}
	for _, s := range itemAdvice {
		texts = append(texts, s)
	}
	for _, m := range []map[string]string{asTexts(checkAdvice), asTexts(azureAdvice), asTexts(metalAdvice), asTexts(remedies), asTexts(whereToGet), asTexts(whatToDoWith)} {
		for _, s := range m {
			texts = append(texts, s)
		}
	}
	texts = slices.Concat(texts, gotpmRecipe, dstackRecipe, tdxRecipe, snpRecipe, azureRecipe(poclog.AzureTDXvTPM))
	for _, commands := range remedyCommands {
		for _, c := range commands {
			texts = append(texts, "`"+c+"`")
		}
	}
	seen := 0
	for _, text := range texts {
		if rest := regexp.MustCompile("`[^`]*`").ReplaceAllString(text, ""); bareCommand.MatchString(rest) {
			t.Errorf("%q: a command without backquotes", text)
		}
		for _, m := range quotedCommand.FindAllStringSubmatch(text, -1) {
			seen++
			words := strings.Fields(strings.Split(m[1], " >")[0])[1:]
			c, rest, err := newRootCmd().Find(words)
			if err != nil || c.HasSubCommands() && c.Name() != "import" {
				t.Errorf("%q: %v", m[1], err)
				continue
			}
			for _, w := range rest {
				name := strings.TrimLeft(w, "-")
				if strings.HasPrefix(w, "--") && name != "help" && c.Flags().Lookup(name) == nil || len(w) == 2 && w[0] == '-' && c.Flags().ShorthandLookup(name) == nil {
					t.Errorf("%q: %s has no flag %s", m[1], c.CommandPath(), w)
				}
			}
		}
	}
	if seen < 40 {
		t.Errorf("%d commands: the search does not find them", seen)
	}
}

func asTexts[K comparable](m map[K]string) map[string]string {
	out := make(map[string]string)
	for _, s := range m {
		out[s] = s
	}
	return out
}
