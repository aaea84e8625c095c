package store

import (
	"bytes"
	"encoding/base64"
	"slices"
)

// AddCosignatures appends signature lines (https://c2sp.org/signed-note) to a checkpoint. Of each
// key the first line stays.
func AddCosignatures(signed []byte, lines ...[]byte) []byte {
	out := slices.Clip(signed)
	_, have, _ := bytes.Cut(signed, []byte("\n\n"))
	keys := make(map[string]bool)
	for line := range bytes.Lines(have) {
		keys[signatureKey(line)] = true
	}
	for _, line := range lines {
		if key := signatureKey(line); key != "" && !keys[key] {
			keys[key] = true
			out = append(out, line...)
		}
	}
	return out
}

// signatureKey is the name and key hash of a whole signature line, or "" for what is none.
func signatureKey(line []byte) string {
	fields := bytes.Split(bytes.TrimSuffix(line, []byte("\n")), []byte(" "))
	if len(fields) != 3 || string(fields[0]) != "—" || !bytes.HasSuffix(line, []byte("\n")) {
		return ""
	}
	sig, err := base64.StdEncoding.DecodeString(string(fields[2]))
	if err != nil || len(sig) < 4 {
		return ""
	}
	return string(fields[1]) + string(sig[:4])
}
