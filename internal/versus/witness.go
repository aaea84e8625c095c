package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/time/rate"

	"github.com/poclog/poclog/internal/must"
	"github.com/poclog/poclog/internal/others"
	"github.com/poclog/poclog/witness"
)

// witnesses compares add-checkpoint (C2SP tlog-witness) over HTTP: a log that grows by one entry at
// a time, each size cosigned and on disk before the answer.
func witnesses(ctx context.Context, dir string, short bool) (rows []row, stop func(), err error) {
	const origin = "example.com/log"
	each := 200
	turns := 5
	if short {
		each = 10
	}
	skey, vkey := must.Both(note.GenerateKey(rand.Reader, origin))
	growing := newGrowing(origin, must.Get(note.NewSigner(skey)), int64(each*turns+1))
	home := filepath.Join(dir, "witness")
	if err := witness.Init(home, "witness.example/w"); err != nil {
		return nil, nil, err
	}
	w, err := witness.Open(home, witness.Config{Rate: rate.Inf})
	if err != nil {
		return nil, nil, err
	}
	if err := w.AddLog(ctx, vkey); err != nil {
		return nil, nil, errors.Join(err, w.Close())
	}
	srv := httptest.NewServer(w.Handler())
	if err := os.Mkdir(filepath.Join(dir, "litewitness"), 0o755); err != nil {
		return nil, nil, err
	}
	lite, at, _, err := others.Litewitness(ctx, filepath.Join(dir, "litewitness"), others.LogKey{Origin: origin, VKey: vkey})
	if err != nil {
		srv.Close()
		return nil, nil, errors.Join(err, w.Close())
	}
	stop = func() {
		lite.Stop()
		srv.Close()
		w.Close()
	}
	side := func(url string) func(context.Context) (time.Duration, error) {
		size := int64(0)
		return func(ctx context.Context) (time.Duration, error) {
			return repeat(each, func() error {
				size++
				_, err := post(ctx, http.DefaultClient, url+"/add-checkpoint", "", []byte(growing[size-1]), http.StatusOK)
				return err
			})
		}
	}
	return []row{{
		what: "a larger checkpoint cosigned, one at a time", turns: turns, peerName: others.Module("litewitness"),
		ours: side(srv.URL), peer: side(at), notThePeers: "ours signs with Ed25519 and ML-DSA-44, the peer with Ed25519, by way of an ssh-agent",
	}}, stop, nil
}

// post sends a body, and returns an answer of the status that is wanted.
func post(ctx context.Context, c *http.Client, url, kind string, body []byte, want int) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", kind)
	resp, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil && resp.StatusCode != want {
		err = fmt.Errorf("%s answers %s: %.200s", url, resp.Status, answer)
	}
	return answer, err
}

// newGrowing makes the requests by which a log grows from nothing, one entry at a time.
func newGrowing(origin string, key note.Signer, size int64) (requests []string) {
	var tree []tlog.Hash
	stored := tlog.HashReaderFunc(func(indexes []int64) (list []tlog.Hash, err error) {
		for _, i := range indexes {
			list = append(list, tree[i])
		}
		return list, nil
	})
	for i := range size {
		tree = append(tree, must.Get(tlog.StoredHashes(i, fmt.Append(nil, i), stored))...)
	}
	for n := int64(1); n <= size; n++ {
		root := must.Get(tlog.TreeHash(n, stored))
		signed := must.Get(note.Sign(&note.Note{Text: fmt.Sprintf("%s\n%d\n%s\n", origin, n, root)}, key))
		body := fmt.Sprintf("old %d\n", n-1)
		if n > 1 {
			for _, h := range must.Get(tlog.ProveTree(n, n-1, stored)) {
				body += h.String() + "\n"
			}
		}
		requests = append(requests, body+"\n"+string(signed))
	}
	return requests
}
