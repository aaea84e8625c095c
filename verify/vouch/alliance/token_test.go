package alliance_test

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/endorser"
	"github.com/poclog/poclog/internal/vectors"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/vouch/alliance"
)

var (
	registry = endorser.NewAlliance("verify/vouch/alliance", "registry")
	quote    = []byte("a quote")
	machine  = []byte("0123456789abcdef")
	at       = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
)

func good() []byte { return registry.Token(quote, machine, "rack 7", at) }

func wantRefused(t *testing.T, name string, err error, why string) {
	t.Helper()
	if got, ok := verify.CheckOf(err); !ok || got != verify.EndorseChip || !strings.Contains(err.Error(), why) || strings.Contains(err.Error(), "\n") {
		t.Errorf("%s: %v: want %s, with %q", name, err, verify.EndorseChip, why)
	}
}

func TestTokenOfTheRegistryIsBelieved(t *testing.T) {
	tok, err := alliance.Parse(good())
	if err != nil {
		t.Fatal(err)
	}
	other := endorser.NewAlliance("verify/vouch/alliance", "other").Key()
	by, err := tok.Signer([]poclog.Digest{other, registry.Key()})
	if err != nil || by != registry.Key() || tok.KeyID != by.String() {
		t.Errorf("signed by %s, kid %s: %v", by, tok.KeyID, err)
	}
	if tok.Label != "rack 7" || !tok.Time.Equal(at) || tok.QuoteHash != poclog.Sum(quote) {
		t.Errorf("%+v", tok)
	}
	_, err = tok.Signer([]poclog.Digest{other})
	wantRefused(t, "another key", err, "no signature by a key")
}

