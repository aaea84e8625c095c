package poe

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/poclog/poclog"
)

// The profile's constants (draft-bzb-rats-intel-poe-endorsements-02, §3.5, §4).
const (
	tagTime  = 1   // epoch-based time
	tagURI   = 32  // text
	tagOID   = 111 // content octets of an object identifier
	tagCoRIM = 501
	tagCoMID = 506

	profileMajor = "tag:intel.com,2026:tee.poe#1." // of which any minor version is read

	keyPIID  = -101
	keyOwner = -401
)

var (
	oidPlatform = []byte{0x60, 0x86, 0x48, 0x01, 0x86, 0xf8, 0x4d, 0x01, 0x0d, 0x02, 0x06, 0x01} // 2.16.840.1.113741.1.13.2.6.1
	oidOwner    = []byte{0x60, 0x86, 0x48, 0x01, 0x86, 0xf8, 0x4d, 0x01, 0x0d, 0x02, 0x0c, 0x01} // 2.16.840.1.113741.1.13.2.12.1
)

// decoding has bounds of its own, which checkDeterministic keeps already.
var decoding = func() cbor.DecMode {
	m, err := cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden, MaxNestedLevels: 2 * maxDepth,
		MaxArrayElements: maxEndorsement, MaxMapPairs: maxEndorsement, UTF8: cbor.UTF8RejectInvalid,
	}.DecMode()
	if err != nil {
		panic(err) // the options are ours
	}
	return m
}()

// decode reads an item in deterministic encoding.
func decode(b []byte, v any) error {
	if err := checkDeterministic(b); err != nil {
		return err
	}
	return decoding.Unmarshal(b, v)
}

// decodeTagged reads a tag and what it is on.
func decodeTagged(b []byte, tag uint64, v any) error {
	if err := checkDeterministic(b); err != nil {
		return err
	}
	if b[0]>>5 != majorTag {
		return fmt.Errorf("want tag %d", tag)
	}
	var t cbor.RawTag
	if err := decoding.Unmarshal(b, &t); err != nil {
		return err
	}
	if t.Number != tag {
		return fmt.Errorf("tag %d: want %d", t.Number, tag)
	}
	return decoding.Unmarshal(t.Content, v)
}

// corimMap is what is read of corim-map: the rest is for people.
type corimMap struct {
	Tags     []cbor.RawMessage `cbor:"1,keyasint"`
	Profile  cbor.RawMessage   `cbor:"3,keyasint"`
	Validity struct {
		NotBefore cbor.RawMessage `cbor:"0,keyasint"`
		NotAfter  cbor.RawMessage `cbor:"1,keyasint"`
	} `cbor:"4,keyasint"`
}

// comidMap is what is read of concise-mid-tag.
type comidMap struct {
	Triples struct {
		Conditional []record `cbor:"10,keyasint"`
	} `cbor:"4,keyasint"`
}

// record is conditional-endorsement-triple-record: where the conditions hold, the endorsements do.
type record struct {
	_            struct{} `cbor:",toarray"`
	Conditions   []claims
	Endorsements []claims
}

// claims are measurements of an environment.
type claims struct {
	_            struct{} `cbor:",toarray"`
	Environment  cbor.RawMessage
	Measurements []measurement
}

type measurement struct {
	Values       cbor.RawMessage `cbor:"1,keyasint"`
	AuthorizedBy cbor.RawMessage `cbor:"2,keyasint"`
}

// corim reads the payload.
func (e *Endorsement) corim(payload []byte) error {
	var m corimMap
	if err := decodeTagged(payload, tagCoRIM, &m); err != nil {
		return err
	}
	if err := checkProfile(m.Profile); err != nil {
		return err
	}
	var err error
	if e.NotBefore, err = instant(m.Validity.NotBefore); err != nil {
		return fmt.Errorf("not-before: %w", err)
	}
	if e.NotAfter, err = instant(m.Validity.NotAfter); err != nil {
		return fmt.Errorf("not-after: %w", err)
	}
	if e.NotAfter.Before(e.NotBefore) {
		return errors.New("it ends before it begins")
	}
	if len(m.Tags) != 1 {
		return fmt.Errorf("%d tags: want one CoMID", len(m.Tags))
	}
	var inner cbor.ByteString
	if err := decodeTagged(m.Tags[0], tagCoMID, &inner); err != nil {
		return fmt.Errorf("CoMID: %w", err)
	}
	if err := e.comid([]byte(inner)); err != nil {
		return fmt.Errorf("CoMID: %w", err)
	}
	return nil
}

