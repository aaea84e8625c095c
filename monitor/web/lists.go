package web

import (
	"encoding/csv"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/poclog/poclog/internal/httpd"
	"github.com/poclog/poclog/monitor"
	"github.com/poclog/poclog/monitor/query"
)

// rowsOfPage is how many rows a list shows at a time; a file of it has them all, up to rowsOfFile.
const (
	rowsOfPage = 100
	rowsOfFile = 10_000
)

// A list is a table of what was picked, with the way on.
type list struct {
	Rows         any
	Of, From, To int // rows From to To, from 1, of so many
	Place, Q     string
	Older, Newer string // addresses; empty: there are none
	CSV, JSON    string
}

// An asked is what a list is asked for.
type asked struct {
	place query.PlaceQuery
	text  string // that an identity contains
	from  int
	as    string // "", "csv" or "json"
}

func askedOf(r *http.Request) (a asked, err error) {
	q := r.URL.Query()
	if a.place, err = query.ParsePlace(q.Get("place")); err != nil {
		return a, httpd.Refuse(httpd.KindMalformed, "%w", err)
	}
	a.text, a.as = strings.ToLower(strings.TrimSpace(q.Get("q"))), q.Get("as")
	if a.as != "" && a.as != "csv" && a.as != "json" {
		return a, httpd.Refuse(httpd.KindMalformed, "as %.20q: want csv or json", a.as)
	}
	if text := q.Get("from"); text != "" {
		if a.from, err = strconv.Atoi(text); err != nil || a.from < 0 {
			return a, httpd.Refuse(httpd.KindMalformed, "from %.20q: want a number of rows to leave out", text)
		}
	}
	return a, nil
}

// askedList reads what a list is asked for, and gets what it is picked from.
func (s *Server) askedList(r *http.Request) (asked, *snapshot, error) {
	a, err := askedOf(r)
	if err != nil {
		return a, nil, err
	}
	snap, err := s.lists.get(r.Context())
	return a, snap, err
}

// A column of a file.
type column[T any] struct {
	name string
	of   func(T) string
}

// serveList answers with a page of rows, or with a file of all of them.
func serveList[T any](s *Server, w http.ResponseWriter, r *http.Request, a asked, rows []T, columns []column[T]) (*list, error) {
	switch a.as {
	case "json":
		return nil, s.writeJSON(w, r, http.StatusOK, map[string]any{"v": 1, "total": len(rows), "rows": rows[:min(len(rows), rowsOfFile)]})
	case "csv":
		return nil, writeCSV(s, w, r, rows[:min(len(rows), rowsOfFile)], columns)
	}
	from := min(a.from, len(rows))
	to := min(from+rowsOfPage, len(rows))
	l := &list{Rows: rows[from:to], Of: len(rows), From: min(from+1, to), To: to, Place: r.URL.Query().Get("place"), Q: a.text}
	l.turn(r.URL, from, len(rows))
	l.CSV, l.JSON = with(r.URL, "as", "csv"), with(r.URL, "as", "json")
	return l, nil
}

// turn sets the ways to the rows before and after those that are shown, of so many.
func (l *list) turn(u *url.URL, from, of int) {
	if l.To < of {
		l.Older = with(u, "from", strconv.Itoa(l.To))
	}
	if from > 0 {
		l.Newer = with(u, "from", strconv.Itoa(max(from-rowsOfPage, 0)))
	}
}

// with is the address of a request with one parameter set.
func with(u *url.URL, name, value string) string {
	q := u.Query()
	q.Set(name, value)
	return u.Path + "?" + q.Encode()
}

func writeCSV[T any](s *Server, w http.ResponseWriter, r *http.Request, rows []T, columns []column[T]) error {
	var b strings.Builder
	c := csv.NewWriter(&b)
	line := make([]string, len(columns))
	for i, col := range columns {
		line[i] = col.name
	}
	if err := c.Write(line); err != nil {
		return err
	}
	for _, row := range rows {
		for i, col := range columns {
			line[i] = plainCell(col.of(row))
		}
		if err := c.Write(line); err != nil {
			return err
		}
	}
	c.Flush()
	if err := c.Error(); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/csv; charset=utf-8")
	return s.writeAnswer(w, r, http.StatusOK, []byte(b.String()))
}

// plainCell keeps a cell from being a formula where a spreadsheet opens the file.
func plainCell(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}

func (s *Server) chipsPage(w http.ResponseWriter, r *http.Request) (string, *page, error) {
	a, snap, err := s.askedList(r)
	if err != nil {
		return "", nil, err
	}
	rows := pick(snap.chips, a.text == "" && a.place.All(), func(c query.Chassis) bool {
		return strings.Contains(string(c.Chip), a.text) && (a.place.All() || slices.ContainsFunc(c.Places, func(p string) bool { return a.place.Has(placeOf(p)) }))
	})
	l, err := serveList(s, w, r, a, rows, []column[query.Chassis]{
		{"chip", func(c query.Chassis) string { return string(c.Chip) }},
		{"realm", func(c query.Chassis) string { return string(c.Realm) }},
		{"places", func(c query.Chassis) string { return strings.Join(c.Places, " ") }},
		{"level", func(c query.Chassis) string { return fmt.Sprint(c.Level) }},
		{"cvms", func(c query.Chassis) string { return fmt.Sprint(c.CVMs) }},
		{"proofs", func(c query.Chassis) string { return fmt.Sprint(c.Proofs) }},
		{"clashes", func(c query.Chassis) string { return fmt.Sprint(c.Clashes) }},
		{"tcb", func(c query.Chassis) string { return c.TCB }},
		{"first", func(c query.Chassis) string { return c.First.Format(time.RFC3339) }},
		{"last", func(c query.Chassis) string { return c.Last.Format(time.RFC3339) }},
	})
	if l == nil || err != nil {
		return "", nil, err
	}
	return "chips", &page{Title: "Chips", Section: "chips", Description: fmt.Sprintf("%d chips that logs have proofs of", l.Of), Body: l}, nil
}

