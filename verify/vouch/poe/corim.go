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

// item decodes octets that hold one item, in deterministic encoding.
func item[T any](b []byte) (v T, err error) {
	if err := checkDeterministic(b); err != nil {
		return v, err
	}
	return part[T](b)
}

// part decodes an item within another. T is a scalar, or a map, array or struct of
// [cbor.RawMessage]: the library passes over tags that its caller does not ask for, so each item is
// decoded on its own, and one with a tag is refused here.
func part[T any](b cbor.RawMessage) (v T, err error) {
	if len(b) == 0 {
		return v, errors.New("missing")
	}
	if b[0]>>5 == majorTag {
		return v, errors.New("a tag where none is expected")
	}
	err = decoding.Unmarshal(b, &v)
	return v, err
}

// tagged returns what a tag is on.
func tagged(b cbor.RawMessage, tag uint64) (cbor.RawMessage, error) {
	if len(b) == 0 {
		return nil, errors.New("missing")
	}
	major, n, rest, err := head(b)
	if err != nil {
		return nil, err
	}
	if major != majorTag || n != tag {
		return nil, fmt.Errorf("want tag %d", tag)
	}
	return rest, nil
}

// list decodes an array of n items.
func list(b cbor.RawMessage, n int) ([]cbor.RawMessage, error) {
	l, err := part[[]cbor.RawMessage](b)
	if err != nil {
		return nil, err
	}
	if len(l) != n {
		return nil, fmt.Errorf("%d items: want %d", len(l), n)
	}
	return l, nil
}

// corim reads the payload: of corim-map tags, profile and rim-validity. The rest is for people.
func (e *Endorsement) corim(payload []byte) error {
	if err := checkDeterministic(payload); err != nil {
		return err
	}
	inner, err := tagged(payload, tagCoRIM)
	if err != nil {
		return err
	}
	m, err := part[struct {
		Tags     cbor.RawMessage `cbor:"1,keyasint"`
		Profile  cbor.RawMessage `cbor:"3,keyasint"`
		Validity cbor.RawMessage `cbor:"4,keyasint"`
	}](inner)
	if err != nil {
		return err
	}
	if err := checkProfile(m.Profile); err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	if err := e.validity(m.Validity); err != nil {
		return fmt.Errorf("validity: %w", err)
	}
	tags, err := list(m.Tags, 1)
	if err != nil {
		return fmt.Errorf("tags: %w", err)
	}
	if inner, err = tagged(tags[0], tagCoMID); err != nil {
		return fmt.Errorf("CoMID: %w", err)
	}
	comid, err := part[cbor.ByteString](inner)
	if err == nil {
		err = e.comid([]byte(comid))
	}
	if err != nil {
		return fmt.Errorf("CoMID: %w", err)
	}
	return nil
}

// checkProfile takes any minor version, as a text (revisions -00 and -01 of the draft) or as a URI
// (-02).
func checkProfile(b cbor.RawMessage) error {
	if uri, err := tagged(b, tagURI); err == nil {
		b = uri
	}
	p, err := part[string](b)
	if err != nil {
		return err
	}
	minor, ok := strings.CutPrefix(p, profileMajor)
	if !ok || minor == "" || strings.Trim(minor, "0123456789") != "" {
		return fmt.Errorf("%.60q: want %s0", p, profileMajor)
	}
	return nil
}

func (e *Endorsement) validity(b cbor.RawMessage) error {
	m, err := part[struct {
		NotBefore cbor.RawMessage `cbor:"0,keyasint"`
		NotAfter  cbor.RawMessage `cbor:"1,keyasint"`
	}](b)
	if err != nil {
		return err
	}
	if e.NotBefore, err = instant(m.NotBefore); err != nil {
		return fmt.Errorf("not-before: %w", err)
	}
	if e.NotAfter, err = instant(m.NotAfter); err != nil {
		return fmt.Errorf("not-after: %w", err)
	}
	if e.NotAfter.Before(e.NotBefore) {
		return errors.New("it ends before it begins")
	}
	return nil
}

