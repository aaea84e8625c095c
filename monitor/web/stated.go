package web

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/httpd"
	"github.com/poclog/poclog/monitor"
	"github.com/poclog/poclog/monitor/registrars"
	"github.com/poclog/poclog/verify/vouch/registry"
)

// A statedRow is a statement on a page: a registrar's words.
type statedRow struct {
	monitor.EntryRef
	Time      time.Time
	Type      poclog.StatementType
	Registrar string
	Subject   poclog.Identity // empty of a commitment
	Says      string
	Documents []documentLink
}

// A documentLink is a download: never shown, and of a type that is the registrar's word.
type documentLink struct {
	URL, Type string
	Size      uint32
	SHA256    poclog.Digest
	Elsewhere bool // it is not the log's
}

const statementsShown = 50

// rowOf is a statement's row. logs are where documents are.
func rowOf(x *monitor.Stated, logs []monitor.LogInfo) statedRow {
	st := &x.Entry.Envelope.Statement
	row := statedRow{EntryRef: monitor.EntryRef{Origin: x.Origin, Index: x.Index}, Time: x.Entry.Time, Type: st.Type, Registrar: st.Registrar, Subject: st.Subject, Says: st.Words()}
	for _, d := range st.Documents {
		link := documentLink{d.URL, d.Type, d.Size, d.SHA256, d.URL != ""}
		if d.URL == "" {
			link.URL = kept(logs, x.Origin, d.SHA256)
		}
		row.Documents = append(row.Documents, link)
	}
	return row
}

// kept is where a log serves what it keeps, or "".
func kept(logs []monitor.LogInfo, origin string, digest poclog.Digest) string {
	for _, l := range logs {
		if u, err := url.Parse(l.URL); l.Origin == origin && err == nil {
			return u.JoinPath("v1/evidence/sha256", digest.String()).String()
		}
	}
	return ""
}

// statements reads rows, and at most so many.
func (s *Server) statements(ctx context.Context, f monitor.StatedFilter) (rows []statedRow, err error) {
	logs, err := s.folder.Logs(ctx)
	if err != nil {
		return nil, err
	}
	for x, err := range s.folder.Statements(ctx, f) {
		if err != nil {
			return nil, err
		}
		rows = append(rows, rowOf(x, logs))
	}
	return rows, nil
}

// registered adds what registrars say of an identity, the newest statements first.
func (s *Server) registered(ctx context.Context, b *identityBody) (err error) {
	if b.Standings, err = s.standingsOf(ctx, b.Identity); err != nil {
		return err
	}
	b.Stated, err = s.statements(ctx, monitor.StatedFilter{Subject: b.Identity, Newest: true, Most: statementsShown})
	return err
}

// TakenBack is the standings of those who froze or revoked it: they are said beside the verdict, for
// what a registrar took back must not look well at a glance.
func (b identityBody) TakenBack() (list []registry.Standing) {
	for i := range b.Standings {
		if x := &b.Standings[i]; stateOf(x) == states[0] || stateOf(x) == states[1] {
			list = append(list, *x)
		}
	}
	return list
}

// standingsOf says what the pinned registrars say of an identity now.
func (s *Server) standingsOf(ctx context.Context, id poclog.Identity) ([]registry.Standing, error) {
	return registrars.Standings(ctx, s.folder, s.cfg.Pins, id, s.cfg.Clock())
}

// A registrarRow is a registrar in the list.
type registrarRow struct {
	Name       string    `json:"name"`
	Pinned     bool      `json:"pinned"` // the monitor's operator believes it about machines
	Members    int       `json:"members,omitempty"`
	Statements int       `json:"statements"`
	Subjects   int       `json:"subjects"`
	Endorsed   int       `json:"endorsed"` // of a pinned one
	Revoked    int       `json:"revoked"`
	Frozen     int       `json:"frozen"`
	First      time.Time `json:"first,omitzero"`
	Last       time.Time `json:"last,omitzero"`
	said       []saidRow
}

// A saidRow is what a pinned registrar says of a machine.
type saidRow struct {
	registrars.Said
	State string `json:"state"` // "frozen", "revoked", "endorsed" or "not endorsed"
}

