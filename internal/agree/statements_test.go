package agree

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/vouch/dsse"
	"github.com/poclog/poclog/verify/vouch/registry"
)

// A register is what registrars stated of one subject, in the order in which it came to a log.
type register struct {
	Subject string           `json:"subject"`
	Listed  json.RawMessage  `json:"listed"` // by the log
	Pinned  json.RawMessage  `json:"pinned"` // by the reader
	Stated  []statedEnvelope `json:"stated"`
	Size    uint64           `json:"size"`
	Now     int64            `json:"now"` // Unix seconds, as the other times
	T2      int64            `json:"t2"`  // of a proof
}

type statedEnvelope struct {
	Number   uint64 `json:"number"`
	Logged   int64  `json:"logged"`
	Bounded  bool   `json:"bounded"` // logged is the entry's t2
	Envelope []byte `json:"envelope"`
}

// member is one of whoever signs statements: Ed25519, but for one.
func member(i int) crypto.Signer {
	seed := sha256.Sum256(fmt.Appendf(nil, "member %d", i))
	if i == 3 {
		k, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), seed[:])
		if err != nil {
			panic(err)
		}
		return k
	}
	return ed25519.NewKeyFromSeed(seed[:])
}

func publicKey(i int) *poclog.PublisherKey {
	k, err := poclog.NewPublisherKey(member(i).Public())
	if err != nil {
		panic(err)
	}
	return k
}

// registrar has members from a number on.
func registrar(m *mutator, name string, first, n int) poclog.Registrar {
	t := func() int { return 1 + m.IntN(n) }
	r := poclog.Registrar{Name: name, Thresholds: poclog.Thresholds{Endorse: t(), Revoke: t(), Move: t(), Freeze: 1, Commit: t()}}
	for i := range n {
		r.Keys = append(r.Keys, publicKey(first+i).String())
	}
	sort.Strings(r.Keys)
	return r
}

// listOf is a list of registrars of n members each.
func listOf(m *mutator, n int) json.RawMessage {
	list := []poclog.Registrar{registrar(m, "alliance", m.IntN(20)/19, n)}
	if m.chance(2) {
		list = append(list, registrar(m, "house", 0, n))
	}
	b, err := json.Marshal(list)
	if err != nil {
		panic(err)
	}
	return b
}

const day = 86400

// span begins and ends on one of few days.
func (m *mutator) span() (from, until int64) {
	from = start + int64(m.IntN(4)*10*day)
	return from, from + int64(pick(m, []int{1, 10 * day, 30 * day, 300 * day}))
}

func at(t int64) string { return quote(time.Unix(t, 0).UTC().Format(time.RFC3339)) }

var places = []string{`{"provider":"acme"}`, `{"provider":"acme","region":"eu"}`, `{"provider":"acme","region":"eu","zone":"a"}`, `{"provider":"b"}`}

// statement is one on a subject that follows some others. It is canonical JSON: most often in its
// form.
func (m *mutator) statement(subject string, serial int, before [][]byte) []byte {
	kind := pick(m, []string{"endorse", "endorse", "endorse", "revoke", "freeze", "freeze", "thaw", "move", "commit"})
	from, until := m.span()
	head := fmt.Sprintf(`{"v":1,"type":%s,"origin":%s,"registrar":%s`, quote(kind), quote(pick(m, []string{origin, origin, origin, origin, origin, origin, other})), quote(pick(m, []string{"alliance", "alliance", "house"})))
	if kind != "commit" {
		head += `,"subject":` + quote(subject)
	}
	head += fmt.Sprintf(`,"serial":%d`, serial)
	switch kind {
	case "endorse":
		head += fmt.Sprintf(`,"level":%d,"method":"visit","label":"rack %d"`, 1+m.IntN(3), m.IntN(9))
		if m.chance(2) {
			head += `,"place":` + pick(m, places)
		}
		head += `,"from":` + at(from) + `,"until":` + at(until)
	case "revoke":
		if m.chance(2) && len(before) > 0 {
			head += fmt.Sprintf(`,"of":"%x"`, sha256.Sum256(pick(m, before)))
		}
		head += `,"since":` + at(from) + `,"reason":` + quote(pick(m, []string{"mistake", "machine-sold"}))
	case "move":
		head += `,"source":` + pick(m, places) + `,"target":` + pick(m, places) + `,"from":` + at(from) + `,"until":` + at(until)
	case "commit":
		head += fmt.Sprintf(`,"root":"%064x","count":%d,"level":1,"from":%s,"until":%s`, 1+m.IntN(9), 1+m.IntN(9), at(from), at(until))
	}
	if (kind == "freeze" || kind == "thaw" || kind == "revoke") && m.chance(4) {
		head += `,"text":"why"`
	}
	return []byte(head + "}")
}

// sealed is a statement's envelope with signatures of most of n members: one twice, or wrong, now
// and then.
func (m *mutator) sealed(statement []byte, n int) []byte {
	message := registry.Message(statement)
	var signatures []string
	for i := range n + m.IntN(30)/29 {
		if m.chance(6) {
			continue
		}
		id, err := dsse.KeyID(publicKey(i))
		if err != nil {
			panic(err)
		}
		key := member(i)
		var sig []byte
		if k, ok := key.(*ecdsa.PrivateKey); ok {
			digest := sha256.Sum256(message)
			sig, err = k.Sign(nil, digest[:], crypto.SHA256)
		} else {
			sig, err = key.Sign(nil, message, crypto.Hash(0))
		}
		if err != nil {
			panic(err)
		}
		if m.chance(30) {
			sig[m.IntN(len(sig))] ^= 1
		}
		for range pick(m, []int{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2}) {
			signatures = append(signatures, fmt.Sprintf(`{"keyid":%s,"sig":%s}`, quote(id), quote(b64(sig))))
		}
	}
	m.Shuffle(len(signatures), func(i, j int) { signatures[i], signatures[j] = signatures[j], signatures[i] })
	return fmt.Appendf(nil, `{"payloadType":"application/vnd.poclog.statement+json","payload":%s,"signatures":[%s]}`, quote(b64(statement)), strings.Join(signatures, ","))
}

