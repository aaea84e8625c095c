package collateral

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/durable"
)

// Files of a cache: an item is DIR/<key>.collateral.json, a collateral file of one item.
const (
	fileSeen   = "seen.json"
	fileLock   = "lock"
	suffixItem = ".collateral.json"
)

// Bounds of the list of what was seen, for who writes it and who reads it.
const (
	maxMarks      = 4 * maxKeys
	maxSeen       = maxMarks * 400 // bytes: a key, a number and a time take less
	maxNumberBits = 256
)

// check refuses a mark that could not be read again.
func (m mark) check() error {
	if m.number.Sign() < 0 || m.number.BitLen() > maxNumberBits || m.issued.Year() < 1 || m.issued.Year() > 9999 {
		return fmt.Errorf("number of %d bits, issued in the year %d: want a number of at most %d bits, and a year of four digits", m.number.BitLen(), m.issued.Year(), maxNumberBits)
	}
	return nil
}

// readBounded reads a regular file of at most max bytes: a link or a device in its place is
// refused.
func readBounded(path string, max int64) ([]byte, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > max {
		return nil, fmt.Errorf("%s: %d bytes, mode %s: want a regular file of at most %d bytes", path, info.Size(), info.Mode(), max)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, max))
}

// prepare makes the folder and removes what a killed process left.
func prepare(dir string) error {
	if err := durable.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return durable.Sweep(dir)
}

// itemFiles returns the keys of the folder's items.
func itemFiles(dir string) ([]Key, error) {
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var keys []Key
	for _, n := range names {
		name, ok := strings.CutSuffix(n.Name(), suffixItem)
		if k, err := parseKey(name); ok && err == nil && len(keys) < maxKeys {
			keys = append(keys, k)
		}
	}
	return keys, nil
}

func itemPath(dir string, k Key) string { return filepath.Join(dir, k.String()+suffixItem) }

// readItem reads an item's file; it is not yet verified.
func readItem(dir string, k Key) (*poclog.CollateralItem, error) {
	b, err := readBounded(itemPath(dir, k), poclog.MaxCollateral)
	if err != nil {
		return nil, err
	}
	c, err := poclog.ParseCollateral(b)
	if err != nil {
		return nil, err
	}
	if len(c.Items) != 1 || c.Items[0].Kind != k.Kind {
		return nil, fmt.Errorf("%s: %d items: want one of kind %s", k, len(c.Items), k.Kind)
	}
	return &c.Items[0], nil
}

func writeItem(dir string, k Key, it *poclog.CollateralItem) error {
	b, err := (&poclog.Collateral{Items: []poclog.CollateralItem{*it}}).Marshal()
	if err != nil {
		return err
	}
	return durable.Replace(itemPath(dir, k), b, 0o644)
}

// seenFile is what was seen, by key in ascending order.
type seenFile struct {
	V    int         `json:"v"`
	Seen []seenEntry `json:"seen"`
}

type seenEntry struct {
	Key    string    `json:"key"`
	Number string    `json:"number"`
	Issued time.Time `json:"issued"`
}

// readSeen reads the list of what was seen. One that is damaged is an error: nobody could say what
// must not come back.
func readSeen(dir string) (map[Key]mark, error) {
	seen := make(map[Key]mark)
	b, err := readBounded(filepath.Join(dir, fileSeen), maxSeen)
	if errors.Is(err, fs.ErrNotExist) {
		return seen, nil
	}
	if err != nil {
		return nil, err
	}
	var f seenFile
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&f); err != nil {
		return nil, fmt.Errorf("%s: %w", fileSeen, err)
	}
	for _, e := range f.Seen {
		k, err := parseKey(e.Key)
		n, ok := new(big.Int).SetString(e.Number, 10)
		if err != nil || !ok || (mark{n, e.Issued}).check() != nil {
			return nil, fmt.Errorf("%s: key %.80q with number %.80q: want one that was written here", fileSeen, e.Key, e.Number)
		}
		seen[k] = mark{n, e.Issued.UTC()}
	}
	again, err := marshalSeen(seen)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(again, b) {
		return nil, fmt.Errorf("%s: not as it was written", fileSeen)
	}
	return seen, nil
}

func marshalSeen(seen map[Key]mark) ([]byte, error) {
	f := seenFile{V: 1, Seen: []seenEntry{}}
	for k, m := range seen {
		f.Seen = append(f.Seen, seenEntry{k.String(), m.number.String(), m.issued})
	}
	slices.SortFunc(f.Seen, func(a, b seenEntry) int { return strings.Compare(a.Key, b.Key) })
	b, err := json.MarshalIndent(f, "", " ")
	if len(b) >= maxSeen || len(seen) > maxMarks {
		return nil, fmt.Errorf("%s: %d were seen: want at most %d", fileSeen, len(seen), maxMarks)
	}
	return append(b, '\n'), err
}
