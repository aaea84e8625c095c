package log

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/poclog/poclog"
)

// withheld reads the list of digests that a law withholds. What is not understood whole is an
// error: nothing is published by a slip.
func withheld(path string) (map[poclog.Digest]bool, error) {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read what is withheld: %w", err)
	}
	list := make(map[poclog.Digest]bool)
	number := 0
	for line := range strings.Lines(string(b)) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		d, err := poclog.ParseDigest(line)
		if err != nil {
			return nil, fmt.Errorf("read what is withheld: %s, line %d: %w", path, number, err)
		}
		list[d] = true
	}
	return list, nil
}