var states = []string{"frozen", "revoked", "endorsed", "not endorsed"}

func stateOf(x *registry.Standing) string {
	switch {
	case x.Frozen != nil:
		return states[0]
	case x.Withdrawn() != nil:
		return states[1]
	case x.Endorsed:
		return states[2]
	}
	return states[3]
}

// registrarsOf draws the registrars together: those who stated something, and those who are pinned.
func (s *Server) registrarsOf(ctx context.Context) (list []*registrarRow, err error) {
	counted, err := s.folder.Registrars(ctx)
	if err != nil {
		return nil, err
	}
	byName := make(map[string]*registrarRow)
	row := func(name string) *registrarRow {
		if byName[name] == nil {
			byName[name] = &registrarRow{Name: name}
			list = append(list, byName[name])
		}
		return byName[name]
	}
	for _, c := range counted {
		r := row(c.Registrar)
		r.Statements, r.Subjects, r.First, r.Last = c.Statements, c.Subjects, c.First, c.Last
	}
	if s.cfg.Pins != nil {
		for _, name := range s.cfg.Pins.Names() {
			r := row(name)
			r.Pinned, r.Members = true, len(s.cfg.Pins.Listed(name).Keys)
		}
	}
	said, err := registrars.All(ctx, s.folder, s.cfg.Pins, s.cfg.Clock())
	if err != nil {
		return nil, err
	}
	for _, x := range said {
		r, state := row(x.Registrar), stateOf(&x.Standing)
		switch r.said = append(r.said, saidRow{x, state}); state {
		case "frozen":
			r.Frozen++
		case "revoked":
			r.Revoked++
		case "endorsed":
			r.Endorsed++
		}
	}
	for _, r := range list {
		slices.SortStableFunc(r.said, func(a, b saidRow) int {
			return cmp.Or(cmp.Compare(slices.Index(states, a.State), slices.Index(states, b.State)), cmp.Compare(a.Subject, b.Subject))
		})
	}
	slices.SortFunc(list, func(a, b *registrarRow) int {
		if a.Pinned != b.Pinned && a.Pinned {
			return -1
		} else if a.Pinned != b.Pinned {
			return 1
		}
		return cmp.Compare(a.Name, b.Name)
	})
	return list, nil
}

func (s *Server) registrarsPage(w http.ResponseWriter, r *http.Request) (string, *page, error) {
	a, snap, err := s.askedList(r)
	if err != nil {
		return "", nil, err
	}
	rows := pick(snap.registrars, a.text == "", func(x *registrarRow) bool { return strings.Contains(strings.ToLower(x.Name), a.text) })
	l, err := serveList(s, w, r, a, rows, []column[*registrarRow]{
		{"registrar", func(x *registrarRow) string { return x.Name }},
		{"pinned", func(x *registrarRow) string { return fmt.Sprint(x.Pinned) }},
		{"members", func(x *registrarRow) string { return fmt.Sprint(x.Members) }},
		{"statements", func(x *registrarRow) string { return fmt.Sprint(x.Statements) }},
		{"subjects", func(x *registrarRow) string { return fmt.Sprint(x.Subjects) }},
		{"endorsed", func(x *registrarRow) string { return fmt.Sprint(x.Endorsed) }},
		{"revoked", func(x *registrarRow) string { return fmt.Sprint(x.Revoked) }},
		{"frozen", func(x *registrarRow) string { return fmt.Sprint(x.Frozen) }},
		{"newest", func(x *registrarRow) string { return x.Last.Format(time.RFC3339) }},
	})
	if l == nil || err != nil {
		return "", nil, err
	}
	return "registrars", &page{Title: "Registrars", Section: "registrars", Description: "Who vouches for machines in the logs", Body: l}, nil
}

// registrarBody is one registrar.
type registrarBody struct {
	*registrarRow
	Listed   *poclog.Registrar // nil: the monitor's operator does not pin it
	Keys     []memberKey
	Machines *list
	Newest   []statedRow
	All      string // address of all statements
}

// A memberKey is a member's public key, and what a statement's entry calls it.
type memberKey struct {
	Key    string
	Digest poclog.Digest
}

