package agree

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/testlog"
	"github.com/poclog/poclog/verify"
	"github.com/poclog/poclog/verify/dossier"
	"github.com/poclog/poclog/verify/index"
	"github.com/poclog/poclog/verify/receipt"
	"github.com/poclog/poclog/verify/tlogpolicy"
	"github.com/poclog/poclog/verify/vouch/registry"
)

// standing is a receipt, what registrars stated of its machine in a log or two, and whom a reader
// believes.
func (c *corpus) standing(m *mutator) question {
	entry, machine := c.machine(m)
	n := 1 + m.IntN(3)
	f := m.fleet(machine)
	x := c.stating(m, origin, entry, machine, f, n)
	q := question{Op: "standing", from: "a receipt, a dossier with statements, and pins"}
	x.ask(m, &q)
	q.Policy = []byte(pick(m, c.world.policies[2:4]))
	q.Demands["level"] = 0
	if !m.chance(8) {
		q.Demands["realm"] = strings.Trim(entry.get("realm").raw, `"`)
	}
	q.Time = strings.Trim(at(x.at+pick(m, []int64{60, day, 14 * day, 40 * day})), `"`)
	number := uint64(m.IntN(len(x.placed)))
	if x.placed[number].challenge == nil {
		number = 0
	}
	q.File = x.receipt(number)
	q.Dossiers = [][]byte{m.spoilt(x.dossier(m))}
	if m.chance(6) {
		q.Dossiers = append(q.Dossiers, c.stating(m, other, entry, machine, f, n).dossier(m).bytes(false))
	}
	q.Pins = m.pins(n)
	if !m.chance(3) {
		q.Demands["endorsedBy"] = []string{pick(m, []string{"alliance", "alliance@1", "alliance@2", "alliance@3", "house@1", "nobody@1"})}
	}
	if f != nil && !m.chance(3) {
		o, err := f.Open(poclog.Identity(pick(m, machine)))
		if err == nil {
			file, err := o.Marshal()
			if err != nil {
				panic(err)
			}
			if m.chance(6) {
				file = m.tree(parseTree(file)).bytes(false)
			}
			q.Openings = [][]byte{file}
		}
	}
	return q
}

// machine is a proof, and the identities that it states.
func (c *corpus) machine(m *mutator) (entry *tree, ids []string) {
	for len(ids) == 0 {
		entry = c.leaf(m)
		for range m.IntN(4) {
			m.claim(entry)
		}
		e, err := poclog.ParseEntry(entry.bytes(false))
		if err != nil {
			continue
		}
		for _, name := range dossier.StatementNamesFor(e) {
			ids = append(ids, strings.TrimPrefix(name, index.Statements))
		}
	}
	return entry, ids
}

// fleet is a private one, now and then with the machine; nil: none.
func (m *mutator) fleet(machine []string) *fleet {
	if m.chance(2) {
		return nil
	}
	var all []registry.Machine
	for i := range 1 + m.IntN(5) {
		all = append(all, registry.Machine{Identity: poclog.Identity(hexID("intel:tdx:ppid:", 16, 100+i)), Salt: poclog.Sum([]byte{byte(i)})})
	}
	if !m.chance(4) {
		all = append(all, registry.Machine{Identity: poclog.Identity(pick(m, machine)), Salt: poclog.Sum([]byte("salt"))})
	}
	f, err := registry.NewFleet(all)
	if err != nil {
		panic(err)
	}
	return &fleet{f, len(all)}
}

// A fleet is one of so many machines.
type fleet struct {
	*registry.Fleet
	size int
}

// stating is a log in which the machine proves itself, and registrars of n members state something
// of it.
func (c *corpus) stating(m *mutator, name string, entry *tree, machine []string, f *fleet, n int) *indexed {
	x := &indexed{w: c.world, log: &testlog.Log{Origin: name}, key: c.world.log, numbers: map[string][]uint64{}, at: start}
	if name == other {
		x.key = c.world.log2
	}
	serials := map[string]int{}
	var before [][]byte
	for i := range uint64(2 + m.IntN(7)) {
		x.at += pick(m, []int64{30, 3600, day, 9 * day, 14 * day})
		if i == 0 || m.chance(4) {
			e := entry.clone()
			e.set(pick(m, []string{`"eu"`, `"us-central1"`, `"us-east1"`}), "place", "region", "value")
			leaf, p := x.prove(m, i, e)
			x.add(m, leaf, p)
			continue
		}
		subject := machine[m.IntN(len(machine)*3)%len(machine)]
		serials[subject] = max(1, serials[subject]+pick(m, []int{1, 1, 1, 1, 2, 0}))
		s := m.statement(subject, serials[subject], before)
		s = m.about(s, name, entry, f)
		before = append(before, s)
		x.add(m, m.statementLeaf(m.sealed(s, n), x.at+int64(m.IntN(90))), placed{at: x.at})
	}
	for _, id := range machine {
		x.asked = append(x.asked, id, index.Unproven+id, index.Statements+id)
	}
	x.asked = append(x.asked, index.RegistrarName("alliance"))
	x.finish(m, m.chance(12))
	return x
}

