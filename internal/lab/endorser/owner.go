package endorser

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/chip"
)

// Years for which certificates are valid.
const validYears = 5

// An Owner endorses platforms as his, with a CA of one root and one signer below it.
type Owner struct {
	Name string // as his endorsements give it

	root, signer *x509.Certificate
	rootKey, key chip.Key
}

// NewOwner makes the owner of a name. Certificates are valid from a time on.
func NewOwner(seed, name string, from time.Time) *Owner {
	o := &Owner{Name: name, rootKey: newKey(seed, name+" root"), key: newKey(seed, name+" signer")}
	from = from.UTC().Truncate(time.Second)
	root := &x509.Certificate{
		Subject: pkix.Name{CommonName: "Platforms of " + name}, IsCA: true, KeyUsage: x509.KeyUsageCertSign, NotBefore: from, NotAfter: from.AddDate(validYears, 0, 0),
	}
	o.root = certify(root, o.rootKey, root, o.rootKey)
	o.signer = certify(&x509.Certificate{
		Subject: pkix.Name{CommonName: name}, KeyUsage: x509.KeyUsageDigitalSignature, NotBefore: from, NotAfter: from.AddDate(validYears, 0, 0),
	}, o.key, o.root, o.rootKey)
	return o
}

// newKey derives a key on P-384.
func newKey(seed, label string) chip.Key {
	for i := 0; ; i++ {
		sum := sha512.Sum384(fmt.Appendf(nil, "poclog lab owner's key\n%s\n%s\n%d", seed, label, i))
		k, err := ecdsa.ParseRawPrivateKey(elliptic.P384(), sum[:])
		if err == nil {
			return chip.Key{PrivateKey: k}
		}
	}
}

func certify(t *x509.Certificate, key chip.Key, parent *x509.Certificate, by chip.Key) *x509.Certificate {
	serial := sha256.Sum256([]byte("poclog lab serial\n" + t.Subject.String()))
	t.SerialNumber, t.SubjectKeyId, t.BasicConstraintsValid = new(big.Int).SetBytes(serial[:16]), serial[:20], true
	der, err := x509.CreateCertificate(nil, t, parent, key.Public(), by)
	if err != nil {
		panic(err) // the template is ours
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err) // just made
	}
	return cert
}

// Key returns the signing key.
func (o *Owner) Key() chip.Key { return o.key }

// Policy returns how a policy lists the owner's root.
func (o *Owner) Policy() poclog.Root {
	return poclog.Root{Use: poclog.RootPlatformOwner, SHA256: poclog.Sum(o.root.Raw), Name: o.Name}
}

// A Statement is what an endorsement says. [Owner.Statement] is the usual one.
type Statement struct {
	PIID            []byte
	Owner           string
	From, Until     time.Time
	Alg             int  // -51 (ESP384) or -35 (ES384)
	WithoutRoot     bool // the chain leaves out the root, which stands beside it
	ProfileUntagged bool // as revision -01 of the draft has it
}

// Statement says that a platform instance is the owner's, for a year from a time.
func (o *Owner) Statement(piid []byte, from time.Time) Statement {
	return Statement{PIID: piid, Owner: o.Name, From: from, Until: from.AddDate(1, 0, 0), Alg: -51}
}

// Endorse signs a statement.
func (o *Owner) Endorse(s Statement) poclog.CollateralItem {
	return o.Sign(encode(map[any]any{
		1: s.Alg, 3: "application/rim+cbor", 4: make([]byte, 48), 15: map[int]string{1: o.Name},
	}), Payload(s), s.WithoutRoot)
}

// Payload is a statement's CoRIM.
func Payload(s Statement) []byte {
	measured := func(oid []byte, name string, key int, value any) []any {
		class := map[int]any{0: map[int]any{0: cbor.Tag{Number: 111, Content: oid}}}
		return []any{[]any{class, []any{map[int]any{0: name, 1: map[int]any{key: value}}}}}
	}
	comid := encode(map[int]any{
		1: map[int]any{0: make([]byte, 16)},
		4: map[int]any{10: []any{[]any{
			measured(oidOf(2, 16, 840, 1, 113741, 1, 13, 2, 6, 1), "tee.poe.platform-binding", -101, s.PIID),
			measured(oidOf(2, 16, 840, 1, 113741, 1, 13, 2, 12, 1), "tee.poe.ownership-claims", -401, s.Owner),
		}}},
	})
	var profile any = cbor.Tag{Number: 32, Content: "tag:intel.com,2026:tee.poe#1.0"}
	if s.ProfileUntagged {
		profile = "tag:intel.com,2026:tee.poe#1.0"
	}
	return encode(cbor.Tag{Number: 501, Content: map[int]any{
		0: make([]byte, 16), 1: []any{cbor.Tag{Number: 506, Content: comid}}, 3: profile,
		4: map[int]any{0: cbor.Tag{Number: 1, Content: s.From.Unix()}, 1: cbor.Tag{Number: 1, Content: s.Until.Unix()}},
	}})
}

// Sign makes a COSE_Sign1 of any protected header and payload.
func (o *Owner) Sign(protected, payload []byte, withoutRoot bool) poclog.CollateralItem {
	sum := sha512.Sum384(encode([]any{"Signature1", protected, []byte{}, payload}))
	der, err := o.key.Sign(nil, sum[:], crypto.SHA384)
	if err != nil {
		panic(err) // a key of ours signs a digest of its size
	}
	var sig struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &sig); err != nil {
		panic(err) // just made
	}
	item := poclog.CollateralItem{Kind: poclog.OwnerEndorsement}
	var chain any = [][]byte{o.signer.Raw, o.root.Raw}
	if withoutRoot {
		chain = o.signer.Raw
		item.Chain = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: o.root.Raw})
	}
	item.Body = encode(cbor.Tag{Number: 18, Content: []any{
		protected, map[int]any{33: chain}, payload, append(sig.R.FillBytes(make([]byte, 48)), sig.S.FillBytes(make([]byte, 48))...),
	}})
	return item
}

// encode writes CBOR in deterministic encoding.
func encode(v any) []byte {
	mode, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		panic(err) // the options are the library's
	}
	b, err := mode.Marshal(v)
	if err != nil {
		panic(err) // the values are ours
	}
	return b
}

// oidOf gives the content octets of an object identifier.
func oidOf(arcs ...int) []byte {
	der, err := asn1.Marshal(asn1.ObjectIdentifier(arcs))
	if err != nil {
		panic(err) // the arcs are ours
	}
	return der[2:]
}
