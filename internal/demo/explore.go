package demo

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/page"
	"github.com/poclog/poclog/monitor"
	"github.com/poclog/poclog/monitor/query"
	"github.com/poclog/poclog/monitor/web"
)

// explore has the monitor read the last entries and serves what it knows to browsers, once that
// shows the contradiction and what was revoked.
func (s *cloudStage) explore(ctx context.Context) (url string, err error) {
	dir := filepath.Join(s.stage.dir, "monitor")
	m, err := monitor.Open(dir, monitor.Config{Agent: s.software})
	if err != nil {
		return "", err
	}
	s.stops = append(s.stops, m.Close)
	pins, err := s.pins()
	if err != nil {
		return "", err
	}
	if _, err = m.Run(ctx, monitor.Options{Once: true}); err != nil {
		return "", err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", &SetupError{err}
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	cfg := web.Config{
		Dir: dir, Go: page.BuiltVerifier(), Pins: pins,
		Receipts: func(ctx context.Context, origin string, index uint64) ([]byte, error) {
			return query.ReceiptOf(ctx, m, monitor.EntryRef{Origin: origin, Index: index})
		},
		Dossiers: func(ctx context.Context, origin string, id poclog.Identity) ([]byte, error) {
			return query.DossierOf(ctx, m, origin, id)
		},
	}
	go func() { ended <- web.NewServer(m, cfg).Serve(ctx, l) }()
	s.stops = append(s.stops, func() error {
		cancel()
		return <-ended
	})
	url = "http://" + l.Addr().String() + "/"
	for path, text := range map[string]string{"chips": "claimed twice", "registrars": s.alliance.Name, "id/" + string(chipOf(s.cloud.VMs[2].Platform().PPID)): "revoked since"} {
		if err := shows(ctx, url+path, text); err != nil {
			return "", err
		}
	}
	return url, nil
}

// shows gets a page that must have a text.
func shows(ctx context.Context, url, text string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil && (resp.StatusCode != http.StatusOK || !strings.Contains(string(body), text)) {
		err = fmt.Errorf("%s: %s: want a page that has %q", url, resp.Status, text)
	}
	return err
}