func (s *Server) registrarPage(w http.ResponseWriter, r *http.Request) (string, *page, error) {
	a, snap, err := s.askedList(r)
	if err != nil {
		return "", nil, err
	}
	name := r.URL.Query().Get("name")
	i := slices.IndexFunc(snap.registrars, func(x *registrarRow) bool { return x.Name == name })
	if i < 0 {
		return "", nil, httpd.Refuse(httpd.KindNotFound, "no registrar %.128q stated anything in the logs that are read here", name)
	}
	b := registrarBody{registrarRow: snap.registrars[i], All: "/statements?" + url.Values{"registrar": {name}}.Encode()}
	b.Machines, err = serveList(s, w, r, a, b.said, []column[saidRow]{
		{"machine", func(x saidRow) string { return string(x.Subject) }},
		{"state", func(x saidRow) string { return x.State }},
		{"label", func(x saidRow) string { return x.Label }},
		{"level", func(x saidRow) string { return fmt.Sprint(x.Level) }},
		{"log", func(x saidRow) string { return x.Origin }},
	})
	if b.Machines == nil || err != nil {
		return "", nil, err
	}
	if s.cfg.Pins != nil {
		b.Listed = s.cfg.Pins.Listed(name)
	}
	if b.Listed != nil {
		for _, text := range b.Listed.Keys {
			if k, err := poclog.ParsePublisherKey(text); err == nil {
				b.Keys = append(b.Keys, memberKey{text, k.Digest})
			}
		}
	}
	if b.Newest, err = s.statements(r.Context(), monitor.StatedFilter{Registrar: name, Newest: true, Most: statementsShown}); err != nil {
		return "", nil, err
	}
	return "registrar", &page{Title: name, Section: "registrars", Description: fmt.Sprintf("What the registrar %s stated in the logs: %d statements", name, b.Statements), Body: b}, nil
}

// statementsPage lists statements, the newest first.
func (s *Server) statementsPage(w http.ResponseWriter, r *http.Request) (string, *page, error) {
	a, snap, err := s.askedList(r)
	if err != nil {
		return "", nil, err
	}
	name, of := r.URL.Query().Get("registrar"), 0
	for _, x := range snap.registrars {
		if name == "" || x.Name == name {
			of += x.Statements
		}
	}
	l := &list{Of: of, From: a.from + 1, Q: name}
	rows, err := s.statements(r.Context(), monitor.StatedFilter{Registrar: name, Newest: true, Skip: a.from, Most: rowsOfPage})
	if err != nil {
		return "", nil, err
	}
	l.Rows, l.To = rows, a.from+len(rows)
	l.turn(r.URL, a.from, max(of, l.To))
	l.From = min(l.From, l.To)
	return "statements", &page{Title: "Statements", Section: "registrars", Description: "What registrars stated, the newest first", Body: l}, nil
}

// statementBody is the entry of a statement.
type statementBody struct {
	statedRow
	Leaf    poclog.Digest
	Seen    time.Time
	Signers []poclog.Digest
	Policy  string // address of the policy by which the log admitted it
	Pinned  bool
}

func (s *Server) statementPage(ctx context.Context, rec *monitor.Record) (string, *page, error) {
	logs, err := s.folder.Logs(ctx)
	if err != nil {
		return "", nil, err
	}
	ref := refOf(rec)
	for x, err := range s.folder.Statements(ctx, monitor.StatedFilter{Ref: ref}) {
		if err != nil {
			return "", nil, err
		}
		b := statementBody{statedRow: rowOf(x, logs), Leaf: rec.Leaf, Seen: x.Seen, Signers: x.Entry.Signers, Policy: kept(logs, x.Origin, x.Entry.Policy.SHA256)}
		b.Pinned = s.cfg.Pins != nil && s.cfg.Pins.Listed(b.Registrar) != nil
		return "statement", &page{Title: fmt.Sprintf("Entry %d", ref.Index), Section: "registrars", Description: fmt.Sprintf("Entry %d of %s: what a registrar states", ref.Index, ref.Origin), Body: b}, nil
	}
	return "", nil, httpd.Refuse(httpd.KindNotFound, "this monitor leaves the log %.80q alone", ref.Origin)
}
