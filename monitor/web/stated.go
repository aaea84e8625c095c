package web

import (
	"context"
	"slices"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/monitor"
)

// A statedRow is a statement on a page: a registrar's words.
type statedRow struct {
	monitor.EntryRef
	Time      time.Time
	Type      poclog.StatementType
	Registrar string
	Says      string
	Documents []documentLink
}

// A documentLink is a download from the log: never shown, and of a type that is the registrar's
// word.
type documentLink struct{ URL, Type string }

const statementsShown = 50

// registered adds what registrars say of an identity, the newest statements first.
func (s *Server) registered(ctx context.Context, b *identityBody) (err error) {
	reg := s.cfg.Registry
	if reg == nil {
		return nil
	}
	if b.Standings, err = reg.Standings(ctx, b.Identity); err != nil {
		return err
	}
	for x, err := range reg.Statements(ctx, b.Identity) {
		if err != nil {
			return err
		}
		st := &x.Entry.Envelope.Statement
		row := statedRow{EntryRef: monitor.EntryRef{Origin: x.Origin, Index: x.Index}, Time: x.Entry.Time, Type: st.Type, Registrar: st.Registrar, Says: st.Words()}
		for _, d := range st.Documents {
			link := documentLink{d.URL, d.Type}
			if d.URL == "" {
				link.URL = reg.Document(ctx, x.Origin, d.SHA256)
			}
			row.Documents = append(row.Documents, link)
		}
		b.Stated = append(b.Stated, row)
	}
	slices.Reverse(b.Stated)
	b.Stated = b.Stated[:min(len(b.Stated), statementsShown)]
	return nil
}
