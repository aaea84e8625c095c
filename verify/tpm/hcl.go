package tpm

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/rsa"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"unicode/utf8"

	"github.com/poclog/poclog/verify"
)

// Layout of an HCL report: header 32, hardware report 1,184, five 32-bit fields, JSON. There is no
// public specification by Microsoft; these offsets are those of reports as captured.
const (
	hclHeader   = 32
	hclHardware = 1184
	hclFields   = hclHeader + hclHardware // data size, version, report type, hash type, JSON length
	hclJSON     = hclFields + 20
	maxHCLJSON  = 1 << 15
)

// HCL report types.
const (
	HCLTypeSNP = 2
	HCLTypeTDX = 4
)

// An HCL is Azure's report of a confidential VM: the hardware's report, and JSON whose hash that
// report carries. Parsing authenticates nothing.
type HCL struct {
	Type           uint32 // HCLTypeSNP or HCLTypeTDX
	HardwareReport []byte // 1,184 bytes: an SNP report, or a TDREPORT and padding
	JSON           []byte // exactly what was hashed
	AK             crypto.PublicKey
	EK             crypto.PublicKey // nil if the JSON names none
	VMUniqueID     string
	UserData       [64]byte // set by the guest
}

// ParseHCL parses a report without padding. A malformed one is a [verify.Format] error.
func ParseHCL(item []byte) (*HCL, error) {
	h, n, err := parseHCL(item)
	if err != nil {
		return nil, verify.Failf(verify.Format, "HCL report: %w", err)
	}
	if n != len(item) {
		return nil, verify.Failf(verify.Format, "HCL report: %d bytes after its end", len(item)-n)
	}
	return h, nil
}

// TrimHCL cuts the zeros that the NV index holds after a report.
func TrimHCL(padded []byte) ([]byte, error) {
	_, n, err := parseHCL(padded)
	if err != nil {
		return nil, verify.Failf(verify.Format, "HCL report: %w", err)
	}
	if !verify.IsZero(padded[n:]) {
		return nil, verify.Failf(verify.Format, "HCL report: bytes other than zero after its end")
	}
	return padded[:n:n], nil
}

func parseHCL(b []byte) (*HCL, int, error) {
	if len(b) < hclJSON || string(b[:4]) != "HCLA" {
		return nil, 0, fmt.Errorf("%d bytes starting with %.4q: want HCLA and at least %d", len(b), b[:min(4, len(b))], hclJSON)
	}
	field := func(i int) uint32 { return binary.LittleEndian.Uint32(b[hclFields+4*i:]) }
	h := &HCL{Type: field(2), HardwareReport: b[hclHeader:hclFields]}
	if h.Type != HCLTypeSNP && h.Type != HCLTypeTDX {
		return nil, 0, fmt.Errorf("type %d: want 2 (SNP) or 4 (TDX)", h.Type)
	}
	if field(3) != 1 {
		return nil, 0, fmt.Errorf("hash type %d: want 1 (SHA-256)", field(3))
	}
	n := field(4)
	if n > maxHCLJSON || int(n) > len(b)-hclJSON {
		return nil, 0, fmt.Errorf("JSON of %d bytes: want at most %d, %d are left", n, maxHCLJSON, len(b)-hclJSON)
	}
	end := hclJSON + int(n)
	h.JSON = b[hclJSON:end:end]
	return h, end, h.parseJSON()
}

// parseJSON reads what we use. Names are compared exactly, which encoding/json does only in maps:
// with "keys" and "Keys" in one object, two readers would see two keys.
func (h *HCL) parseJSON() error {
	if err := noDuplicates(h.JSON); err != nil {
		return err
	}
	var top, vm object
	var keys []object
	if err := json.Unmarshal(h.JSON, &top); err != nil {
		return fmt.Errorf("JSON: %w", err)
	}
	if err := cmp.Or(top.read("keys", &keys), top.read("vm-configuration", &vm), vm.read("vmUniqueId", &h.VMUniqueID)); err != nil {
		return err
	}
	for _, k := range keys {
		if err := h.takeKey(k); err != nil {
			return err
		}
	}
	if h.AK == nil {
		return errors.New("JSON without key HCLAkPub")
	}
	return h.takeUserData(top)
}

