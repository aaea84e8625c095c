// Package octets reads octets in the forms in which people and tools write them: raw, in
// hexadecimal, base64, base64url or PEM; in JSON also as a list of numbers.
//
// It knows no format of evidence, and judges nothing. FuzzDecode is the evidence that no input
// makes it fail.
package octets

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"strings"
)

// A Form is how octets were written.
type Form string

// The forms that [Decode] knows.
const (
	Raw    Form = "raw"
	Hex    Form = "hexadecimal"
	Base64 Form = "base64" // or base64url, with or without padding
	PEM    Form = "PEM"
)

// minText is the least number of characters that are taken for an encoding in a file: shorter ones
// may be words.
const minText = 16

// Decode returns the octets of a file, and how they were written. What is in no form of text is
// raw. Of PEM it returns what the blocks hold, one after the other.
func Decode(file []byte) ([]byte, Form) {
	if b := blocks(file); b != nil {
		return b, PEM
	}
	if len(file) < minText {
		return file, Raw
	}
	if b, form, err := text(string(file)); err == nil {
		return b, form
	}
	return file, Raw
}

func blocks(file []byte) (out []byte) {
	if !bytes.HasPrefix(bytes.TrimSpace(file), []byte("-----BEGIN")) {
		return nil
	}
	for block, rest := pem.Decode(file); block != nil; block, rest = pem.Decode(rest) {
		out = append(out, block.Bytes...)
	}
	return out
}

// Text decodes hexadecimal or base64. Hexadecimal comes first: base64 of more than a few octets is
// never hexadecimal by chance.
func Text(s string) ([]byte, error) {
	b, _, err := text(s)
	return b, err
}

var errText = errors.New("neither hexadecimal nor base64")

// text passes over white space, as line breaks of a tool, and over quotation marks around the
// whole.
func text(s string) ([]byte, Form, error) {
	s = strings.Map(func(r rune) rune {
		if strings.ContainsRune(" \t\r\n", r) {
			return -1
		}
		return r
	}, s)
	s = strings.TrimSuffix(strings.TrimPrefix(s, `"`), `"`)
	if b, err := hex.DecodeString(strings.TrimPrefix(s, "0x")); err == nil {
		return b, Hex, nil
	}
	s = strings.TrimRight(s, "=")
	for _, e := range []*base64.Encoding{base64.RawURLEncoding, base64.RawStdEncoding} {
		if b, err := e.DecodeString(s); err == nil {
			return b, Base64, nil
		}
	}
	return nil, "", errText
}

// A Member is octets in JSON: text in hexadecimal, base64 or PEM, or a list of numbers.
type Member []byte

// UnmarshalJSON reads any of the forms; null is no octets.
func (m *Member) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) != nil {
		return json.Unmarshal(b, (*list)(m))
	}
	if *m = blocks([]byte(s)); *m != nil {
		return nil
	}
	var err error
	*m, err = Text(s)
	return err
}

// list is decoded by the library: without it a Member's own method would be called for ever.
type list []byte
