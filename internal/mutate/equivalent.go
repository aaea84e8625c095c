package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
)

// equivalents reads the mutants that no test can kill, by key, with the reason why not: lines
// "<key> // <reason>".
func equivalents(path string) (map[string]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	out := make(map[string]string)
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, reason, ok := strings.Cut(line, " // ")
		if !ok || reason == "" || !strings.Contains(key, " => ") {
			return nil, fmt.Errorf("%s:%d: want <file> <function>: <condition> => <mutant> // <reason>", path, n)
		}
		if _, twice := out[key]; twice {
			return nil, fmt.Errorf("%s:%d: %s: listed twice", path, n, key)
		}
		out[key] = reason
	}
	return out, lines.Err()
}

// stale returns the listed mutants of files that were mutated which there are not any more.
func stale(listed map[string]string, mutants []*mutant) (keys []string) {
	files, have := make(map[string]bool), make(map[string]bool)
	for _, m := range mutants {
		files[m.file], have[m.key()] = true, true
	}
	for key := range listed {
		file, _, _ := strings.Cut(key, " ")
		if files[file] && !have[key] {
			keys = append(keys, key)
		}
	}
	return keys
}
