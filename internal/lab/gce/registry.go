package gce

import (
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/poclog/poclog"
)

// A Registry is the provider's list of its chips, as Google publishes one ("TDX provenance"): GET
// /<PPID, 32 lower-case hexadecimal digits> answers {"zone":…,"timestamp":…}, or 404. It is
// unsigned and keeps no history. Safe for concurrent use.
type Registry struct {
	mu    sync.RWMutex // guards chips
	chips map[[16]byte]listing
}

type listing struct {
	Zone      string `json:"zone"`
	Timestamp string `json:"timestamp"`
}

func newRegistry() *Registry { return &Registry{chips: make(map[[16]byte]listing)} }

// List says where a chip stands since a time.
func (r *Registry) List(ppid [16]byte, zone string, since time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.chips[ppid] = listing{zone, since.UTC().Format(time.RFC3339)}
}

// Unlist forgets a chip.
func (r *Registry) Unlist(ppid [16]byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.chips, ppid)
}

// answer returns HTTP status and body for a path.
func (r *Registry) answer(path string) (int, []byte) {
	name := strings.TrimPrefix(path, "/")
	raw, err := hex.DecodeString(name)
	if err != nil || len(raw) != 16 || name != strings.ToLower(name) {
		return http.StatusNotFound, []byte("NoSuchKey\n")
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	l, ok := r.chips[[16]byte(raw)]
	if !ok {
		return http.StatusNotFound, []byte("NoSuchKey\n")
	}
	body, err := json.Marshal(l)
	if err != nil {
		return http.StatusInternalServerError, []byte(err.Error())
	}
	return http.StatusOK, body
}

// ServeHTTP implements [http.Handler].
func (r *Registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if req.Method != http.MethodGet && req.Method != http.MethodHead {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	status, body := r.answer(req.URL.Path)
	if status == http.StatusOK {
		w.Header().Set("Content-Type", "application/json")
	}
	w.WriteHeader(status)
	w.Write(body)
}

// Observe returns what a judge would keep who asked the registry at a URL at a time.
func (r *Registry) Observe(base string, ppid [16]byte, at time.Time) poclog.CollateralItem {
	name := hex.EncodeToString(ppid[:])
	status, body := r.answer("/" + name)
	address := (&poclog.Registry{URL: base}).Address(name)
	return poclog.CollateralItem{Kind: poclog.ChipRegistry, URL: address, Time: at.UTC().Truncate(time.Second), Status: uint32(status), Body: body}
}