// stated is what registrars stated of a subject.
func (c *corpus) stated(m *mutator) question {
	subject := pick(m, []string{hexID("intel:tdx:ppid:", 16, 1), "gce:instance:1:1"})
	n := 1 + m.IntN(4)
	r := &register{Subject: subject, Listed: listOf(m, n), Pinned: listOf(m, n), Now: start + int64(m.IntN(60)*day), Size: uint64(m.IntN(40))}
	r.T2 = r.Now - int64(m.IntN(30)*day) + int64(pick(m, []int{0, -60, -61, -59}))
	if m.chance(2) {
		r.Pinned = r.Listed
	}
	serial, logged := 0, int64(start)
	var before [][]byte
	for i := range uint64(1 + m.IntN(7)) {
		serial = max(0, serial+pick(m, []int{1, 1, 1, 1, 1, 1, 2, 0, -1, 1001, 1002}))
		logged += int64(pick(m, []int{0, 1, day, 7 * day, 14*day - 1, 14 * day, 14*day + 1}))
		s := m.statement(pick(m, []string{subject, subject, subject, subject, subject, "gce:instance:1:2"}), max(1, serial), before)
		before = append(before, s)
		r.Stated = append(r.Stated, statedEnvelope{3 * i, logged, !m.chance(4), m.sealed(s, n)})
	}
	return question{Op: "stated", from: "what registrars stated", Register: r}
}

// asRegistrars answers what a log admits, and what a reader makes of all that came.
func asRegistrars(r *register) (string, error) {
	listed, err := registrarsOf(r.Listed)
	if err != nil {
		return "", err
	}
	pinned, err := registrarsOf(r.Pinned)
	if err != nil {
		return "", err
	}
	var out []string
	var all []registry.Stated
	admitted := map[string]*registry.History{} // by registrar and subject
	for _, s := range r.Stated {
		v, err := poclog.ParseStatementEnvelope(s.Envelope)
		if err != nil {
			return "", plain(err)
		}
		logged := time.Unix(s.Logged, 0).UTC()
		all = append(all, registry.Stated{Number: s.Number, Logged: logged, Bounded: s.Bounded, Envelope: v})
		name := v.Statement.Registrar + " " + string(v.Statement.Subject)
		if admitted[name] == nil {
			admitted[name] = new(registry.History)
		}
		_, err = listed.Admit(v, origin, admitted[name])
		check, _ := verify.CheckOf(err)
		if err == nil {
			check = "ok"
			_, err = admitted[name].Add(&v.Statement, logged)
		}
		if check == "ok" && err != nil {
			return "", err
		}
		out = append(out, string(check))
	}
	now := time.Unix(r.Now, 0).UTC()
	for _, s := range pinned.Of(all, origin, poclog.Identity(r.Subject), r.Size, now) {
		said, err := json.Marshal(s)
		if err != nil {
			return "", err
		}
		out = append(out, string(said))
		for level := range uint32(3) {
			out = append(out, fmt.Sprintf("%t %t", s.Vouches(level+1, time.Unix(r.T2, 0).UTC(), now) == nil, s.Vouches(level+1, time.Time{}, now) == nil))
		}
		out = append(out, fmt.Sprintf("objects %t %t", s.Objects(time.Unix(r.T2, 0).UTC(), now) != nil, s.Objects(time.Time{}, now) != nil))
		acme, b := poclog.StatedPlace{Provider: "acme"}, poclog.StatedPlace{Provider: "b"}
		out = append(out, fmt.Sprintf("explains %t", s.Explains(acme, b, time.Unix(r.T2, 0).UTC(), time.Unix(r.T2-20*day, 0).UTC()) != nil))
	}
	for _, name := range pinned.Names() {
		if s := pinned.Commitment(all, origin, name, r.Size); s != nil {
			out = append(out, fmt.Sprintf("%s committed to %s", name, s.Root))
		}
	}
	return strings.Join(out, "; "), nil
}

func registrarsOf(list json.RawMessage) (*registry.Registrars, error) {
	var r []poclog.Registrar
	if err := json.Unmarshal(list, &r); err != nil {
		return nil, err
	}
	return registry.New(r)
}

// A leaf of kind "statement", as a log may publish it.
func (m *mutator) statementLeaf(e []byte, time int64) []byte {
	v, err := poclog.ParseStatementEnvelope(e)
	if err != nil {
		return []byte(`{"v":1,"kind":"statement"}`)
	}
	var signers []string
	for i := range v.Signatures {
		signers = append(signers, quote(fmt.Sprintf("%064x", i+1)))
	}
	if m.chance(10) {
		signers = append(signers, signers[0])
	}
	slices.Sort(signers)
	return fmt.Appendf(nil, `{"v":1,"kind":"statement","envelope":%s,"signers":[%s],"policy":{"sha256":"%064x","size":6},"time":%s}`, e, strings.Join(signers, ","), 7, at(time))
}
