package web

import (
	"encoding/xml"
	"net/http"
	"slices"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/httpd"
	"github.com/poclog/poclog/monitor"
)

// An atomFeed is RFC 4287's. Entries have no address of a host: the feed's reader knows it.
type atomFeed struct {
	XMLName xml.Name    `xml:"http://www.w3.org/2005/Atom feed"`
	ID      string      `xml:"id"`
	Title   string      `xml:"title"`
	Updated string      `xml:"updated"`
	Link    atomLink    `xml:"link"`
	Entries []atomEntry `xml:"entry"`
}

type atomEntry struct {
	ID       string       `xml:"id"`
	Title    string       `xml:"title"`
	Updated  string       `xml:"updated"`
	Author   string       `xml:"author>name"`
	Category atomCategory `xml:"category"`
	Link     atomLink     `xml:"link"`
	Summary  string       `xml:"summary"`
}

type atomLink struct {
	Rel  string `xml:"rel,attr,omitempty"`
	Href string `xml:"href,attr"`
}

type atomCategory struct {
	Term string `xml:"term,attr"`
}

// serveFeed gives alerts as Atom: all, or those about an identity.
func (s *Server) serveFeed(w http.ResponseWriter, r *http.Request) error {
	a := AlertsAnswer{}
	title := "Alerts of a Proof-of-Cloud monitor"
	find := func() error { return s.newest(r.Context(), monitor.AlertFilter{}, rowsOfPage, &a) }
	if text := r.PathValue("id"); text != "" {
		id, err := poclog.ParseIdentity(text)
		if err != nil {
			return httpd.Refuse(httpd.KindMalformed, "%w", err)
		}
		title = "Alerts about " + string(id)
		find = func() (err error) { a.Alerts, err = s.alertsAbout(r.Context(), id); return err }
	}
	if err := s.within(r.Context(), s.scans, "scans", find); err != nil {
		return err
	}
	f := atomFeed{ID: "tag:poclog.dev,2026:feed:" + r.URL.Path, Title: title, Updated: time.Unix(0, 0).UTC().Format(time.RFC3339), Link: atomLink{"self", r.URL.Path}}
	for _, alert := range slices.Backward(a.Alerts[max(0, len(a.Alerts)-rowsOfPage):]) {
		at := alert.Time.UTC().Format(time.RFC3339)
		if len(f.Entries) == 0 {
			f.Updated = at
		}
		f.Entries = append(f.Entries, atomEntry{
			ID: "tag:poclog.dev,2026:alert:" + alert.ID, Title: string(alert.Severity) + ": " + alert.Rule, Updated: at, Author: "poclog monitor",
			Category: atomCategory{string(alert.Severity)}, Link: atomLink{"alternate", "/alert/" + alert.ID}, Summary: alert.Seen + " " + alert.Meaning,
		})
	}
	b, err := xml.MarshalIndent(f, "", " ")
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/atom+xml; charset=utf-8")
	w.Header().Set("Cache-Control", "no-cache")
	return s.writeAnswer(w, r, http.StatusOK, append([]byte(xml.Header), b...))
}