// instant reads whole seconds since 1970, to the year 9999.
func instant(b cbor.RawMessage) (time.Time, error) {
	b, err := tagged(b, tagTime)
	if err != nil {
		return time.Time{}, err
	}
	seconds, err := part[int64](b)
	if err != nil {
		return time.Time{}, err
	}
	t := poclog.UnixTime(seconds)
	if seconds < 0 || t.Year() > 9999 {
		return time.Time{}, fmt.Errorf("%d seconds: want a time of the years 1970 to 9999", seconds)
	}
	return t, nil
}

// comid reads concise-mid-tag: its one conditional-endorsement-triple-record. Where the conditions
// hold, the endorsements do.
func (e *Endorsement) comid(b []byte) error {
	m, err := item[struct {
		Triples cbor.RawMessage `cbor:"4,keyasint"`
	}](b)
	if err != nil {
		return err
	}
	triples, err := part[struct {
		Conditional cbor.RawMessage `cbor:"10,keyasint"`
	}](m.Triples)
	if err != nil {
		return fmt.Errorf("triples: %w", err)
	}
	records, err := list(triples.Conditional, 1)
	if err != nil {
		return fmt.Errorf("conditional endorsements: %w", err)
	}
	record, err := list(records[0], 2)
	if err != nil {
		return fmt.Errorf("conditional endorsement: %w", err)
	}
	piid, err := only[cbor.ByteString](record[0], oidPlatform, keyPIID)
	if err != nil {
		return fmt.Errorf("condition: %w", err)
	}
	if len(piid) != 16 && len(piid) != 32 {
		return fmt.Errorf("condition: platform instance id of %d octets: want 16 or 32", len(piid))
	}
	e.PIID = []byte(piid)
	if e.Owner, err = only[string](record[1], oidOwner, keyOwner); err != nil {
		return fmt.Errorf("endorsement: %w", err)
	}
	if !poclog.CanSay(e.Owner) {
		return fmt.Errorf("owner %.80q: want 1 to 255 bytes of printable ASCII", e.Owner)
	}
	return nil
}

// only reads the one value of the one measurement of the one environment, which is a class and
// nothing else. More would narrow the condition, or endorse more.
func only[T any](b cbor.RawMessage, class []byte, key int64) (v T, err error) {
	environments, err := list(b, 1)
	if err != nil {
		return v, fmt.Errorf("environments: %w", err)
	}
	pair, err := list(environments[0], 2)
	if err != nil {
		return v, fmt.Errorf("environment: %w", err)
	}
	if err := checkClass(pair[0], class); err != nil {
		return v, fmt.Errorf("environment: %w", err)
	}
	measurements, err := list(pair[1], 1)
	if err != nil {
		return v, fmt.Errorf("measurements: %w", err)
	}
	m, err := part[struct {
		Values       cbor.RawMessage `cbor:"1,keyasint"`
		AuthorizedBy cbor.RawMessage `cbor:"2,keyasint"`
	}](measurements[0])
	if err != nil {
		return v, fmt.Errorf("measurement: %w", err)
	}
	if m.AuthorizedBy != nil {
		return v, errors.New("measurement: authorized-by is not of this profile")
	}
	value, err := alone(m.Values, key)
	if err != nil {
		return v, fmt.Errorf("measurement: %w", err)
	}
	return part[T](value)
}

func checkClass(b cbor.RawMessage, class []byte) error {
	inner, err := alone(b, 0)
	if err != nil {
		return err
	}
	id, err := alone(inner, 0)
	if err != nil {
		return err
	}
	if id, err = tagged(id, tagOID); err != nil {
		return err
	}
	oid, err := part[cbor.ByteString](id)
	if err != nil {
		return err
	}
	if !bytes.Equal([]byte(oid), class) {
		return fmt.Errorf("class %x: want %x", clip([]byte(oid)), class)
	}
	return nil
}

// alone returns the value of a map that has one key, this one; that of another is missing.
func alone(b cbor.RawMessage, key int64) (cbor.RawMessage, error) {
	m, err := part[map[int64]cbor.RawMessage](b)
	if err != nil {
		return nil, err
	}
	if len(m) != 1 {
		return nil, fmt.Errorf("%d members: want %d alone", len(m), key)
	}
	return m[key], nil
}
