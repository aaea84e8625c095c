// Package alliance reads the tokens by which a registry of hardware vouches for a chip, in the form
// of the Proof of Cloud Alliance (https://github.com/proofofcloud/trust-server): a compact JWS (RFC
// 7515, §7.1) with EdDSA (RFC 8037) over
//
//	{"quote_hash":"<SHA-256 of the TEE quote>","machine_id":"<PPID or CHIP_ID>","label":"…"}
//
// and, by earlier servers, a fourth member "timestamp" in Unix seconds. A token says that the
// holder of the registry's key had this chip on its list, under this label, when it was shown this
// quote. It says neither how the chip came onto the list nor where it stands.
//
// A token without a time was made after its quote, whose digest it has. So it needs a quote that
// was certainly made late enough: one that answers a challenge ([Shown.Fresh]).
//
// There is one form of a token: no member twice, none that is not known, base64url without padding
// and without spare bits. What is not understood could limit what is. The package is pure;
// FuzzParse and the vectors in testdata are the evidence.
package alliance

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
)

// maxToken is the size of the largest token, in bytes.
const maxToken = 4096

// How a token's time and the time of appraisal may differ.
const (
	// MaxAge is how old a token may be: as old as the oldest challenge that a policy can accept.
	MaxAge = 24 * time.Hour
	// MaxAhead is how far it may be ahead: the alliance's servers sign a time that the asker names,
	// within five minutes of their clocks.
	MaxAhead = 5 * time.Minute
)

// A Token is what a registry signed.
type Token struct {
	QuoteHash poclog.Digest // SHA-256 of the quote as the registry was shown it
	Machine   string        // the chip: PPID (32) or CHIP_ID (128) in lower-case hexadecimal digits
	Label     string        // the registry's label of the machine: 1 to 255 bytes of printable ASCII
	Time      time.Time     // of the signers' clocks, whole seconds; zero where the token has none
	KeyID     string        // the header's kid, 64 lower-case hexadecimal digits; empty where there is none

	signed    []byte // header.payload
	signature []byte
}

// Parse parses a token. It believes nothing of it: [Token.Signer] does. Failures are
// [verify.EndorseChip].
func Parse(body []byte) (*Token, error) {
	t, err := parse(body)
	if err != nil {
		return nil, verify.Failf(verify.EndorseChip, "token: %w", err)
	}
	return t, nil
}

func parse(body []byte) (*Token, error) {
	if len(body) > maxToken {
		return nil, fmt.Errorf("%d bytes: want at most %d", len(body), maxToken)
	}
	parts := strings.Split(string(body), ".")
	if len(parts) != 3 {
		return nil, fmt.Errorf("%d parts: want header, payload and signature", len(parts))
	}
	var raw [3][]byte
	for i, name := range []string{"header", "payload", "signature"} {
		var err error
		if raw[i], err = decode(parts[i]); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	t := &Token{signed: body[:len(parts[0])+1+len(parts[1])], signature: raw[2]}
	if len(t.signature) != ed25519.SignatureSize {
		return nil, fmt.Errorf("signature of %d bytes: want %d", len(t.signature), ed25519.SignatureSize)
	}
	if err := t.header(raw[0]); err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	if err := t.payload(raw[1]); err != nil {
		return nil, fmt.Errorf("payload: %w", err)
	}
	return t, nil
}

// decode reads base64url in its one form. Go's decoder passes over line breaks, and those are not
// of it.
func decode(s string) ([]byte, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil {
		return nil, err
	}
	if base64.RawURLEncoding.EncodeToString(b) != s {
		return nil, errors.New("base64url of another form")
	}
	return b, nil
}

// header reads the JOSE header (RFC 7515, §4.1). One algorithm is known, so that the token cannot
// choose: "none" is not it.
func (t *Token) header(raw []byte) error {
	m, err := members(raw, "alg", "typ", "kid")
	if err != nil {
		return err
	}
	if m["alg"] != "EdDSA" {
		return fmt.Errorf("alg %.40q: want EdDSA", m["alg"])
	}
	if typ, ok := m["typ"]; ok && typ != "JWT" {
		return fmt.Errorf("typ %.40q: want JWT", typ)
	}
	kid, ok := m["kid"]
	if !ok {
		return nil
	}
	t.KeyID, _ = kid.(string)
	if _, err := poclog.ParseDigest(t.KeyID); err != nil {
		return fmt.Errorf("kid %.80q: want 64 lower-case hexadecimal digits", kid)
	}
	return nil
}

func (t *Token) payload(raw []byte) (err error) {
	m, err := members(raw, "quote_hash", "machine_id", "label", "timestamp")
	if err != nil {
		return err
	}
	hash, _ := m["quote_hash"].(string)
	if t.QuoteHash, err = poclog.ParseDigest(hash); err != nil {
		return fmt.Errorf("quote_hash: %w", err)
	}
	t.Machine, _ = m["machine_id"].(string)
	// What does not decode does not encode to itself.
	if id, _ := hex.DecodeString(t.Machine); len(id) != 16 && len(id) != 64 || hex.EncodeToString(id) != t.Machine {
		return fmt.Errorf("machine_id %.140q: want a PPID or a CHIP_ID, 32 or 128 lower-case hexadecimal digits", t.Machine)
	}
	t.Label, _ = m["label"].(string)
	if !poclog.CanSay(t.Label) {
		return fmt.Errorf("label %.80q: want 1 to 255 bytes of printable ASCII", t.Label)
	}
	value, ok := m["timestamp"]
	if !ok {
		return nil
	}
	stamp, _ := value.(json.Number)
	// Ten digits last until the year 2286. JSON's numbers have no leading zeros.
	seconds, err := strconv.ParseUint(string(stamp), 10, 64)
	if err != nil || len(stamp) != 10 {
		return fmt.Errorf("timestamp %.40q: want ten digits of Unix seconds", stamp)
	}
	t.Time = poclog.UnixTime(int64(seconds))
	return nil
}

// members reads a JSON object of strings and numbers, in any order: each name is one of those that
// are known, and stands once.
func members(raw []byte, known ...string) (map[string]any, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if open, _ := dec.Token(); open != json.Delim('{') {
		return nil, errors.New("want a JSON object")
	}
	m := make(map[string]any, len(known))
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, err
		}
		if err := checkName(name, m, known); err != nil {
			return nil, err
		}
		value, err := dec.Token()
		if err != nil {
			return nil, err
		}
		switch value.(type) {
		case string, json.Number:
			m[name.(string)] = value
		default:
			return nil, fmt.Errorf("member %q: want a string or a number", name)
		}
	}
	if _, err := dec.Token(); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("something follows the JSON object")
	}
	return m, nil
}