// An object is a JSON object whose names are taken as they stand.
type object map[string]json.RawMessage

// read reads a member into dst, which stays as it is if there is none.
func (o object) read(name string, dst any) error {
	raw, ok := o[name]
	if !ok {
		return nil
	}
	if err := json.Unmarshal(raw, dst); err != nil {
		return fmt.Errorf("JSON member %s: %w", name, err)
	}
	return nil
}

// takeKey takes a JWK (RFC 7517) if it is one of ours.
func (h *HCL) takeKey(jwk object) error {
	var kid, kty, n, e string
	if err := cmp.Or(jwk.read("kid", &kid), jwk.read("kty", &kty), jwk.read("n", &n), jwk.read("e", &e)); err != nil {
		return err
	}
	var dst *crypto.PublicKey
	switch kid {
	case "HCLAkPub":
		dst = &h.AK
	case "HCLEkPub":
		dst = &h.EK
	default:
		return nil
	}
	if *dst != nil {
		return fmt.Errorf("key %q twice", kid)
	}
	key, err := rsaJWK(kty, n, e)
	if err != nil {
		return fmt.Errorf("key %s: %w", kid, err)
	}
	*dst = key
	return nil
}

func (h *HCL) takeUserData(top object) error {
	var digits string
	if err := top.read("user-data", &digits); digits == "" {
		return err // what cannot be read leaves it empty
	}
	user, err := hex.DecodeString(digits)
	if err != nil || len(user) != len(h.UserData) {
		return fmt.Errorf("user-data of %d digits: want %d bytes in hexadecimal", len(digits), len(h.UserData))
	}
	copy(h.UserData[:], user)
	return nil
}

// rsaJWK returns the key of an RSA JWK (RFC 7518, §6.3.1).
func rsaJWK(kty, n, e string) (*rsa.PublicKey, error) {
	nb, err1 := base64.RawURLEncoding.Strict().DecodeString(n)
	eb, err2 := base64.RawURLEncoding.Strict().DecodeString(e)
	if kty != "RSA" || err1 != nil || err2 != nil || len(nb) < 256 || len(nb) > maxModulus || nb[0] < 0x80 || !bytes.Equal(eb, []byte{1, 0, 1}) {
		return nil, errors.New("want an RSA JWK of 2048 to 4096 bits with exponent 65537")
	}
	return &rsa.PublicKey{N: new(big.Int).SetBytes(nb), E: defaultExponent}, nil
}

// maxJSONDepth is far over what reports have, and far under what a stack holds.
const maxJSONDepth = 16

// noDuplicates refuses JSON in which a name stands twice: two readers could see two keys.
func noDuplicates(b []byte) error {
	if !utf8.Valid(b) {
		return errors.New("JSON: not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(b))
	var seen []map[string]bool // of each open object; nil for a list
	name := false
	for {
		tok, err := d.Token()
		if err != nil {
			if errors.Is(err, io.EOF) && len(seen) == 0 {
				return nil
			}
			return fmt.Errorf("JSON: %w", err)
		}
		switch t := tok.(type) {
		case json.Delim:
			if t == '}' || t == ']' {
				seen = seen[:len(seen)-1]
				break
			}
			if len(seen) == maxJSONDepth {
				return fmt.Errorf("JSON: over %d levels deep", maxJSONDepth)
			}
			var names map[string]bool
			if t == '{' {
				names = make(map[string]bool)
			}
			seen, name = append(seen, names), t == '{'
			continue
		case string:
			if name {
				names := seen[len(seen)-1]
				if names[t] {
					return fmt.Errorf("JSON: member %.40q twice", t)
				}
				names[t], name = true, false
				continue
			}
		}
		name = len(seen) > 0 && seen[len(seen)-1] != nil
	}
}