func parsed(t testing.TB, token []byte) *alliance.Token {
	t.Helper()
	tok, err := alliance.Parse(token)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func TestTokenIsHeldToQuoteChipAndTime(t *testing.T) {
	chip, _ := poclog.HexIdentity(poclog.IntelPPID, machine)
	other, _ := poclog.HexIdentity(poclog.IntelPPID, []byte("another machine!"))
	is := alliance.Shown{Quote: quote, Chip: chip}
	fresh, padded, bare := is, append(slices.Clone(quote), make([]byte, 993)...), registry.BareToken(quote, machine, "rack 7")
	fresh.Fresh = true
	sized := func(n int) alliance.Shown { return alliance.Shown{Quote: quote, Size: n, Chip: chip} }
	for _, c := range []struct {
		name  string
		token []byte
		shown alliance.Shown
		at    time.Time
		want  string // "": passes
	}{
		{"the same second", good(), is, at, ""},
		{"a day later", good(), is, at.Add(alliance.MaxAge), ""},
		{"over a day later", good(), is, at.Add(alliance.MaxAge + time.Second), "judged at"},
		{"five minutes before", good(), is, at.Add(-alliance.MaxAhead), ""},
		{"over five minutes before", good(), is, at.Add(-alliance.MaxAhead - time.Second), "judged at"},
		{"a day later, on a fresh quote", good(), fresh, at.Add(alliance.MaxAge + time.Second), "judged at"},
		{"a quote with padding", good(), alliance.Shown{Quote: padded, Chip: chip}, at, "on a quote with digest"},
		{"another chip", good(), alliance.Shown{Quote: quote, Chip: other}, at, "on machine"},
		{"no chip", good(), alliance.Shown{Quote: quote}, at, "names no chip"},
		{"no time, on a fresh quote", bare, fresh, at, ""},
		{"no time, on a fresh quote, years later", bare, fresh, at.AddDate(9, 0, 0), ""},
		{"no time, on a historical quote", bare, is, at, "it may be of any time"},
		{"shown with padding", registry.Token(padded, machine, "rack 7", at), sized(1000), at, ""},
		{"shown with other padding", registry.Token(padded, machine, "rack 7", at), sized(1001), at, "with zeros up to 1001 bytes"},
		{"shown with padding that is not zero", registry.Token(append(padded, 1), machine, "rack 7", at), sized(1001), at, "with zeros up to 1001 bytes"},
		{"shown with padding, which nobody says", registry.Token(padded, machine, "rack 7", at), is, at, "on a quote with digest"},
		{"a size without padding", good(), sized(len(quote)), at, "want over the quote's 7"},
		{"a size below the quote's", good(), sized(1), at, "want over the quote's 7"},
		{"the greatest size", registry.Token(append(slices.Clone(quote), make([]byte, poclog.MaxShown-len(quote))...), machine, "rack 7", at), sized(poclog.MaxShown), at, ""},
		{"a size over the greatest", good(), sized(poclog.MaxShown + 1), at, "at most 65536"},
	} {
		err := parsed(t, c.token).Check(c.shown, c.at)
		if c.want == "" {
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		wantRefused(t, c.name, err, c.want)
	}
}

// Registries are shown quotes as the system gives them: Azure's have 5,006 bytes, those of configfs
// 8,000.
func TestSizeShownIsFound(t *testing.T) {
	for _, n := range []int{len(quote), len(quote) + 1, 5006, 8000, poclog.MaxShown} {
		padded := append(slices.Clone(quote), make([]byte, n-len(quote))...)
		want := n
		if n == len(quote) {
			want = 0
		}
		if size, ok := parsed(t, registry.BareToken(padded, machine, "rack 7")).SizeShown(quote); !ok || size != want {
			t.Errorf("%d bytes: %d, %t", n, size, ok)
		}
	}
	for _, other := range [][]byte{[]byte("a quotf"), append(slices.Clone(quote), 1), make([]byte, poclog.MaxShown+1)} {
		if size, ok := parsed(t, registry.BareToken(other, machine, "rack 7")).SizeShown(quote); ok {
			t.Errorf("a token on another quote: %d", size)
		}
	}
}

// A kid that names another key than the one that signed is a lie, though the signature counts.
func TestKeyIDMustAgree(t *testing.T) {
	other := endorser.NewAlliance("verify/vouch/alliance", "other").Key()
	header := fmt.Sprintf(`{"alg":"EdDSA","kid":"%s"}`, other)
	tok, err := alliance.Parse(registry.Sign(header, payloadOf(t)))
	if err != nil {
		t.Fatal(err)
	}
	_, err = tok.Signer([]poclog.Digest{other, registry.Key()})
	wantRefused(t, "another's kid", err, "no signature by a key")
}

func payloadOf(t testing.TB) string {
	b, err := base64.RawURLEncoding.DecodeString(strings.Split(string(good()), ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A vector is a token, and whether a reader takes it.
type vector struct {
	Desc   string `json:"desc"`
	Input  string `json:"input"`
	Key    string `json:"key"` // that must have signed it
	Expect string `json:"expect"`
}

func (v *vector) read() error {
	t, err := alliance.Parse([]byte(v.Input))
	if err != nil {
		return err
	}
	key, err := poclog.ParseDigest(v.Key)
	if err != nil {
		return err
	}
	_, err = t.Signer([]poclog.Digest{key})
	return err
}

func makeVectors(t *testing.T) map[string]vector {
	h, p := fmt.Sprintf(`{"alg":"EdDSA","typ":"JWT","kid":"%s"}`, registry.Key()), payloadOf(t)
	tok := string(good())
	parts := strings.Split(tok, ".")
	all := make(map[string]vector)
	add := func(name, desc, expect, input string) {
		v := vector{Desc: desc, Input: input, Key: registry.Key().String(), Expect: expect}
		if (v.read() == nil) != (expect == "ok") {
			t.Errorf("%s: %v: want %s", name, v.read(), expect)
		}
		all[name] = v
	}
	signed := func(name, desc, expect, header, payload string) {
		add(name, desc, expect, string(registry.Sign(header, payload)))
	}
	in := func(s, old, new string) string {
		if !strings.Contains(s, old) {
			t.Fatalf("%q is not in %q", old, s)
		}
		return strings.Replace(s, old, new, 1)
	}
	add("token", "as the alliance's servers make it", "ok", tok)
	signed("bare", "neither typ nor kid", "ok", `{"alg":"EdDSA"}`, p)
	signed("spaced", "white space and another order within what is signed", "ok", `{ "kid" : "`+registry.Key().String()+`" , "alg" : "EdDSA" }`, p)
	signed("chip-id", "a CHIP_ID", "ok", h, in(p, fmt.Sprintf("%x", machine), strings.Repeat("ab", 64)))
	signed("escapes", "a label with escapes of JSON", "ok", h, in(p, "rack 7", `rack \u0037 \"a\"`))

	stamp := fmt.Sprint(at.Unix())
	signed("no-time", "without a time, as the alliance's servers make it in 2026", "ok", h, in(p, `,"timestamp":`+stamp, ""))

	signed("alg-none", "no algorithm", "refused", in(h, "EdDSA", "none"), p)
	signed("alg-other", "another algorithm", "refused", in(h, "EdDSA", "HS256"), p)
	signed("alg-case", "the algorithm in another case", "refused", in(h, "EdDSA", "eddsa"), p)
	signed("alg-missing", "a header without algorithm", "refused", `{"typ":"JWT"}`, p)
	signed("alg-twice", "two algorithms", "refused", in(h, "{", `{"alg":"none",`), p)
	signed("alg-number", "a number for an algorithm", "refused", in(h, `"EdDSA"`, "8"), p)
	signed("crit", "a critical extension", "refused", in(h, "{", `{"crit":["exp"],`), p)
	signed("jwk", "a key of its own", "refused", in(h, "{", `{"jwk":{"kty":"OKP"},`), p)
	signed("typ", "another type", "refused", in(h, "JWT", "JWS"), p)
	signed("kid-other", "another key's kid", "refused", in(h, registry.Key().String(), strings.Repeat("ab", 32)), p)
	signed("kid-upper-case", "a kid in upper case", "refused", in(h, registry.Key().String(), strings.ToUpper(registry.Key().String())), p)
	signed("header-list", "a header that is a list", "refused", "["+h+"]", p)
	signed("header-flat-list", "a header that is a list of names and values", "refused", `["alg","EdDSA"]`, p)
	signed("header-trailing", "something after the header", "refused", h+"{}", p)
	signed("header-deep", "lists in lists", "refused", strings.Repeat("[", 1000), p)
	signed("payload-empty", "an empty payload", "refused", h, "")
	signed("payload-null", "null", "refused", h, "null")
	signed("payload-unknown", "a claim that no one knows", "refused", h, in(p, "{", `{"revoked":1,`))
	signed("payload-twice", "two quotes", "refused", h, in(p, "{", `{"quote_hash":"`+strings.Repeat("00", 32)+`",`))
	signed("payload-case", "a claim's name in another case", "refused", h, in(p, `"label"`, `"Label"`))
	signed("payload-truncated", "a payload cut short", "refused", h, p[:len(p)-1])
	signed("payload-not-utf-8", "a label that is not UTF-8", "refused", h, in(p, "rack", "\xff"))
	signed("quote-hash-short", "a digest of 31 octets", "refused", h, in(p, poclog.Sum(quote).String(), strings.Repeat("00", 31)))
	signed("quote-hash-missing", "no quote", "refused", h, in(p, `"quote_hash":"`+poclog.Sum(quote).String()+`",`, ""))
	signed("machine-truncated", "a shortened machine id", "refused", h, in(p, fmt.Sprintf("%x", machine), "0123"))
	signed("machine-upper-case", "a machine id in upper case", "refused", h, in(p, fmt.Sprintf("%x", machine), strings.Repeat("AB", 16)))
	signed("label-empty", "an empty label", "refused", h, in(p, "rack 7", ""))
	signed("label-long", "a label of 256 bytes", "refused", h, in(p, "rack 7", strings.Repeat("a", 256)))
	signed("label-control", "a label with a terminal's escape", "refused", h, in(p, "rack 7", `\u001b[2J`))
	signed("label-number", "a number for a label", "refused", h, in(p, `"rack 7"`, "7"))
	for name, s := range map[string]string{"float": stamp + ".0", "exponent": "1e9", "exponent-ten": "1780315e03", "negative": "-" + stamp, "text": `"` + stamp + `"`, "ms": stamp + "000", "huge": "99999999999999999999", "zero": "0", "empty": `""`} {
		signed("timestamp-"+name, "a timestamp of another form: "+name, "refused", h, in(p, stamp, s))
	}
	add("empty", "nothing", "refused", "")
	add("two-parts", "no signature", "refused", parts[0]+"."+parts[1])
	add("four-parts", "a part more", "refused", tok+".")
	add("unsigned", "an empty signature", "refused", parts[0]+"."+parts[1]+".")
	add("padded", "base64url with padding", "refused", tok+"==")
	add("line-break", "a line break", "refused", tok+"\n")
	add("line-break-inside", "a line break in the payload", "refused", parts[0]+"."+parts[1][:8]+"\n"+parts[1][8:]+"."+parts[2])
	add("base64-standard", "the other base64", "refused", parts[0]+"."+parts[1]+"."+strings.NewReplacer("-", "+", "_", "/").Replace(parts[2]))
	add("base64-bits", "spare bits that are not zero", "refused", tok[:len(tok)-1]+string(tok[len(tok)-1]+1))
	add("signature-forged", "a bit of the signature changed", "refused", parts[0]+"."+parts[1]+"."+flip(parts[2]))
	add("payload-forged", "another payload under the signature", "refused", parts[0]+"."+base64.RawURLEncoding.EncodeToString([]byte(in(p, "rack", "room")))+"."+parts[2])
	add("longest", "4,096 bytes", "ok", string(ofSize(t, h, p, 4096)))
	add("longer", "4,097 bytes", "refused", string(ofSize(t, h, p, 4097)))
	add("long", "over 4,096 bytes", "refused", tok+strings.Repeat("A", 4096))
	return all
}

// ofSize is a token of a size, by white space within header and payload.
func ofSize(t *testing.T, header, payload string, size int) []byte {
	for h := range 4 {
		for p := range size {
			tok := registry.Sign(header+strings.Repeat(" ", h), payload+strings.Repeat(" ", p))
			if len(tok) == size {
				return tok
			}
			if len(tok) > size {
				break
			}
		}
	}
	t.Fatalf("no token of %d bytes", size)
	return nil
}

func flip(s string) string {
	c := byte('A')
	if s[0] == 'A' {
		c = 'B'
	}
	return string(c) + s[1:]
}

func TestVectors(t *testing.T) {
	if vectors.Updating() {
		vectors.Write(t, "testdata", makeVectors(t))
	}
	vectors.Each(t, "testdata", func(t *testing.T, v vector) {
		if err := v.read(); (v.Expect == "ok") != (err == nil) {
			t.Errorf("%s: %v: want %s", v.Desc, err, v.Expect)
		}
	})
}

// Nothing in a token can be changed, and none has two forms.
func TestEveryByteOfATokenCounts(t *testing.T) {
	tok := good()
	for i := range tok {
		for _, mask := range []byte{1, 2, 0x20, 0x80} {
			forged := slices.Clone(tok)
			forged[i] ^= mask
			v := vector{Input: string(forged), Key: registry.Key().String()}
			if v.read() == nil {
				t.Errorf("byte %d changed by %#x: accepted", i, mask)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(good())
	f.Add(registry.Sign(`{"alg":"EdDSA"}`, payloadOf(f)))
	f.Add([]byte("e30.e30.e30"))
	f.Fuzz(func(t *testing.T, b []byte) {
		tok, err := alliance.Parse(b)
		if err != nil {
			wantRefused(t, "token", err, "token: ")
			return
		}
		parts := strings.Split(string(b), ".")
		for _, p := range parts {
			raw, err := base64.RawURLEncoding.DecodeString(p)
			if err != nil || base64.RawURLEncoding.EncodeToString(raw) != p {
				t.Errorf("%q is accepted, in another form than its own", p)
			}
		}
		if !poclog.CanSay(tok.Label) || !tok.Time.IsZero() && (tok.Time.Year() < 2001 || tok.Time.Year() > 2286) || len(tok.Machine) != 32 && len(tok.Machine) != 128 {
			t.Errorf("%+v", tok)
		}
		if _, err := tok.Signer([]poclog.Digest{registry.Key()}); err == nil && string(b) != string(good()) && !strings.HasPrefix(string(b), "eyJhbGciOiJFZERTQSJ9.") {
			t.Errorf("forged: %q", b)
		}
	})
}
