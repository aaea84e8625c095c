package poclog

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/poclog/poclog/internal/canon"
)

// Limits of lists of registrars.
const (
	maxRegistrars = 64
	maxMembers    = 64      // keys of a registrar
	maxPins       = 1 << 20 // bytes of a reader's file: 64 registrars with 64 keys take less
)

// A Registrar is who vouches for hardware: a name, and the keys of its members.
type Registrar struct {
	Name       string     `json:"name"` // 1 to 128 bytes of printable ASCII
	Keys       []string   `json:"keys"` // as ParsePublisherKey takes them, ascending: one a member, at most 64
	Thresholds Thresholds `json:"thresholds"`
}

// Thresholds say how many members must have signed a statement, by type: 1 to the number of keys,
// and at most MaxSignatures. A thaw, and a freeze that renews one, need that of endorse.
type Thresholds struct {
	Endorse int `json:"endorse"`
	Revoke  int `json:"revoke"`
	Move    int `json:"move"`
	Freeze  int `json:"freeze"`
	Commit  int `json:"commit"`
}

// checkRegistrars holds a list of a policy or of a reader to its form.
func checkRegistrars(list []Registrar) error {
	if n := len(list); n > maxRegistrars {
		return fmt.Errorf("registrars: %d: want at most %d", n, maxRegistrars)
	}
	for i := range list {
		if err := list[i].check(); err != nil {
			return fmt.Errorf("registrar %.80q: %w", list[i].Name, err)
		}
	}
	return ascending("registrars", list, func(r Registrar) string { return r.Name })
}

func (r *Registrar) check() error {
	if r.Name == "" || len(r.Name) > maxName || !canon.Printable(r.Name) {
		return fmt.Errorf("want a name of 1 to %d bytes of printable ASCII", maxName)
	}
	if n := len(r.Keys); n < 1 || n > maxMembers {
		return fmt.Errorf("%d keys: want 1 to %d", n, maxMembers)
	}
	for _, k := range r.Keys {
		if _, err := ParsePublisherKey(k); err != nil {
			return err
		}
	}
	most := min(len(r.Keys), MaxSignatures)
	for _, t := range r.Thresholds.list() {
		if t.need < 1 || t.need > most {
			return fmt.Errorf("threshold of %s %d of %d keys: want 1 to %d", t.of, t.need, len(r.Keys), most)
		}
	}
	return ascending("keys", r.Keys, func(s string) string { return s })
}

type threshold struct {
	of   StatementType
	need int
}

func (t *Thresholds) list() []threshold {
	return []threshold{{Endorse, t.Endorse}, {Revoke, t.Revoke}, {Move, t.Move}, {Freeze, t.Freeze}, {Commit, t.Commit}}
}

// Pins are the registrars that a reader believes, in a file of the reader's own
// (`registrars.json`, docs/format.md §18): JSON with two spaces of indentation, members in the
// order below and a final newline.
type Pins struct {
	V          int         `json:"v"`          // 1
	Registrars []Registrar `json:"registrars"` // ascending by name
}

// Marshal returns the file. It fails if a registrar is not valid.
func (p *Pins) Marshal() ([]byte, error) {
	if p.V != 1 {
		return nil, fmt.Errorf("registrars of version %d: want 1", p.V)
	}
	if err := checkRegistrars(p.Registrars); err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(Pins{p.V, listed(p.Registrars)}); err != nil {
		return nil, fmt.Errorf("encode registrars: %w", err)
	}
	return buf.Bytes(), nil
}

// ParsePins parses a reader's file of registrars.
func ParsePins(file []byte) (*Pins, error) {
	if len(file) > maxPins {
		return nil, fmt.Errorf("registrars of %d bytes: want at most %d", len(file), maxPins)
	}
	p := new(Pins)
	dec := json.NewDecoder(bytes.NewReader(file))
	dec.DisallowUnknownFields()
	if err := dec.Decode(p); err != nil {
		return nil, fmt.Errorf("parse registrars: %w", err)
	}
	again, err := p.Marshal()
	if err != nil {
		return nil, fmt.Errorf("parse registrars: %w", err)
	}
	if !bytes.Equal(again, file) {
		return nil, fmt.Errorf("parse registrars: %s", firstDifference(file, again))
	}
	return p, nil
}
