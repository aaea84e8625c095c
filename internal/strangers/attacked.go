//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/poclog/poclog"
	"github.com/poclog/poclog/internal/lab/attack"
	"github.com/poclog/poclog/internal/must"
	"github.com/poclog/poclog/internal/testlog"
	"github.com/poclog/poclog/verify/profile"
	"github.com/poclog/poclog/verify/receipt"
)

// attackedLog serves a log that holds an attack, and returns its URL and the file of its policy.
func (s *stage) attackedLog() (url, policy string, err error) {
	i := slices.IndexFunc(attack.Series, func(a attack.OverTime) bool { return a.Name == "clone-ak" })
	if i < 0 {
		return "", "", errors.New("there is no attack clone-ak")
	}
	w := attack.Series[i].NewWorld()
	l, files := &testlog.Log{Origin: attack.Origin, Leaves: w.Log.Leaves}, make(map[string][]byte)
	for _, b := range attack.Series[i].Stage(w) {
		e := receipt.Evidence{Bundle: must.Get(b.Marshal()), Collateral: must.Get(w.Collateral.Marshal()), Policy: must.Get(w.Policy.Marshal())}
		for _, file := range [][]byte{e.Bundle, e.Collateral, e.Policy} {
			files["/v1/evidence/sha256/"+poclog.Sum(file).String()] = file
		}
		leaf := must.Get(profile.Reappraiser{}.Reappraise(e, attack.Now, poclog.Appraisal))
		l = &testlog.Log{Origin: l.Origin, Leaves: append(l.Leaves[:len(l.Leaves):len(l.Leaves)], leaf)}
	}
	now := time.Now()
	var server testlog.Server
	server.Set(l, l.Checkpoint(uint64(len(l.Leaves)), testlog.Cosigner{Signer: attack.LogKey, At: now}, testlog.Cosigner{Signer: attack.WitnessKey, At: now}), nil)
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if b, ok := files[r.URL.Path]; ok {
			_, _ = rw.Write(b) // the client may be gone
			return
		}
		server.ServeHTTP(rw, r)
	}))
	s.closers = append(s.closers, srv.Close)
	policy = filepath.Join(s.dir, "attacked.txt")
	text := "log " + attack.LogKey.VKey + "\nwitness w " + attack.WitnessKey.VKey + "\nquorum w\n"
	return srv.URL, policy, os.WriteFile(policy, []byte(text), 0o600)
}

// findAlert returns the path of an alert's file.
func (s *stage) findAlert(ctx context.Context) (string, error) {
	b, err := get(ctx, http.DefaultClient, s.monitor.url+"/v1/alerts")
	if err != nil {
		return "", err
	}
	var answer struct {
		Alerts []map[string]any `json:"alerts"`
	}
	if err := json.Unmarshal(b, &answer); err != nil {
		return "", err
	}
	var names []string
	for _, a := range answer.Alerts {
		if file, _ := a["file"].(string); file != "" {
			return fmt.Sprintf("/v1/alerts/%v/file", a["id"]), nil
		}
		names = append(names, fmt.Sprint(a["rule"]))
	}
	return "", fmt.Errorf("the monitor has no alert with a file, of %s", strings.Join(names, ", "))
}