func checkName(name json.Token, have map[string]any, known []string) error {
	for _, k := range known {
		if name != k {
			continue
		}
		if _, twice := have[k]; twice {
			return fmt.Errorf("member %q twice", k)
		}
		return nil
	}
	return fmt.Errorf("member %.40q: unknown", name)
}

// Signer verifies the signature by one of the registries' keys and returns that: by the key that
// the kid names, where there is one.
func (t *Token) Signer(keys []poclog.Digest) (poclog.Digest, error) {
	for _, k := range keys {
		if t.KeyID != "" && t.KeyID != k.String() {
			continue
		}
		if ed25519.Verify(k[:], t.signed, t.signature) {
			return k, nil
		}
	}
	return poclog.Digest{}, verify.Failf(verify.EndorseChip, "token: no signature by a key that the policy lists (kid %.64q)", t.KeyID)
}

// Shown is what a registry must have been shown for its token to count.
type Shown struct {
	Quote []byte          // the TEE quote, as the bundle has it
	Size  int             // of the quote as it was shown, with zeros after it: over its length, at most [poclog.MaxShown]; 0 where it had none
	Chip  poclog.Identity // that made the quote; empty where the evidence names none
	Fresh bool            // the quote answers a challenge, so that it bounds the time of what is made after it
}

// Check holds a token to what it must be about, and to a time. Failures are [verify.EndorseChip].
func (t *Token) Check(s Shown, at time.Time) error {
	sum, err := s.digest()
	switch {
	case err != nil:
		return verify.Failf(verify.EndorseChip, "token: %w", err)
	case t.QuoteHash != sum && s.Size == 0:
		return verify.Failf(verify.EndorseChip, "token: it is on a quote with digest %s, the bundle's has %s", t.QuoteHash, sum)
	case t.QuoteHash != sum:
		return verify.Failf(verify.EndorseChip, "token: it is on a quote with digest %s, the bundle's has %s with zeros up to %d bytes", t.QuoteHash, sum, s.Size)
	case s.Chip == "":
		return verify.Failf(verify.EndorseChip, "token: the evidence names no chip")
	case t.Machine != s.Chip.Value():
		return verify.Failf(verify.EndorseChip, "token: it is on machine %s, the quote is by %s", t.Machine, s.Chip)
	case t.Time.IsZero() && !s.Fresh:
		return verify.Failf(verify.EndorseChip, "token: it has no time, and the quote answers no challenge: it may be of any time")
	case t.Time.IsZero():
		return nil
	}
	if age := at.Sub(t.Time); age > MaxAge || age < -MaxAhead {
		return verify.Failf(verify.EndorseChip, "token: of %s, judged at %s: want at most %s before and %s after", t.Time.Format(time.RFC3339), verify.Stamp(at), MaxAge, MaxAhead)
	}
	return nil
}

// digest is that of the quote with its padding, which has one form: no size where there is none.
func (s Shown) digest() (poclog.Digest, error) {
	if s.Size == 0 {
		return poclog.Sum(s.Quote), nil
	}
	if s.Size <= len(s.Quote) || s.Size > poclog.MaxShown {
		return poclog.Digest{}, fmt.Errorf("on a quote of %d bytes with its padding: want over the quote's %d, at most %d", s.Size, len(s.Quote), poclog.MaxShown)
	}
	return poclog.Sum(append(bytes.Clone(s.Quote), make([]byte, s.Size-len(s.Quote))...)), nil
}

// SizeShown returns how large a quote was with its padding when the registry was shown it, for
// [Shown] and the item's quote_size: 0 if it was shown as it is. It is false if the token is not on
// this quote with any padding of zeros.
func (t *Token) SizeShown(quote []byte) (size int, ok bool) {
	h := sha256.New()
	h.Write(quote)
	var sum [sha256.Size]byte
	for n := len(quote); n <= poclog.MaxShown; n++ {
		if h.Sum(sum[:0]); sum == t.QuoteHash {
			if n == len(quote) {
				return 0, true
			}
			return n, true
		}
		h.Write([]byte{0})
	}
	return 0, false
}