// pick returns the rows that are wanted; a snapshot's own are not changed.
func pick[T any](rows []T, all bool, wanted func(T) bool) (out []T) {
	if all {
		return rows
	}
	for _, row := range rows {
		if wanted(row) {
			out = append(out, row)
		}
	}
	return out
}

// placeOf reads "provider/region/zone" back.
func placeOf(text string) query.Place {
	part := append(strings.SplitN(text, "/", 3), "", "", "")
	return query.Place{Provider: part[0], Region: part[1], Zone: part[2]}
}

func (s *Server) vmsPage(w http.ResponseWriter, r *http.Request) (string, *page, error) {
	a, snap, err := s.askedList(r)
	if err != nil {
		return "", nil, err
	}
	image := strings.ToLower(r.URL.Query().Get("image"))
	rows := pick(snap.cvms, a.text == "" && a.place.All() && image == "", func(c query.CVM) bool {
		named := a.text == "" || strings.Contains(string(c.Instance)+" "+string(c.AK)+" "+string(c.Chip), a.text)
		return named && (a.place.All() || a.place.Has(c.Place)) && (image == "" || c.Measurement == image)
	})
	l, err := serveList(s, w, r, a, rows, []column[query.CVM]{
		{"instance", func(c query.CVM) string { return string(c.Instance) }},
		{"ak", func(c query.CVM) string { return string(c.AK) }},
		{"chip", func(c query.CVM) string { return string(c.Chip) }},
		{"realm", func(c query.CVM) string { return string(c.Realm) }},
		{"level", func(c query.CVM) string { return fmt.Sprint(c.Level) }},
		{"place", func(c query.CVM) string { return c.Place.String() }},
		{"measurement", func(c query.CVM) string { return c.Measurement }},
		{"tcb", func(c query.CVM) string { return c.TCB }},
		{"proofs", func(c query.CVM) string { return fmt.Sprint(c.Proofs) }},
		{"clashes", func(c query.CVM) string { return fmt.Sprint(c.Clashes) }},
		{"first", func(c query.CVM) string { return c.First.Format(time.RFC3339) }},
		{"last", func(c query.CVM) string { return c.Last.Format(time.RFC3339) }},
	})
	if l == nil || err != nil {
		return "", nil, err
	}
	return "vms", &page{Title: "Confidential VMs", Section: "vms", Description: fmt.Sprintf("%d confidential VMs that logs have proofs of", l.Of), Body: l}, nil
}

func (s *Server) placesPage(w http.ResponseWriter, r *http.Request) (string, *page, error) {
	a, snap, err := s.askedList(r)
	if err != nil {
		return "", nil, err
	}
	rows := pick(snap.places, a.place.All(), func(p query.PlaceCount) bool { return a.place.Has(p.Place) })
	l, err := serveList(s, w, r, a, rows, []column[query.PlaceCount]{
		{"place", func(p query.PlaceCount) string { return p.Place.String() }},
		{"proven", func(p query.PlaceCount) string { return strconv.FormatBool(p.Proven) }},
		{"realm", func(p query.PlaceCount) string { return string(p.Realm) }},
		{"chips", func(p query.PlaceCount) string { return fmt.Sprint(p.Chips) }},
		{"cvms", func(p query.PlaceCount) string { return fmt.Sprint(p.CVMs) }},
		{"proofs", func(p query.PlaceCount) string { return fmt.Sprint(p.Proofs) }},
		{"clashes", func(p query.PlaceCount) string { return fmt.Sprint(p.Clashes) }},
		{"last", func(p query.PlaceCount) string { return p.Last.Format(time.RFC3339) }},
	})
	if l == nil || err != nil {
		return "", nil, err
	}
	return "places", &page{Title: "Places", Section: "places", Description: "Data centers where confidential VMs are proven to run", Body: l}, nil
}

func (s *Server) imagesPage(w http.ResponseWriter, r *http.Request) (string, *page, error) {
	a, snap, err := s.askedList(r)
	if err != nil {
		return "", nil, err
	}
	rows := pick(snap.images, a.text == "", func(i image) bool { return strings.Contains(i.Measurement, a.text) })
	l, err := serveList(s, w, r, a, rows, []column[image]{
		{"measurement", func(i image) string { return i.Measurement }},
		{"technology", func(i image) string { return i.Technology }},
		{"cvms", func(i image) string { return fmt.Sprint(i.CVMs) }},
		{"chips", func(i image) string { return fmt.Sprint(i.Chips) }},
		{"first", func(i image) string { return i.First.Format(time.RFC3339) }},
		{"last", func(i image) string { return i.Last.Format(time.RFC3339) }},
	})
	if l == nil || err != nil {
		return "", nil, err
	}
	return "images", &page{Title: "Images", Section: "images", Description: "Launch measurements that confidential VMs were started with", Body: l}, nil
}

func (s *Server) logsPage(_ http.ResponseWriter, r *http.Request) (string, *page, error) {
	logs, err := s.folder.Logs(r.Context())
	if err != nil {
		return "", nil, err
	}
	logs = slices.DeleteFunc(logs, func(l monitor.LogInfo) bool { return l.Removed })
	return "logs", &page{Title: "Logs", Section: "logs", Description: "The logs that this monitor reads, and how far", Body: logs}, nil
}