// checkProfile takes any minor version, as a text (revisions -00 and -01 of the draft) or as a URI (-02).
func checkProfile(raw cbor.RawMessage) error {
	if len(raw) == 0 {
		return errors.New("no profile")
	}
	var p string
	var err error
	if raw[0]>>5 == majorTag {
		err = decodeTagged(raw, tagURI, &p)
	} else {
		err = decode(raw, &p)
	}
	if err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	minor, ok := strings.CutPrefix(p, profileMajor)
	if !ok || minor == "" || strings.Trim(minor, "0123456789") != "" {
		return fmt.Errorf("profile %.60q: want %s0", p, profileMajor)
	}
	return nil
}

// instant reads whole seconds since 1970, to the year 9999.
func instant(raw cbor.RawMessage) (time.Time, error) {
	if len(raw) == 0 {
		return time.Time{}, errors.New("none")
	}
	var seconds int64
	if err := decodeTagged(raw, tagTime, &seconds); err != nil {
		return time.Time{}, err
	}
	t := poclog.UnixTime(seconds)
	if seconds < 0 || t.Year() > 9999 {
		return time.Time{}, fmt.Errorf("%d seconds: want a time of the years 1970 to 9999", seconds)
	}
	return t, nil
}

func (e *Endorsement) comid(b []byte) error {
	var m comidMap
	if err := decode(b, &m); err != nil {
		return err
	}
	if n := len(m.Triples.Conditional); n != 1 {
		return fmt.Errorf("%d conditional endorsements: want one", n)
	}
	r := m.Triples.Conditional[0]
	var piid cbor.ByteString
	if err := only(r.Conditions, oidPlatform, keyPIID, &piid); err != nil {
		return fmt.Errorf("condition: %w", err)
	}
	if len(piid) != 16 && len(piid) != 32 {
		return fmt.Errorf("condition: platform instance id of %d octets: want 16 or 32", len(piid))
	}
	e.PIID = []byte(piid)
	if err := only(r.Endorsements, oidOwner, keyOwner, &e.Owner); err != nil {
		return fmt.Errorf("endorsement: %w", err)
	}
	if !poclog.CanSay(e.Owner) {
		return fmt.Errorf("owner %.80q: want 1 to 255 bytes of printable ASCII", e.Owner)
	}
	return nil
}

// only reads the one value of the one measurement of an environment that is a class of its own. More would narrow the condition, or endorse more.
func only(list []claims, class []byte, key int64, v any) error {
	if len(list) != 1 || len(list[0].Measurements) != 1 {
		return errors.New("want one environment with one measurement")
	}
	var outer, inner map[int64]cbor.RawMessage
	if err := decode(list[0].Environment, &outer); err != nil || len(outer) != 1 || len(outer[0]) == 0 {
		return errors.New("want an environment of a class alone")
	}
	if err := decode(outer[0], &inner); err != nil || len(inner) != 1 || len(inner[0]) == 0 {
		return errors.New("want a class of an id alone")
	}
	var oid cbor.ByteString
	if err := decodeTagged(inner[0], tagOID, &oid); err != nil || !bytes.Equal([]byte(oid), class) {
		return fmt.Errorf("class %x: want %x", clip(inner[0]), class)
	}
	m := list[0].Measurements[0]
	if m.AuthorizedBy != nil {
		return errors.New("authorized-by is not of this profile")
	}
	var values map[int64]cbor.RawMessage
	if err := decode(m.Values, &values); err != nil || len(values) != 1 || len(values[key]) == 0 {
		return fmt.Errorf("want value %d alone", key)
	}
	if err := decode(values[key], v); err != nil {
		return fmt.Errorf("value %d: %w", key, err)
	}
	return nil
}
