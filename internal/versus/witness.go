package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/time/rate"

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
	skey, vkey, err := note.GenerateKey(rand.Reader, origin)
	if err != nil {
		return nil, nil, err
	}
	key, err := note.NewSigner(skey)
	if err != nil {
		return nil, nil, err
	}
	growing, err := newGrowing(origin, key, int64(each*turns+1))
	if err != nil {
		return nil, nil, err
	}
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
				return post(ctx, url+"/add-checkpoint", growing[size-1], http.StatusOK)
			})
		}
	}
	return []row{{
		what: "a larger checkpoint cosigned, one at a time", turns: turns, peerName: others.Module("litewitness"),
		ours: side(srv.URL), peer: side(at), notThePeers: "ours signs with Ed25519 and ML-DSA-44, the peer with Ed25519, by way of an ssh-agent",
	}}, stop, nil
}

// post sends a body and wants a status.
func post(ctx context.Context, url, body string, want int) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil && resp.StatusCode != want {
		err = fmt.Errorf("%s answers %s: %.200s", url, resp.Status, answer)
	}
	return err
}

// storedHashes is a tree as package tlog reads it.
type storedHashes []tlog.Hash

func (s storedHashes) ReadHashes(indexes []int64) (list []tlog.Hash, err error) {
	for _, i := range indexes {
		list = append(list, s[i])
	}
	return list, nil
}

// newGrowing makes the requests by which a log grows from nothing, one entry at a time.
func newGrowing(origin string, key note.Signer, size int64) (requests []string, err error) {
	var tree storedHashes
	for i := range size {
		h, err := tlog.StoredHashes(i, fmt.Append(nil, i), tree)
		if err != nil {
			return nil, err
		}
		tree = append(tree, h...)
	}
	for n := int64(1); n <= size; n++ {
		root, err := tlog.TreeHash(n, tree)
		if err != nil {
			return nil, err
		}
		signed, err := note.Sign(&note.Note{Text: fmt.Sprintf("%s\n%d\n%s\n", origin, n, root)}, key)
		if err != nil {
			return nil, err
		}
		body := fmt.Sprintf("old %d\n", n-1)
		if n > 1 {
			proof, err := tlog.ProveTree(n, n-1, tree)
			if err != nil {
				return nil, err
			}
			for _, h := range proof {
				body += h.String() + "\n"
			}
		}
		requests = append(requests, body+"\n"+string(signed))
	}
	return requests, nil
}
