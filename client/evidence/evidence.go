// Package evidence turns what machines and other tools emit into bundles and collateral.
//
// It judges nothing: whoever reads the bundle does. It refuses only what it cannot carry without loss, and says of every import which
// checks the result can pass and which it lost. Bundles hold no padding, so that importers cut it.
package evidence

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"

	"github.com/poclog/poclog"
)

// MaxFile is the largest file that an importer reads, in bytes.
const MaxFile = 4 << 20

// An Import is evidence in our form, and what became of it on the way.
type Import struct {
	Bundle *poclog.Bundle
	Notes  []string // sentences for people: what was cut, what is missing, how to take evidence that carries more
}

func (im *Import) note(format string, args ...any) {
	im.Notes = append(im.Notes, fmt.Sprintf(format, args...))
}

// decodeText decodes base64url, base64, or hexadecimal; other tools use all three.
func decodeText(name, s string) ([]byte, error) {
	s = strings.TrimSpace(s)
	if b, err := hex.DecodeString(s); err == nil {
		return b, nil
	}
	s = strings.TrimRight(s, "=")
	if b, err := base64.RawURLEncoding.DecodeString(s); err == nil {
		return b, nil
	}
	b, err := base64.RawStdEncoding.DecodeString(s)
	if err != nil {
		return nil, fmt.Errorf("%s: neither hexadecimal nor base64", name)
	}
	return b, nil
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

// certificates returns the DER of every certificate of PEM texts, in order.
func certificates(texts ...string) ([][]byte, error) {
	var list [][]byte
	for _, text := range texts {
		rest := []byte(text)
		for {
			var block *pem.Block
			block, rest = pem.Decode(rest)
			if block == nil {
				break
			}
			if block.Type != "CERTIFICATE" {
				return nil, fmt.Errorf("PEM block %q: want CERTIFICATE", block.Type)
			}
			list = append(list, block.Bytes)
		}
		if strings.TrimSpace(string(rest)) != "" {
			return nil, fmt.Errorf("%.30q after the last certificate", strings.TrimSpace(string(rest)))
		}
	}
	return list, nil
}
