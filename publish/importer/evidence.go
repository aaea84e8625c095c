// Package importer turns what machines and other tools emit into bundles and collateral.
//
// It judges nothing: whoever reads the bundle does. It refuses what does not parse and what it
// cannot carry without loss. Which checks the result can carry, verify/profile.Look says. Bundles
// hold no padding, so that importers cut it. Beside files it reads what a machine itself gives: NV
// indices of a TPM ([ReadNV]) and Azure's instance metadata service ([IMDS]).
package importer

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify/tpm"
)

// MaxFile is the largest file that an importer reads, in bytes.
const MaxFile = 4 << 20

// An Import is evidence in our form, and what became of it on the way.
type Import struct {
	Profile poclog.Profile // for which the evidence was taken, whether or not it suffices
	Bundle  *poclog.Bundle
	Notes   []string // sentences for people: what was cut and what was left out
	Missing []error  // what another file can mend: each a [MissingAKError] or a [MissingIssuer]

	padded []byte // the TD quote as it came, if it had padding
}

// QuotesPadding reports whether the TPM quoted the TD quote as it came, with padding that a bundle
// does not hold: why bind.tee-in-tpm is lost.
func (im *Import) QuotesPadding() bool {
	q, err := tpm.ParseQuote(im.Bundle.Get(poclog.ItemTPMQuote))
	if err != nil || len(im.padded) == 0 {
		return false
	}
	sum := sha256.Sum256(im.padded)
	return bytes.Equal(q.ExtraData, sum[:])
}

func (im *Import) note(format string, args ...any) {
	im.Notes = append(im.Notes, fmt.Sprintf(format, args...))
}

// decodeJSON decodes a JSON object of another tool; members that we do not use are ignored.
func decodeJSON(name string, file []byte, into any) error {
	if len(file) > MaxFile {
		return fmt.Errorf("%s: %d bytes: want at most %d", name, len(file), MaxFile)
	}
	if err := json.Unmarshal(file, into); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// maxDepth is over what any tool's JSON has, and far under what a stack holds.
const maxDepth = 32

// distinctMembers refuses JSON in which an object names a member twice, or differently in case
// alone, which encoding/json takes for the same: two readers could see two values.
func distinctMembers(file []byte) error {
	d := json.NewDecoder(bytes.NewReader(file))
	type level struct {
		names map[string]bool // nil for a list
		value bool            // whether a member's value comes next
	}
	var open []level
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) && len(open) == 0 {
			return nil
		}
		if err != nil {
			return fmt.Errorf("JSON: %w", err)
		}
		if delim, ok := tok.(json.Delim); ok && (delim == '}' || delim == ']') {
			open = open[:len(open)-1]
			continue
		}
		if n := len(open); n > 0 && open[n-1].names != nil && !open[n-1].value {
			name := strings.ToLower(tok.(string))
			if open[n-1].names[name] {
				return fmt.Errorf("JSON: member %.40q twice", name)
			}
			open[n-1].names[name], open[n-1].value = true, true
			continue
		} else if n > 0 {
			open[n-1].value = false
		}
		switch delim, _ := tok.(json.Delim); delim {
		case '{':
			open = append(open, level{names: make(map[string]bool)})
		case '[':
			open = append(open, level{})
		}
		if len(open) > maxDepth {
			return fmt.Errorf("JSON: over %d levels deep", maxDepth)
		}
	}
}