// about makes a statement one for a log, of a fleet, and of places where the machine is.
func (m *mutator) about(s []byte, log string, entry *tree, f *fleet) []byte {
	if log == other {
		s = bytes.ReplaceAll(s, []byte(quote(origin)), []byte(quote(other)))
	}
	if f != nil && bytes.Contains(s, []byte(`"root":`)) {
		at := bytes.Index(s, []byte(`"root":`))
		end := bytes.Index(s, []byte(`,"level":`))
		s = fmt.Appendf(nil, `%s"root":"%s","count":%d%s`, s[:at], f.Root(), f.size+m.IntN(20)/19, s[end:])
	}
	if v := entry.get("place", "provider", "value"); v != nil {
		provider := []byte(`{"provider":` + v.raw)
		if m.chance(2) {
			provider = append(provider, `,"region":`+pick(m, []string{`"eu"`, `"us-central1"`, `"us-east1"`})...)
		}
		s = bytes.ReplaceAll(s, []byte(`{"provider":"acme"}`), append(provider, '}'))
		s = bytes.ReplaceAll(s, []byte(`{"provider":"b"}`), []byte(`{"provider":`+v.raw+`,"region":`+pick(m, []string{`"eu"`, `"us-central1"`, `"us-east1"`})+`}`))
	}
	return s
}

// pins is a reader's file of registrars: of some, of none, or spoilt.
func (m *mutator) pins(n int) []byte {
	p := poclog.Pins{V: 1}
	if !m.chance(20) {
		if err := json.Unmarshal(listOf(m, n), &p.Registrars); err != nil {
			panic(err)
		}
		for i := range p.Registrars {
			t := &p.Registrars[i].Thresholds
			if !m.chance(3) {
				t.Endorse, t.Commit = 1, 1
			}
		}
	}
	file, err := p.Marshal()
	if err != nil {
		panic(err)
	}
	if m.chance(30) {
		return m.bytes(file)
	}
	return file
}

// checkStanding answers whether a receipt passes, and what the registrars say of each identity.
func checkStanding(q *question, policy *tlogpolicy.Policy) (string, error) {
	now, err := time.Parse(time.RFC3339, q.Time)
	if err != nil {
		return "", err
	}
	realm, _ := q.Demands["realm"].(string)
	d := dossier.Demands{UnsafeRealm: poclog.Realm(realm)}
	pins, err := poclog.ParsePins(q.Pins)
	if err != nil {
		return "", plain(err)
	}
	if d.Registrars, err = registry.New(pins.Registrars); err != nil {
		return "", plain(err)
	}
	for _, file := range q.Openings {
		o, err := poclog.ParseOpening(file)
		if err != nil {
			return "", plain(err)
		}
		d.Openings = append(d.Openings, o)
	}
	if by, ok := q.Demands["endorsedBy"].([]string); ok {
		name, level, _ := strings.Cut(by[0], "@")
		d.EndorsedBy = []dossier.Endorser{{Name: name, Level: uint32((level + "1")[0] - '0')}}
	}
	subjects := "null"
	if a, err := dossier.Check(q.Dossiers[0], policy, now, d); err == nil && len(a.Subjects) > 0 {
		b, err := json.Marshal(a.Subjects)
		if err != nil {
			return "", err
		}
		subjects = string(b)
	}
	v, err := receipt.Check(q.File, policy, now, receipt.Demands{UnsafeLevel0: true, UnsafeRealm: d.UnsafeRealm})
	if err == nil {
		err = standBeside(q, policy, now, d, v)
	}
	if step, failed := verify.CheckOf(err); failed {
		return string(step) + " " + subjects, nil
	}
	if err != nil {
		return "", err
	}
	return string(v.Verdict) + " " + subjects, nil
}
