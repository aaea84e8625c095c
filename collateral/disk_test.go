package collateral

import (
	"math/big"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog"
)

// What is written can be read: the fullest list of what was seen, with the longest names and
// numbers.
func TestTheFullestListOfWhatWasSeenIsReadAgain(t *testing.T) {
	dir := t.TempDir()
	number := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), maxNumberBits), big.NewInt(1))
	seen := make(map[Key]mark)
	add := func(n int) {
		of := strconv.Itoa(n)
		k := Key{poclog.CollateralKind(strings.Repeat("k", 40)), of + strings.Repeat("f", 128-len(of))}
		seen[k] = mark{number, time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC)}
	}
	for n := range maxMarks {
		add(n)
	}
	b, err := marshalSeen(seen)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, fileSeen), b, 0o644); err != nil {
		t.Fatal(err)
	}
	if again, err := readSeen(dir); err != nil || len(again) != maxMarks {
		t.Errorf("%d of %d read: %v", len(again), maxMarks, err)
	}
	if c, err := Open(dir, Config{}); err != nil || len(c.seen) != maxMarks {
		t.Errorf("the cache does not open: %v", err)
	}
	add(maxMarks)
	if _, err := marshalSeen(seen); err == nil {
		t.Error("one more is written")
	}
	for name, m := range map[string]mark{
		"a longer number": {new(big.Int).Lsh(number, 1), time.Now()}, "a negative number": {big.NewInt(-1), time.Now()},
		"a year of five digits": {number, time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)},
	} {
		if m.check() == nil {
			t.Errorf("%s would be written", name)
		}
	}
}
