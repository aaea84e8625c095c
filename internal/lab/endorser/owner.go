package endorser

import (
	"crypto"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/cert"
	"github.com/poclog/poclog/internal/lab/chip"
	"github.com/poclog/poclog/internal/lab/derive"
	"github.com/poclog/poclog/internal/must"
)

// Years for which certificates are valid.
const validYears = 5

// An Owner endorses platforms as his, with a CA of one root and one signer below it.
type Owner struct {
	Name string // as his endorsements give it

	root, signer cert.Issued
}

// NewOwner makes the owner of a name. Certificates are valid from a time on.
func NewOwner(seed, name string, from time.Time) *Owner {
	from = from.UTC().Truncate(time.Second)
	issue := func(by cert.Issued, common, key string, ca bool, usage x509.KeyUsage) cert.Issued {
		t := &x509.Certificate{
			Subject: pkix.Name{CommonName: common}, IsCA: ca, KeyUsage: usage, NotBefore: from, NotAfter: from.AddDate(validYears, 0, 0), BasicConstraintsValid: true,
		}
		serial := sha256.Sum256([]byte("poclog lab serial\n" + t.Subject.String()))
		t.SerialNumber, t.SubjectKeyId = new(big.Int).SetBytes(serial[:16]), serial[:20]
		return by.Issue(t, newKey(seed, key))
	}
	root := issue(cert.Issued{}, "Platforms of "+name, name+" root", true, x509.KeyUsageCertSign)
	return &Owner{Name: name, root: root, signer: issue(root, name, name+" signer", false, x509.KeyUsageDigitalSignature)}
}

// newKey derives a key on P-384.
func newKey(seed, label string) chip.Key {
	return chip.Key{PrivateKey: derive.EC(elliptic.P384(), func(i int) []byte {
		sum := sha512.Sum384(fmt.Appendf(nil, "poclog lab owner's key\n%s\n%s\n%d", seed, label, i))
		return sum[:]
	})}
}

// Key returns the signing key.
func (o *Owner) Key() chip.Key { return o.signer.Key.(chip.Key) }

// Policy returns how a policy lists the owner's root.
func (o *Owner) Policy() poclog.Root {
	return poclog.Root{Use: poclog.RootPlatformOwner, SHA256: poclog.Sum(o.root.Cert.Raw), Name: o.Name}
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
	r, s := derive.Numbers(must.Get(o.signer.Key.Sign(nil, sum[:], crypto.SHA384)))
	item := poclog.CollateralItem{Kind: poclog.OwnerEndorsement}
	var chain any = [][]byte{o.signer.Cert.Raw, o.root.Cert.Raw}
	if withoutRoot {
		chain = o.signer.Cert.Raw
		item.Chain = cert.PEM(o.root.Cert)
	}
	item.Body = encode(cbor.Tag{Number: 18, Content: []any{
		protected, map[int]any{33: chain}, payload, append(r.FillBytes(make([]byte, 48)), s.FillBytes(make([]byte, 48))...),
	}})
	return item
}

// encode writes CBOR in deterministic encoding.
func encode(v any) []byte {
	return must.Get(must.Get(cbor.CoreDetEncOptions().EncMode()).Marshal(v))
}

// oidOf gives the content octets of an object identifier.
func oidOf(arcs ...int) []byte {
	return must.Get(asn1.Marshal(asn1.ObjectIdentifier(arcs)))[2:]
}
